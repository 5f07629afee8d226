'use strict';
// Node's side of `cargo xtask bench ipc`: node ipc.js node TASK SIZE SERIALIZATION COUNT
// prints one line of JSON, as the Rust programs of the benchmark do. With `child` in
// front it is the child, also that of a Rust parent.

const { fork } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');

const words = process.argv.slice(2);
const isChild = words[0] === 'child';
if (isChild) words.shift();
const [, task, size, serialization, count] = words;
// What of a message of a given size is not its body.
const AROUND_THE_BODY = 24;
const IDLE_CHILDREN = 20;
// How many messages may wait in this process before the next is sent.
const WAITING = 64;

function child() {
  process.on('message', (message, handle) => {
    if (handle) handle.close();
    if (task === 'round-trip' || task === 'memory' || message.id === 0) process.send(message);
  });
  process.on('disconnect', () => process.exit(0));
}

function body() {
  const length = Math.max(0, Number(size) - AROUND_THE_BODY);
  return 'abcdefghijklmnopqrstuvwxyz'.repeat(Math.ceil(length / 26)).slice(0, length);
}

function forkOne() {
  const worker = fork(__filename, ['child', ...words.slice(0, 4)], { serialization });
  worker.on('exit', (code, signal) => {
    if (code !== 0) throw new Error(`the child: ${signal ?? code}`);
  });
  return worker;
}

// Sends so many messages and calls back when the last answer is here.
function exchange(worker, text, handle, howMany, done) {
  let left = howMany;
  let waiting = 0;
  let paused = false;
  const onMessage = (message) => {
    const expected = task === 'round-trip' ? left : 0;
    if (message.id !== expected || message.body.length !== text.length) throw new Error('a message came back as another');
    if (left > 0) return sendOne();
    worker.off('message', onMessage);
    return done();
  };
  const sendOne = (written) => {
    left -= 1;
    return worker.send({ id: left, body: text }, handle, written);
  };
  const onWritten = (error) => {
    if (error) throw error;
    waiting -= 1;
    if (paused && waiting < WAITING) sendMore();
  };
  const sendMore = () => {
    paused = false;
    while (left > 0 && waiting < WAITING) {
      waiting += 1;
      sendOne(onWritten);
    }
    paused = true;
  };
  worker.on('message', onMessage);
  if (task === 'round-trip') sendOne();
  else sendMore();
}

// CPU time of the living threads of another process in ns; exact, because they sleep now.
function cpuOf(pid) {
  let sum = 0;
  for (const thread of fs.readdirSync(`/proc/${pid}/task`)) {
    sum += Number(fs.readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  }
  return sum;
}

function print(ops, wall, cpu, childCpu, growth) {
  console.log(JSON.stringify({ ops, wall_ns: wall, cpu_ns: cpu, child_cpu_ns: childCpu, growth }));
}

function measure(handle) {
  const worker = forkOne();
  const text = body();
  const howMany = Number(count);
  exchange(worker, text, handle, Math.max(1, Math.floor(howMany / 10)), () => {
    const childStart = cpuOf(worker.pid);
    const start = process.hrtime.bigint();
    const cpuStart = process.cpuUsage();
    exchange(worker, text, handle, howMany, () => {
      const cpu = process.cpuUsage(cpuStart);
      const wall = process.hrtime.bigint() - start;
      print(howMany, Number(wall), (cpu.user + cpu.system) * 1000, cpuOf(worker.pid) - childStart, 0);
      worker.disconnect();
      if (handle) handle.close();
    });
  });
}

function memory() {
  const before = process.memoryUsage.rss();
  const workers = [];
  let answers = 0;
  for (let n = 0; n < IDLE_CHILDREN; n += 1) {
    const worker = forkOne();
    workers.push(worker);
    worker.on('message', () => {
      answers += 1;
      if (answers < IDLE_CHILDREN) return;
      print(IDLE_CHILDREN, 0, 0, 0, Math.max(0, process.memoryUsage.rss() - before));
      for (const one of workers) one.disconnect();
    });
    worker.send({ id: 1, body: body() });
  }
}

if (isChild) child();
else if (task === 'memory') memory();
else if (task === 'handles') {
  const server = net.createServer();
  server.listen(0, '127.0.0.1', () => measure(server));
} else measure(undefined);
