// Tutorial 002, row S2-16, the first remedy for S2-15: a port for each child, and a reverse proxy in front of them.
// Not verbatim, the tutorial only names it.

const { fork } = require('child_process');
const http = require('http');
const net = require('net');
const { once } = require('events');

const children = ['1', '2'].map(name => fork('./server.js', [name]));

async function main() {
    const told = await Promise.all(children.map(child => once(child, 'message')));
    const ports = told.map(([port]) => port);
    let turn = 0;
    const proxy = net.createServer(client => {
        const server = net.connect(ports[turn++ % ports.length], '127.0.0.1');
        client.pipe(server).pipe(client);
    });
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    for (let i = 0; i < 4; i++) {
        const [response] = await once(http.get({ host: '127.0.0.1', port: proxy.address().port, agent: false }), 'response');
        for await (const words of response.setEncoding('utf8')) console.log('[main] ' + words + ' answers');
    }
    proxy.close();
    children.forEach(child => child.kill());
}

main();
