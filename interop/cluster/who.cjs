// Says who runs it: Node, Deno or Bun.
'use strict';
const http = require('http');

const { node, deno, bun } = process.versions;
let name = `Node ${node.split('.')[0]}`;
if (deno) name = 'Deno';
if (bun) name = 'Bun';

http.createServer((request, response) => response.end(name)).listen(Number(process.env.PORT), '127.0.0.1');
