// Every kind of listener that a worker can ask for, each told on a line `kind=address`.
'use strict';
const dgram = require('dgram');
const fs = require('fs');
const http = require('http');

const here = process.env.SOCKETS;
const answer = (request, response) => response.end(`${process.pid}\n`);

function listen(kind, options) {
  const server = http.createServer(answer);
  server.on('error', (error) => console.log(`${kind}=${error.code}`));
  server.listen(options, () => {
    const at = server.address();
    console.log(`${kind}=${typeof at === 'string' ? at : at.port} family=${at.family}`);
  });
}

listen('tcp', { port: Number(process.env.PORT || 0), host: '127.0.0.1' });
listen('any', { port: 0 });
listen('first', { port: 0, host: '127.0.0.1' });
listen('second', { port: 0, host: '127.0.0.1' });
listen('v6', { port: 0, host: '::1', ipv6Only: true });
listen('path', { path: `${here}/short.sock` });
const deep = `${here}/${'deep/'.repeat(30)}`;
fs.mkdirSync(deep, { recursive: true });
listen('long', { path: `${deep}long.sock` });
if (process.env.LISTEN_FD) listen('fd', { fd: Number(process.env.LISTEN_FD) });
if (process.env.EXCLUSIVE) listen('exclusive', { port: Number(process.env.EXCLUSIVE), host: '127.0.0.1', exclusive: true });
if (process.env.REUSE) listen('reuse', { port: Number(process.env.REUSE), host: '127.0.0.1', reusePort: true });

const udp = dgram.createSocket('udp4');
udp.on('message', (message, from) => udp.send(`${process.pid} ${message}`, from.port, from.address));
udp.bind(0, '127.0.0.1', () => console.log(`udp=${udp.address().port}`));
