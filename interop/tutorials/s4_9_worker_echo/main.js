// Tutorial 004, row S4-9: what row S4-7 meant, with WORKER as the workers' file.
// Not verbatim. The tutorial's listener says nothing. When an ES module listens is told by hears.cjs.

const cluster = require('node:cluster');

cluster.setupPrimary({ exec: process.env.WORKER });
const worker = cluster.fork();
worker.on('exit', code => console.log('[primary] worker exited with code ' + code));
worker.on('message', message => {
    if (message === 'hears') return worker.send('你好');
    console.log('[primary] got: ' + message);
    worker.disconnect();
});
