// Tutorial 004, row S4-6: a child by fork.
// The child of the program beside it; verbatim below this comment.

process.on("message", message => {
    console.log("子进程收到信息：" + message);
    process.send("我是子进程，我收到了！！");
});
