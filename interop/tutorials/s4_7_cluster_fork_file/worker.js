// Tutorial 004, row S4-7: the file that cluster.fork was to run. Not verbatim: see rows S4-9 and S4-10 for that.

console.log('[worker] worker.js runs');
process.disconnect();
