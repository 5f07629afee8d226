// Connections and listeners that its primary sends it, and those that it sends its primary: message and handle go together.
'use strict';
const cluster = require('cluster');
const net = require('net');

const who = `worker ${cluster.worker.id}`;

process.on('message', (message, handle) => {
  switch (message.what) {
    // Answers what the client has said already.
    case 'connection':
      handle.on('data', (bytes) => handle.end(`${who} heard ${bytes}`));
      handle.resume();
      break;
    case 'server':
      handle.on('connection', (socket) => {
        socket.end(`${who} accepted`);
        handle.close();
      });
      process.send({ what: 'accepting', port: handle.address().port });
      break;
    case 'nothing':
      process.send({ what: 'nothing', handle: String(handle) });
      break;
    case 'give a server': {
      const server = net.createServer();
      server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
        cluster.worker.send({ what: 'server', port: server.address().port }, server, (error) => {
          if (error) throw error;
          server.close();
        });
      });
      break;
    }
    default:
      throw new Error(`what is ${JSON.stringify(message)}?`);
  }
});

// Every client is given to the primary, with what it has not read yet.
const server = net.createServer({ pauseOnConnect: true }, (socket) => {
  process.send({ what: 'client', from: socket.remotePort }, socket);
});
server.listen(Number(process.env.PORT), '127.0.0.1');
