// A TCP server that says its pid and then all that it hears. At MAX_CONNECTIONS it refuses.
'use strict';
const net = require('net');

const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  socket.write(`${process.pid}\n`);
  socket.pipe(socket);
  socket.on('error', () => {});
});
if (process.env.MAX_CONNECTIONS) server.maxConnections = Number(process.env.MAX_CONNECTIONS);
server.listen(Number(process.env.PORT || 0), '127.0.0.1', () => {
  console.log(`ready port=${server.address().port} pid=${process.pid}`);
});
