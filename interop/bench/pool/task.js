// What every worker does with a task: nothing, some work, an echo, or a payload touched.
'use strict';

function spin(steps) {
  let x = steps | 1;
  for (let i = 0; i < steps; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
  }
  return x;
}

function run(task) {
  if (Array.isArray(task)) {
    const [number, steps] = task;
    if (steps > 0) spin(steps);
    return number;
  }
  if (task === 'pid') return String(process.pid);
  return task;
}

function touch(buffer) {
  new Uint8Array(buffer)[0]++;
  return buffer;
}

module.exports = run;
module.exports.run = run;
module.exports.spin = spin;
module.exports.touch = touch;
