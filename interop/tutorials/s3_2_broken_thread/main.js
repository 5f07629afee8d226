// Tutorial 003, row S3-2: "when a thread breaks, the process crashes". Does it?
// Not verbatim: the tutorial says so in words only.

const { Worker } = require('worker_threads');

const worker = new Worker('throw new Error("a broken thread")', { eval: true });
worker.on('error', (error) => console.log(`error: ${error.message}`));
worker.on('exit', (code) => {
    console.log(`exit: ${code}`);
    console.log('the process lives');
});
