// Tutorial 002, row S2-17: it dies twice before it does its work. Not verbatim.

const attempt = Number(process.argv[2]);
console.log('[child] attempt ' + attempt);
process.exit(attempt < 3 ? 1 : 0);
