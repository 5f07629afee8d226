// Node's pools as `cargo xtask bench pool` measures them: CONTENDER TASK WORKERS AHEAD COUNT.
// One line of JSON is the result, as that of crates/procession/benches/pool.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { spin } = require('./task.js');

const [contender, task, workersWord, aheadWord, countWord] = process.argv.slice(2);
const [workers, ahead, count] = [workersWord, aheadWord, countWord].map(Number);
const PAYLOAD = 64 * 1024 * 1024;
const TEXT = 'abcdefghijklmnopqrstuvwxyz'.repeat(4).slice(0, 100);
const STORM_MICROS = 20;

/** A pool: `run(task, { transfer, isCancelable })` gives `{ done, cancel }`. */
const POOLS = {
  piscina: async () => {
    const { Piscina } = require(process.env.BENCH_PISCINA);
    const filename = path.join(__dirname, 'piscina.js');
    const pool = new Piscina({ filename, minThreads: workers, maxThreads: workers });
    // An answer that crosses its cancellation is an event `error`, which ends who does not listen.
    pool.on('error', () => {});
    return abortable(pool);
  },
  tinypool: () => tinypool('worker_threads'),
  'tinypool-process': () => tinypool('child_process'),
  workerpool: () => workerpool('thread'),
  'workerpool-process': () => workerpool('process'),
};

async function tinypool(runtime) {
  const { Tinypool } = await import(pathToFileURL(process.env.BENCH_TINYPOOL));
  const filename = path.join(__dirname, 'tinypool.mjs');
  const { env } = process;
  return abortable(new Tinypool({ filename, runtime, env, minThreads: workers, maxThreads: workers }));
}

function abortable(pool) {
  const run = (it, { transfer, isCancelable } = {}) => {
    const options = {};
    if (transfer) options.transferList = transfer;
    const abort = isCancelable ? new AbortController() : undefined;
    if (abort) options.signal = abort.signal;
    return { done: pool.run(it, options), cancel: () => abort.abort() };
  };
  return { run, close: () => pool.destroy() };
}

function workerpool(workerType) {
  const lib = require(process.env.BENCH_WORKERPOOL);
  const script = path.join(__dirname, 'workerpool.js');
  const pool = lib.pool(script, { workerType, minWorkers: workers, maxWorkers: workers });
  const run = (it, { transfer } = {}) => {
    const done = pool.exec('run', [it], transfer ? { transfer } : undefined);
    return { done, cancel: () => done.cancel() };
  };
  return { run, close: () => pool.terminate() };
}

/** How many steps take this long on an undisturbed core, once compiled. */
function stepsIn(micros) {
  let best = Infinity;
  for (let i = 0; i < 100; i++) {
    const start = process.hrtime.bigint();
    spin(100_000);
    best = Math.min(best, Number(process.hrtime.bigint() - start));
  }
  return Math.round((100_000 * micros * 1000) / best);
}

async function flow(pool, tasks, make, check) {
  const answers = new Array(ahead);
  for (let i = 0; i < tasks; i++) {
    const slot = i % ahead;
    if (i >= ahead) check(await answers[slot], i - ahead);
    answers[slot] = pool.run(make(i)).done;
  }
  for (let i = Math.max(0, tasks - ahead); i < tasks; i++) check(await answers[i % ahead], i);
}

function same(seen, expected) {
  if (seen !== expected) throw new Error(`${seen} came back as ${expected}`);
}

async function payload(pool, tasks) {
  let buffer = new ArrayBuffer(PAYLOAD);
  for (let i = 0; i < tasks; i++) {
    buffer = await pool.run(buffer, { transfer: [buffer] }).done;
    same(buffer.byteLength, PAYLOAD);
    same(new Uint8Array(buffer)[0], (i + 1) % 256);
  }
}

/** Half are cancelled when so many have ended: before they run, while they run, or too late. */
async function storm(pool, tasks, steps) {
  const due = new Map();
  const isDoomed = new Array(tasks).fill(false);
  let seed = 3;
  const below = (limit) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 4294967296) * limit);
  };
  for (let i = 0; i < tasks; i++) {
    if (below(2) !== 0) continue;
    isDoomed[i] = true;
    const at = Math.max(0, i + 4 - below(260));
    due.set(at, [...(due.get(at) ?? []), i]);
  }
  const running = Array.from({ length: tasks }, (_, i) => {
    const it = pool.run([i, steps], { isCancelable: isDoomed[i] });
    it.done = it.done.then((value) => ended(i, value), (error) => ended(i, undefined, error));
    return it;
  });
  let all = 0;
  let [canceled, lost] = [0, 0];
  const ended = (i, value, error) => {
    if (!error) same(value, i);
    else if (isDoomed[i] && /abort|cancel/i.test(`${error.name} ${error.message}`)) canceled++;
    else lost++;
    // One that is killed may take long to end: others must not escape by that.
    for (const it of due.get(all++) ?? []) running[it].cancel();
  };
  await Promise.all(running.map((it) => it.done));
  return { canceled, lost };
}

/** CPU time of the living threads of a process, in ns. */
function cpuOf(pid) {
  const folder = `/proc/${pid}/task`;
  const read = (id) => Number(fs.readFileSync(`${folder}/${id}/schedstat`, 'utf8').split(' ')[0]);
  return fs.readdirSync(folder).reduce((sum, id) => sum + read(id), 0);
}

/** CPU time of all children that have ended, in ns, to a hundredth of a second. */
function cpuOfTheGone() {
  const stat = fs.readFileSync('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) * 1e7;
}

function prepare(pool) {
  if (task === 'payload') return (tasks) => payload(pool, tasks);
  if (task === 'storm' || task === 'storm-of-processes') return (tasks) => storm(pool, tasks, stepsIn(STORM_MICROS));
  if (task === 'echo') return (tasks) => flow(pool, tasks, () => TEXT, (it) => same(it, TEXT));
  const steps = task === 'work-50' ? stepsIn(50) : 0;
  return (tasks) => flow(pool, tasks, (i) => [i, steps], same);
}

async function main() {
  const isWhole = task === 'storm-of-processes';
  const start = { cpu: process.cpuUsage(), child: cpuOfTheGone(), wall: process.hrtime.bigint() };
  const pool = await POOLS[contender]();
  const run = prepare(pool);
  const pid = task === 'echo' ? Number(await pool.run('pid').done) : process.pid;
  // Compiling takes some rounds.
  if (!isWhole) await run(Math.max(Math.ceil(count / 10), task === 'payload' ? 5 : 500));
  const childCpu = () => (isWhole ? cpuOfTheGone() : pid === process.pid ? 0 : cpuOf(pid));
  const now = { cpu: process.cpuUsage(), child: childCpu(), wall: process.hrtime.bigint() };
  const before = isWhole ? start : now;
  const { canceled, lost } = (await run(count)) ?? {};
  if (isWhole) await pool.close();
  const wall = process.hrtime.bigint() - before.wall;
  const cpu = process.cpuUsage(before.cpu);
  const child = childCpu() - before.child;
  if (!isWhole) await pool.close();
  console.log(
    JSON.stringify({
      ops: count,
      wall_ns: Number(wall),
      cpu_ns: (cpu.user + cpu.system) * 1000,
      child_cpu_ns: child,
      p50_ns: 0,
      p99_ns: 0,
      ratio: 0,
      canceled: canceled ?? 0,
      lost: lost ?? 0,
    }),
  );
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
