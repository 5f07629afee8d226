'use strict';
// Node's side of `cargo xtask bench spawn`: node spawn.js node TASK FEATURE HEAP_MIB COUNT
// prints one line of JSON, as the Rust programs of the benchmark do.

const { execFile, spawn } = require('node:child_process');
const fs = require('node:fs');

const [, task, feature, heapMib, count] = process.argv.slice(2);
const WAYS = 16;
const CAPTURED = 64 * 1024 * 1024;
const STREAMED = 1024 * 1024 * 1024;
const ROUND_LIMIT_MS = 1000;

function options() {
  const ignored = ['ignore', 'ignore', 'ignore'];
  switch (feature) {
    case 'plain':
      return { stdio: ignored };
    case 'user': {
      const root = process.getuid() === 0;
      return { stdio: ignored, uid: root ? 65534 : process.getuid(), gid: root ? 65534 : process.getgid() };
    }
    case 'descriptor':
      return { stdio: [...ignored, 'ignore'] };
    case 'session':
      return { stdio: ignored, detached: true };
    default:
      throw new Error(`Node has no ${feature}`);
  }
}

const all = { blocked: [], until: 0, left: 0 };

function claim() {
  if (all.left === 0 || performance.now() >= all.until) return false;
  all.left -= 1;
  return true;
}

// Calls back when there is nothing left to do.
function spawnAndWait(done) {
  if (!claim()) return done();
  const start = process.hrtime.bigint();
  const child = spawn('/bin/true', [], options());
  all.blocked.push(Number(process.hrtime.bigint() - start));
  child.on('error', (error) => { throw error; });
  child.on('exit', () => spawnAndWait(done));
}

function allThere(seen, expected) {
  if (seen !== expected) throw new Error(`${seen} bytes of ${expected}`);
  all.blocked.push(0);
}

function capture(done) {
  if (!claim()) return done();
  const limit = { encoding: 'buffer', maxBuffer: 2 * CAPTURED };
  execFile(process.env.BENCH_FLOOD, ['flood', String(CAPTURED)], limit, (error, stdout) => {
    if (error) throw error;
    allThere(stdout.length, CAPTURED);
    capture(done);
  });
}

function stream(done) {
  if (!claim()) return done();
  const child = spawn(process.env.BENCH_FLOOD, ['flood', String(STREAMED)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let seen = 0;
  child.stdout.on('data', (chunk) => { seen += chunk.length; });
  child.on('close', () => {
    allThere(seen, STREAMED);
    stream(done);
  });
}

function operations(howMany, done) {
  all.blocked = [];
  all.left = howMany;
  all.until = performance.now() + ROUND_LIMIT_MS;
  if (task !== 'parallel') return { sequential: spawnAndWait, capture, stream }[task](done);
  let busy = WAYS;
  for (let way = 0; way < WAYS; way += 1) {
    spawnAndWait(() => {
      busy -= 1;
      if (busy === 0) done();
    });
  }
  return undefined;
}

function memory(name) {
  const line = fs.readFileSync('/proc/self/status', 'utf8').split('\n').find((it) => it.startsWith(name));
  return Number(line.split(/\s+/)[1]) * 1024;
}

function measure(howMany, done) {
  const before = memory('VmRSS');
  // From here on the high-water mark is this round's.
  fs.writeFileSync('/proc/self/clear_refs', '5');
  const start = process.hrtime.bigint();
  const cpuStart = process.cpuUsage();
  operations(howMany, () => {
    const cpu = process.cpuUsage(cpuStart);
    const wall = process.hrtime.bigint() - start;
    const sorted = all.blocked.sort((a, b) => a - b);
    const at = (percent) => sorted[Math.min(Math.floor((sorted.length * percent) / 100), sorted.length - 1)];
    done({
      ops: sorted.length,
      wall_ns: Number(wall),
      cpu_ns: (cpu.user + cpu.system) * 1000,
      p50_ns: at(50),
      p99_ns: at(99),
      growth: Math.max(0, memory('VmHWM') - before),
    });
  });
}

const heap = Buffer.alloc(Number(heapMib) * 1024 * 1024, 1);
const print = (round) => {
  console.log(JSON.stringify(round));
  // Keeps it alive until here.
  if (heap.length > 0 && heap[0] !== 1) throw new Error('the heap is gone');
};
// A first call compiles and starts threads; the second finds all that.
if (task === 'sequential' || task === 'parallel') {
  measure(2 * WAYS, () => measure(Number(count), print));
} else {
  measure(Number(count), print);
}
