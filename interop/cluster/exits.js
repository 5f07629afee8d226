// Ends at once, with the code of the first argument.
process.exit(Number(process.argv[2] || 0));
