// `node https_client.js PORT TIMES`: a session of the first answer is offered with every further
// connection. Prints `pid reused` of each.
'use strict';
const https = require('https');

const [port, times] = process.argv.slice(2).map(Number);
let session;
function ask(left) {
  if (left === 0) return;
  const request = https.get(
    { port, host: '127.0.0.1', agent: false, session, rejectUnauthorized: false },
    (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part) => { text += part; });
      response.on('end', () => {
        process.stdout.write(text);
        ask(left - 1);
      });
    },
  );
  request.on('socket', (socket) => socket.on('session', (fresh) => { session ||= fresh; }));
}
ask(times);
