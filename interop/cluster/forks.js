// Row S4-7: a primary that never asks whether it is one. In a worker there is no `cluster.fork`.
const cluster = require('cluster');

cluster.fork('worker.js');
