// Tutorial 001, row S1-6: one object each way. Nobody disconnects, so both stay.
// The child of the program beside it; verbatim below this comment.

// child.js
process.on('message', (msg) => {
  console.log('Получено от родительского процесса:', msg);
  process.send({ response: 'ok' });
});
