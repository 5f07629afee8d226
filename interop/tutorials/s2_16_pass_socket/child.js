// Tutorial 002, row S2-16: a server that gets its socket from its parent. Not verbatim.

const http = require('http');

const server = http.createServer((req, res) => res.end(process.argv[2]));
process.on('message', (message, socket) => {
    socket.on('connection', connection => server.emit('connection', connection));
    process.send('I have it');
});
