// `node primary.js WORKERS PROGRAM [ARGUMENT]...`: Node's own cluster, the control of every test and
// a contender of the benchmark. Starts again what dies; NODE_CLUSTER_SCHED_POLICY (rr, none) is Node's.
'use strict';
const cluster = require('cluster');

const [workers, exec, ...args] = process.argv.slice(2);
(cluster.setupPrimary || cluster.setupMaster)({ exec, args });
for (let n = 0; n < Number(workers); n += 1) cluster.fork();

let stopping = false;
cluster.on('message', (worker, message) => worker.send({ echo: message }));
cluster.on('exit', (worker) => {
  if (!stopping && !worker.exitedAfterDisconnect) cluster.fork();
});
process.on('SIGTERM', () => {
  stopping = true;
  cluster.disconnect(() => process.exit(0));
});
