// Runs every case of child_process/probe.js and records its transcript.

import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { agreed, settle } from './golden.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', 'child_process');
const run = promisify(execFile);

/** Far more than any case needs; a probe that takes longer hangs. */
const LIMIT_MS = 60_000;

export async function recordProbes(options) {
  const { cases } = JSON.parse(await readFile(join(root, 'cases.json'), 'utf8'));
  const names = Object.keys(cases).filter((name) => options.only === undefined || options.only === name);
  const folder = join(root, 'transcripts', `node${process.versions.node.split('.')[0]}`);
  const queue = names.values();
  const orders = {};
  let failures = 0;
  // The workers share one iterator, so each case is taken once.
  await Promise.all(Array.from({ length: options.jobs }, async () => {
    for (const name of queue) failures += await recordCase(name, folder, options, orders);
  }));
  if (!options.check && options.only === undefined) await writeOrders(folder, names, orders, options.runs);
  console.error(`${names.length} cases, ${options.runs} runs each, ${failures} failure(s)`);
  return failures;
}

async function recordCase(name, folder, options, orders) {
  const texts = [];
  const raw = new Set();
  for (let i = 0; i < options.runs; i += 1) {
    const [form, seen] = (await transcript(name)).split('--- as seen\n');
    texts.push(form);
    raw.add(seen);
  }
  orders[name] = raw.size;
  const text = agreed(name, texts);
  return text === undefined ? 1 : settle(join(folder, `${name}.txt`), text, options);
}

async function transcript(name) {
  const { stdout, stderr } = await run(process.execPath, [join(root, 'probe.js'), name, '--both'], { timeout: LIMIT_MS });
  // Warnings of Node itself (DEP0190 for a shell with arguments) are no events.
  if (stderr.includes('Error')) throw new Error(`probe ${name}: ${stderr}`);
  return stdout;
}

// Not a golden file, but evidence: in how many different orders the runs came before they were made canonical.
async function writeOrders(folder, names, orders, runs) {
  const rows = names.map((name) => `${String(orders[name]).padStart(3)}  ${name}\n`);
  const head = `Different raw orders seen in ${runs} runs of each case, Node ${process.versions.node}.\n\n`;
  await writeFile(join(folder, 'ORDERS.txt'), head + rows.join(''));
}
