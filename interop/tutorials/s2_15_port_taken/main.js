// Tutorial 002, row S2-15: "many children of one server's configuration have the same port: there must be an error".
// Not verbatim, the tutorial has no program for it. The second child gets the port of the first.

const { fork } = require('child_process');

const first = fork('./server.js', ['1'], { env: { ...process.env, PORT: '0' } });
first.once('message', port => {
    const second = fork('./server.js', ['2'], { env: { ...process.env, PORT: String(port) } });
    second.on('exit', code => {
        console.log('[main] child 2 exited with code ' + code);
        first.kill();
    });
});
