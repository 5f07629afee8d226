// Tutorial 002, row S2-19: an orphan: "the parent is gone, the child still runs".
// Not verbatim, the tutorial has no program for it. The child has the parent's stdout: it is open while one of them lives.

const { spawn } = require('child_process');

const parent = spawn(process.execPath, [__dirname + '/parent.js'], { stdio: ['ignore', 'pipe', 'inherit'] });
let orphan;
parent.stdout.once('data', pid => {
    orphan = Number(pid);
    console.log('[main] kills the parent');
    parent.kill('SIGKILL');
});
parent.on('exit', (code, signal) => {
    console.log('[main] the parent ended by ' + signal);
    process.kill(orphan, 0);
    console.log('[main] its child lives: an orphan');
    process.kill(orphan);
});
parent.on('close', () => console.log('[main] now its child is gone'));
