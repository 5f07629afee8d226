// Tutorial 002, row S2-13: "the child begins to run at the first message". It does not.
// Not verbatim. The child speaks before it was sent anything.

const { fork } = require('child_process');

const child = fork('./child.js');
child.once('message', msg => {
    console.log('[main] got: ' + msg);
    console.log('[main] sends its first message');
    child.send('hello world');
});
