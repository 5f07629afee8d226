// Tutorial 002, row S2-19: a zombie: the child has ended, and nobody has asked how.
// Not verbatim, the tutorial takes it for an orphan. Node asks from its event loop, so not while that is busy.

const { spawn } = require('child_process');
const { existsSync, readFileSync } = require('fs');

const child = spawn('true');
const stat = '/proc/' + child.pid + '/stat';
while (!readFileSync(stat, 'latin1').includes(') Z '));
console.log('[main] busy: the child is a zombie');
child.on('exit', () => {
    if (!existsSync(stat)) console.log('[main] idle: the child is gone');
});
