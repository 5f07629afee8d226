// Tutorial 004, row S4-6: a child by fork. `path` is never imported, and the last listener waits for a parent of our own.
// Verbatim from the tutorial below this comment, mistakes included.

const child_process = require("node:child_process");

function startChild() {
//  通过指定一个要运行的脚本来开启进程
    const childProcess = child_process.fork(path.join(__dirname, "./child.js"));
    childProcess.send("你好啊，我的子进程！");
    childProcess.on("message", message => {
        console.log("主进程收到信息:" + message);
    });
    process.on("message", message => {
        console.log("主进程收到信息了：" + message);
    });
}

startChild();
