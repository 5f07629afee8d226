// Listens on the same port after closing it, in turn, and then on a taken one: TAKEN.
'use strict';
const net = require('net');

const port = Number(process.env.PORT || 0);
let rounds = 5;
function again() {
  const server = net.createServer();
  server.on('error', (error) => console.log(`again ${error.code} pid=${process.pid}`));
  server.listen(port, '127.0.0.1', () => server.close(() => {
    rounds -= 1;
    if (rounds > 0) again();
    else taken();
  }));
}
function taken() {
  const server = net.createServer();
  server.on('error', (error) => {
    console.log(`taken ${error.code} ${error.syscall} pid=${process.pid}`);
    // Still there, so that nobody starts another one.
    net.createServer().listen(0, '127.0.0.1', () => console.log(`ready pid=${process.pid}`));
  });
  server.listen(Number(process.env.TAKEN), '127.0.0.1');
}
again();
