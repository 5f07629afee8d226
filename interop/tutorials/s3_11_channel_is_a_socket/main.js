// Tutorial 003, row S3-11: "IPC works by shared memory". It does not: the channel is a pair of sockets.
// Not verbatim. The child looks at its end and says what it is.

const { fork } = require('child_process');

fork('./child.js').on('message', kind => {
    console.log('the channel is a ' + kind);
});
