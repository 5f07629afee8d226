// Runs the tutorials' programs in a scratch directory and records what a reader would see.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, constants, copyFile, mkdir, mkdtemp, open, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { agreed, settle } from './golden.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', 'tutorials');

/** The two files that every listing shows; old enough that `ls` prints the year. */
const FILES = { 'notes.txt': 'first line\nsecond line\n', 'readme.md': '# a directory to list\n' };
const DATE = new Date('2024-06-26T12:00:00Z');

export async function recordTutorials(options) {
  const { rows } = JSON.parse(await readFile(join(root, 'rows.json'), 'utf8'));
  let failures = 0;
  for (const { row, dir, runs } of rows) {
    if (options.only !== undefined && options.only !== row && options.only !== dir) continue;
    for (const run of runs) failures += await recordRun(join(root, dir), row, run, options);
  }
  return failures;
}

async function recordRun(folder, row, run, options) {
  const name = `${row} ${run.expected}`;
  for (const program of run.needs ?? []) {
    if (!(await onPath(program))) {
      console.error(`${name}: skipped, there is no ${program} on PATH`);
      return 0;
    }
  }
  const texts = [];
  const count = run.slow ? Math.min(3, options.runs) : options.runs;
  for (let i = 0; i < count; i += 1) texts.push(await transcript(folder, name, run));
  const text = agreed(name, texts);
  if (text === undefined) return 1;
  console.error(`${name}: ${count} runs agree`);
  return settle(join(folder, run.expected), text, options);
}

async function transcript(folder, name, run) {
  const scratch = await mkdtemp(join(tmpdir(), 'procession-tutorial-'));
  try {
    const work = join(scratch, 'work');
    const bin = join(scratch, 'bin');
    await furnish(work, bin, folder, run);
    const { output, exit } = await runProgram(join(folder, run.program), work, bin, run);
    const text = normalise(output, { folder, work });
    const body = inOrder(name, text, run);
    return `${body}[${exit}]\n`;
  } finally {
    await rm(scratch, { recursive: true });
  }
}

async function furnish(work, bin, folder, run) {
  await mkdir(work);
  await mkdir(bin);
  for (const [file, text] of Object.entries(FILES)) {
    await writeFile(join(work, file), text);
    await chmod(join(work, file), 0o644);
    await utimes(join(work, file), DATE, DATE);
  }
  for (const [file, text] of Object.entries(run.texts ?? {})) {
    await mkdir(dirname(join(work, file)), { recursive: true });
    await writeFile(join(work, file), text);
  }
  for (const file of run.files ?? []) await copyFile(join(folder, file), join(work, file));
  for (const [file, text] of Object.entries(run.stubs ?? {})) {
    await writeFile(join(bin, file), text);
    await chmod(join(bin, file), 0o755);
  }
}

// Both streams go to one file opened for appending: that is the order a reader sees on a terminal, and a
// file takes every write at once, where a pipe may make Node queue it.
async function runProgram(program, work, bin, { env: more, until }) {
  const log = join(work, '..', 'log');
  const file = await open(log, 'a');
  try {
    const path = [bin, dirname(process.execPath), process.env.PATH].join(delimiter);
    const env = { PATH: path, HOME: join(work, '..'), LC_ALL: 'C.UTF-8', TZ: 'UTC', ...more };
    const child = spawn(process.execPath, [program], { cwd: work, env, stdio: ['ignore', file.fd, file.fd] });
    const gone = once(child, 'close').then(([code, signal]) => (signal === null ? `exit ${code}` : `signal ${signal}`));
    if (until === undefined) return { exit: await gone, output: await readFile(log, 'utf8') };
    return { exit: await stillRunning(child, gone, log, until), output: await readFile(log, 'utf8') };
  } finally {
    await file.close();
  }
}

// For a program that never ends: it gets a second after its last line to prove the opposite.
async function stillRunning(child, gone, log, until) {
  let exit;
  gone.then((how) => (exit = how));
  while (exit === undefined && !(await readFile(log, 'utf8')).includes(until)) await setTimeout(20);
  await Promise.race([gone, setTimeout(1_000)]);
  if (exit !== undefined) return exit;
  child.kill();
  await gone;
  return 'still running';
}

/** The rules of interop/README.md, "Normalising": our own test applies the same to our output. */
function normalise(output, { folder, work }) {
  const pids = new Set(output.match(/(?<=\bpid: )\d+/g));
  return output
    .replaceAll(work, '<tmp>')
    .replaceAll(folder, '<program>')
    .replace(/^npm <command>\n[^]*?^npm@.*$/m, '<npm help>')
    .replace(/\bpid: \d+/g, 'pid: <pid>')
    // A parent's number is right where the parent has said the same.
    .replace(/\bppid: (\d+)/g, (all, pid) => (pids.has(pid) ? 'ppid: <its pid>' : all))
    // The clusters of S1-10 and S2-21 say pids in their own words.
    .replace(/(процесс |Воркер |воркера |\[master\] (?:worker )?|\[worker(?:\] |:))\d+/g, '$1<pid>')
    .replace(/\bv\d+\.\d+\.\d+\b/g, '<version>')
    .replace(/^(stdout: )?total \S+$/gm, '$1total <size>')
    .replace(/^([-d][-rwx]{9})\S* +\d+ +\S+ +\S+ +(\S+) +\w+ +\d+ +[\d:]+ /gm, '$1 <owner> $2 <date> ')
    .replace(/^ {4}at .*\n/gm, '')
    // `node -v` may arrive in two chunks, and the tutorial prints one line a chunk.
    .replace(/^(stdout: .+\n)stdout: \n/gm, '$1');
}

// Programs that run side by side may print in any order. Rules remain: of two kinds of lines, the n-th of the
// second never comes before the n-th of the first.
function inOrder(name, text, { order, before = [], sides = [] }) {
  if (order === 'seen') return text;
  const lines = text.split('\n').filter((line) => line !== '');
  for (const [first, second] of before) {
    let ahead = 0;
    for (const line of lines) {
      if (line.startsWith(first)) ahead += 1;
      if (line.startsWith(second)) ahead -= 1;
      if (ahead < 0) throw new Error(`${name}: a line "${second}..." came before its "${first}..."`);
    }
  }
  const sorted = order === 'any' ? lines.sort() : bySides(name, lines, sides);
  return sorted.map((line) => `${line}\n`).join('');
}

// What one side says stays in its order.
function bySides(name, lines, sides) {
  const side = (line) => sides.findIndex((prefix) => line.startsWith(prefix));
  const stray = lines.find((line) => side(line) === -1);
  if (stray !== undefined) throw new Error(`${name}: who says "${stray}"?`);
  return lines.sort((one, other) => side(one) - side(other));
}

async function onPath(program) {
  for (const dir of process.env.PATH.split(delimiter)) {
    const found = await access(join(dir, program), constants.X_OK).then(() => true, () => false);
    if (found) return true;
  }
  return false;
}
