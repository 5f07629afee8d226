'use strict';
const { run, touch } = require('./task.js');
const workerpool = require(process.env.BENCH_WORKERPOOL);

workerpool.worker({
  run: (task) => {
    if (!(task instanceof ArrayBuffer)) return run(task);
    const buffer = touch(task);
    return new workerpool.Transfer(buffer, [buffer]);
  },
});
