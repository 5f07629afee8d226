// Tutorial 002, rows S2-17 and S2-18: "a child dies: listen for its exit, by process.on('exit'), and refork it".
// Not verbatim, the tutorial has no program for it. process.on('exit') tells of one's own end.

const { fork } = require('child_process');

process.on('exit', code => console.log("[main] process.on('exit'): " + code));

function start(attempt) {
    const child = fork('./child.js', [attempt]);
    child.on('exit', code => {
        console.log('[main] child exited with code ' + code);
        if (code !== 0) start(attempt + 1);
    });
}

start(1);
