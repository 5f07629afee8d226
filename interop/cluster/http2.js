// HTTP/2 in the clear, and on request its client: `node http2.js PORT TIMES`.
'use strict';
const http2 = require('http2');

const [port, times] = process.argv.slice(2).map(Number);
if (port) {
  ask(times);
} else {
  const server = http2.createServer();
  server.on('stream', (stream) => {
    stream.respond({ ':status': 200 });
    stream.end(`${process.pid} http2\n`);
  });
  server.listen(Number(process.env.PORT || 0), '127.0.0.1', () => {
    console.log(`ready port=${server.address().port} pid=${process.pid}`);
  });
}

function ask(left) {
  if (left === 0) return;
  const session = http2.connect(`http://127.0.0.1:${port}`);
  const stream = session.request({ ':path': '/' });
  stream.setEncoding('utf8');
  stream.on('data', (part) => process.stdout.write(part));
  stream.on('end', () => session.close(() => ask(left - 1)));
}
