// Tutorial 002, row S2-20: two children, each of which has started another program. Not verbatim.

const { spawn } = require('child_process');
const { once } = require('events');

const line = 'sleep 600 >&2 & echo $!; wait';
const children = [1, 2].map(() => spawn('sh', ['-c', line], { stdio: ['ignore', 'pipe', 'ignore'] }));

process.on('SIGTERM', async () => {
    console.log('[daemon] SIGTERM: ends its children');
    const ends = children.map(child => once(child, 'exit'));
    children.forEach(child => process.kill(child.pid));
    await Promise.all(ends);
    process.exit(0);
});

Promise.all(children.map(child => once(child.stdout, 'data')))
    .then(told => process.send(told.map(([pid]) => Number(pid))));
