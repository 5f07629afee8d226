// One HTTP server with a request for each trick. Every answer begins with the pid.
// What it has accepted and not yet answered stands in the file OPEN_DIR/<pid>, also after a SIGKILL.
'use strict';
const fs = require('fs');
const path = require('path');
const http = require('http');
const cluster = require('cluster');

let open = 0;
let note = () => {};
if (process.env.OPEN_DIR) {
  const file = fs.openSync(path.join(process.env.OPEN_DIR, String(process.pid)), 'w');
  note = (change) => {
    open += change;
    fs.writeSync(file, String(open).padEnd(8), 0);
  };
}

const tricks = {
  '/': (answer) => answer(''),
  // Takes a while without using the processor, as a database would.
  '/wait': (answer, ms) => setTimeout(answer, ms || 20, 'waited'),
  // Uses the processor for a while.
  '/block': (answer, ms) => {
    const end = Date.now() + (ms || 200);
    while (Date.now() < end);
    answer('blocked');
  },
  '/exit': (answer, code) => answer('exits', () => process.exit(code)),
  '/throw': () => { throw new Error('thrown on request'); },
  '/kill': () => process.kill(process.pid, 'SIGKILL'),
  '/stop': (answer) => answer('stops', () => process.kill(process.pid, 'SIGSTOP')),
  '/disconnect': (answer) => answer('disconnects', () => cluster.worker.disconnect()),
  '/worker-kill': (answer) => answer('kills itself', () => cluster.worker.kill()),
  '/id': (answer) => answer(`${cluster.worker && cluster.worker.id} ${cluster.isWorker}`),
  '/env': (answer) => answer(JSON.stringify(process.env)),
  // Asks the primary, and answers with what came back.
  '/echo': (answer) => {
    process.once('message', (message) => answer(JSON.stringify(message)));
    cluster.worker.send({ hello: 'primary' });
  },
  // So much that it is not sent at once.
  '/large': (answer) => answer('x'.repeat(4 << 20)),
};

const server = http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  const trick = tricks[pathname];
  const answer = (text, done) => response.end(`${process.pid} ${text}\n`, done);
  if (!trick) {
    response.statusCode = 404;
    answer('unknown');
    return;
  }
  trick(answer, Number(searchParams.get('n')));
});
server.on('connection', (socket) => {
  note(1);
  socket.on('close', () => note(-1));
});
server.on('error', (error) => {
  console.error(`${error.code} ${error.message}`);
  process.exit(1);
});
const first = process.argv[2];
server.listen(Number(process.env.PORT || 0), process.env.HOST || '127.0.0.1', () => {
  console.log(`ready port=${server.address().port} pid=${process.pid}${first ? ` argument=${first}` : ''}`);
});
// A slow worker: the first one to make this file blocks for so long with each request, without the processor.
if (process.env.SLOW_MS && process.env.SLOW_FILE) {
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  try {
    fs.writeFileSync(process.env.SLOW_FILE, String(process.pid), { flag: 'wx' });
    tricks['/'] = (answer) => {
      Atomics.wait(nothing, 0, 0, Number(process.env.SLOW_MS));
      answer('slow');
    };
  } catch { /* another one is slow */ }
}
