// HTTPS with a session that a client may take to another worker: what it was resumed from is told.
'use strict';
const fs = require('fs');
const https = require('https');

const server = https.createServer(
  { key: fs.readFileSync(process.env.TLS_KEY), cert: fs.readFileSync(process.env.TLS_CERT) },
  (request, response) => response.end(`${process.pid} reused=${request.socket.isSessionReused()}\n`),
);
server.listen(Number(process.env.PORT || 0), '127.0.0.1', () => {
  console.log(`ready port=${server.address().port} pid=${process.pid}`);
});
