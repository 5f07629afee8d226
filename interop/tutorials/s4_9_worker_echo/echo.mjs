// Tutorial 004, row S4-9, verbatim: the first half of its worker.js.
// It is an ES module by its import.

import cluster from "node:cluster";

if (cluster.isWorker) {
    process.on("message", message => {
        console.log("Worker收到信息了：" + message);
        process.send("我收到啦！！！");
    });
}
