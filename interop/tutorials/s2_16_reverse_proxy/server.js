// Tutorial 002, row S2-16: a server that takes any port and says which. Not verbatim.

const http = require('http');

const server = http.createServer((req, res) => res.end('child ' + process.argv[2]));
server.listen(0, '127.0.0.1', () => process.send(server.address().port));
