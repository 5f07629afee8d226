// Tutorial 003, rows S3-12 and S3-13: a fourth pipe is asked for, but the talk goes over stdout.
// The child of the program beside it; verbatim below this comment.

// child.js
const net = require('net');
const pipe = net.Socket({ fd: 1 });
pipe.write('hello master process!');
