// Tutorial 004, row S4-7, verbatim: "children are mostly started by cluster".
// The argument of cluster.fork is an environment: the worker runs this very file, where cluster.fork is undefined.

const cluster = require("node:cluster");
const worker = cluster.fork("worker.js");
worker.on("message", message => {

})
