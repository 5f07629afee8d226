// A plain Node server: no cluster, no library. On every core:
//
//     procession run -i max examples/hello.js
//
const http = require('http');

const port = process.env.PORT || 8000;
const host = process.env.HOST || '127.0.0.1';

http
  .createServer((request, response) => {
    response.end(`hello from process ${process.pid}\n`);
  })
  .listen(port, host);
