// Records what the Node on PATH does, as golden files for our own tests.
//
//   node interop/record.mjs            record everything again
//   node interop/record.mjs --check    compare with the files, change nothing
//   node interop/record.mjs --only exit-3 [--runs 5] [tutorials|child_process]
//
// Every program runs several times (20 unless --runs says otherwise). A transcript that is not the same
// each time is an error here, not a coin toss in a test later: give the case an order rule instead.

import { availableParallelism } from 'node:os';
import { recordProbes } from './recording/probes.mjs';
import { recordTutorials } from './recording/tutorials.mjs';

function parse(argv) {
  const options = { check: false, runs: 20, only: undefined, areas: [], jobs: Math.min(4, availableParallelism()) };
  for (let i = 0; i < argv.length; i += 1) {
    const arg = argv[i];
    if (arg === '--check') options.check = true;
    else if (arg === '--runs') options.runs = Number(argv[(i += 1)]);
    else if (arg === '--only') options.only = argv[(i += 1)];
    else if (arg === 'tutorials' || arg === 'child_process') options.areas.push(arg);
    else throw new Error(`unknown argument ${arg}`);
  }
  if (!Number.isInteger(options.runs) || options.runs < 1) throw new Error('--runs wants a number above 0');
  if (options.areas.length === 0) options.areas = ['tutorials', 'child_process'];
  return options;
}

const options = parse(process.argv.slice(2));
const areas = { tutorials: recordTutorials, child_process: recordProbes };
let failures = 0;
for (const area of options.areas) failures += await areas[area](options);
if (failures > 0) {
  console.error(`${failures} transcript(s) are not as they should be`);
  process.exitCode = 1;
}
