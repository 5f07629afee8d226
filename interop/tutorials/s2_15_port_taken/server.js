// Tutorial 002, row S2-15: a server as people write it. Not verbatim.

const http = require('http');

const name = '[child ' + process.argv[2] + ']';
const server = http.createServer((req, res) => res.end(name));
server.on('error', error => {
    console.log(name + ' ' + error.code);
    process.exit(1);
});
server.listen(process.env.PORT, '127.0.0.1', () => {
    console.log(name + ' listens');
    process.send(server.address().port);
});
