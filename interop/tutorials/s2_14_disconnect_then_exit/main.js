// Tutorial 002, row S2-14: its `exit` "listens for the disconnect". These are two events.
// Not verbatim. The parent disconnects, the child ends of it.

const { fork } = require('child_process');

const child = fork('./child.js');
child.on('disconnect', () => console.log('[main] disconnect'));
child.on('exit', code => console.log('[main] exit with code ' + code));
child.on('close', code => console.log('[main] close with code ' + code));
child.once('message', () => child.disconnect());
