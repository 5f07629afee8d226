// Tutorial 003, row S3-6: three children by exec; each exit event precedes its callback.
// The child of the program beside it; verbatim below this comment.

// command.js
console.log(`pid: ${process.pid}，进程${process.argv[2]}的stdout`);
console.error(`pid: ${process.pid}，进程${process.argv[2]}的stderr`);
