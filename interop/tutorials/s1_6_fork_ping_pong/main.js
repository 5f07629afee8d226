// Tutorial 001, row S1-6: one object each way. Nobody disconnects, so both stay.
// Verbatim from the tutorial below this comment, mistakes included.

// main.js
const { fork } = require('child_process');

const child = fork('child.js');

child.on('message', (msg) => {
  console.log('Сообщение от дочернего процесса:', msg);
});

child.send({ hello: 'world' });
