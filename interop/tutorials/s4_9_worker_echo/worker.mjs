// Tutorial 004, rows S4-8 and S4-9, verbatim: an ES module that calls require, so that it dies of its last lines.
// Its halves, each as the kind of module it is, are echo.mjs and, in row S4-10, worker.js.

import cluster from "node:cluster";

if (cluster.isWorker) {
    process.on("message", message => {
        console.log("Worker收到信息了：" + message);
        process.send("我收到啦！！！");
    });
}
//  也可以创建另外的监听端口，方便外界通过多个网址端口直接调用
const http = require("node:http");
http.createServer((req, res) => {
    res.end("worker success");
}).listen();
