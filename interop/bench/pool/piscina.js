'use strict';
const { run, touch } = require('./task.js');
const { move } = require(process.env.BENCH_PISCINA);

module.exports = (task) => (task instanceof ArrayBuffer ? move(touch(task)) : run(task));
