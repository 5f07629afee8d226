// Tutorial 002, row S2-20: "the daemon listens for SIGTERM and ends all children by process.kill".
// Not verbatim, the tutorial has no program for it. It ends its children, not theirs.

const { fork } = require('child_process');

const daemon = fork('./daemon.js');
let grandchildren;
daemon.once('message', pids => {
    grandchildren = pids;
    daemon.kill('SIGTERM');
});
daemon.on('exit', code => {
    console.log('[main] the daemon exited with code ' + code);
    grandchildren.forEach(pid => process.kill(pid, 'SIGKILL'));
    console.log('[main] but ' + grandchildren.length + ' of its grandchildren had to be killed');
});
