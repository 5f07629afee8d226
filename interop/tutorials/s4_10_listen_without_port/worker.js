// Tutorial 004, row S4-10, verbatim: the second half of its worker.js. "Another port for each", it says.
// In a cluster all workers have one port, whichever it is.

//  也可以创建另外的监听端口，方便外界通过多个网址端口直接调用
const http = require("node:http");
http.createServer((req, res) => {
    res.end("worker success");
}).listen();
