// Tutorial 003, row S3-8: three children by fork; the number `i` is an argument, their output is ours.
// The child of the program beside it; verbatim below this comment.

// command.js
console.log(`pid: ${process.pid}，进程${process.argv[2]}的stdout`);
console.error(`pid: ${process.pid}，进程${process.argv[2]}的stderr`);
