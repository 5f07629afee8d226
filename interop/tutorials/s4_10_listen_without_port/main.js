// Tutorial 004, row S4-10: two workers that listen on any port, with WORKER as their file. Which ports do they get?
// Not verbatim. A worker with a port of its own says so itself: the primary has no part in that.

const cluster = require('node:cluster');

cluster.setupPrimary({ exec: process.env.WORKER });
const ports = [];
cluster.on('listening', (worker, { port }) => listens(port));
cluster.on('message', (worker, { port }) => listens(port));
[1, 2].forEach(() => cluster.fork());

async function listens(port) {
    if (ports.push(port) < 2) return;
    const different = [...new Set(ports)];
    console.log('[primary] 2 workers, ports: ' + different.length);
    for (const port of different) {
        const response = await fetch('http://127.0.0.1:' + port);
        console.log('[primary] answer: ' + await response.text());
    }
    process.exit();
}
