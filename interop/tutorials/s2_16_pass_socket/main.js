// Tutorial 002, row S2-16, the second remedy for S2-15: the parent listens and passes its socket to both children.
// Not verbatim, the tutorial only names it. Who accepts a connection is the kernel's choice.

const { fork } = require('child_process');
const http = require('http');
const net = require('net');
const { once } = require('events');

async function main() {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    const children = ['1', '2'].map(name => fork('./child.js', [name]));
    for (const child of children) {
        child.send('here is the socket', server);
        await once(child, 'message');
    }
    console.log('[main] both children have the socket');
    server.close();
    const first = await get(port);
    console.log('[main] one answers and is killed');
    children[first - 1].kill('SIGKILL');
    await once(children[first - 1], 'exit');
    if (await get(port) !== first) console.log('[main] the other one answers');
    children.forEach(child => child.kill());
}

async function get(port) {
    const [response] = await once(http.get({ host: '127.0.0.1', port, agent: false }), 'response');
    for await (const name of response.setEncoding('utf8')) return Number(name);
}

main();
