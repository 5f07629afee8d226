// Tutorial 004, row S4-10: what it meant. With `exclusive` each worker has a port of its own, of which the primary knows
// nothing: the worker says it.

const http = require('node:http');

const server = http.createServer((req, res) => {
    res.end('worker success');
});
server.listen({ port: 0, exclusive: true }, () => process.send({ port: server.address().port }));
