// Tutorial 003, row S3-10: each sends a string to the other. Nobody disconnects, so both stay.
// The child of the program beside it; verbatim below this comment.

process.on('message', (msg) => {
    console.log('子进程收到主进程的消息：', msg);
});

// 给主进程发消息
process.send('hello master process!');
