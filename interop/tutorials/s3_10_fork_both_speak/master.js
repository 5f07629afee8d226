// Tutorial 003, row S3-10: each sends a string to the other. Nobody disconnects, so both stay.
// Verbatim from the tutorial below this comment, mistakes included.

// master.js
const cp = require('child_process');
const n = cp.fork('child.js');

n.on('message', (msg) => {
    console.log('主进程收到子进程的消息：', msg);
});

// 主进程发送给子进程的消息
n.send('hello child process!');
