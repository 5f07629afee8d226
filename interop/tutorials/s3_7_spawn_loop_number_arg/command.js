// Tutorial 003, row S3-7: three children by spawn; the number `i` is an argument as it stands.
// The child of the program beside it; verbatim below this comment.

// command.js
console.log(`pid: ${process.pid}，进程${process.argv[2]}的stdout`);
console.error(`pid: ${process.pid}，进程${process.argv[2]}的stderr`);
