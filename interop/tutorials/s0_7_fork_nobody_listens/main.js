// Tutorial 000, row S0-7: a message to a child that never listens; it is accepted, and lost.
// Verbatim from the tutorial below this comment, mistakes included.

const {fork} = require('child_process');

const child = fork('./spawn.js');
child.on('message', (message) => {
    console.log('Parent received:', message);
});
child.send('Hello from parent');
