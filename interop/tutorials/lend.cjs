// Loaded before the tutorials' clusters (`node --require`), in all of their processes, so that they stay word for word.
// Lends them two CPUs and a free port in place of 8000; with BOOT=fails no worker can start; where the primary is Node's,
// VISIT names somebody who looks on and ends the program.

const cluster = require('cluster');
const http = require('http');
const net = require('net');
const os = require('os');

os.cpus = () => [{}, {}];

const { listen } = net.Server.prototype;
net.Server.prototype.listen = function (port, ...rest) {
    return listen.call(this, port === 8000 ? 0 : port, ...rest);
};

if (cluster.isWorker && process.env.BOOT === 'fails') process.exit(1);

const visits = { respawn, noRespawn, storm };
if (cluster.isPrimary && process.env.VISIT) visits[process.env.VISIT]().then(() => process.exit());

async function respawn() {
    const { port } = await times('listening', 2);
    const before = await answers(port, 2);
    say(`two workers answer: ${before[0].words}`);
    say('kills one');
    const again = times('listening', 1);
    process.kill(before[0].pid, 'SIGKILL');
    await again;
    const after = await answers(port, 2);
    if (after.every(({ pid }) => pid !== before[0].pid)) say('two workers answer, one of them is new');
}

async function noRespawn() {
    const { port } = await times('listening', 2);
    const before = await answers(port, 2);
    say(`two workers answer: ${before[0].words}`);
    say('kills one');
    const died = times('exit', 1);
    process.kill(before[0].pid, 'SIGKILL');
    await died;
    const [after] = await answers(port, 1);
    if (after.pid === before[1].pid) say(`${Object.keys(cluster.workers).length} worker is left and answers`);
}

async function storm() {
    await times('exit', 10);
    say(`10 workers died, and ${Object.keys(cluster.workers).length} new ones start`);
}

/** Waits until it has happened so often from now on, and the program has heard of it; gives the last address. */
function times(event, count) {
    return new Promise((resolve) => {
        cluster.on(event, (worker, address) => {
            count -= 1;
            if (count === 0) process.nextTick(resolve, address);
        });
    });
}

/** Asks until so many workers have answered. */
async function answers(port, count) {
    const found = new Map();
    while (found.size < count) {
        const { type, words } = await get(port);
        const pid = Number(/\d+/.exec(words)[0]);
        found.set(pid, { pid, words: [type, words].filter(Boolean).join(', ') });
    }
    return [...found.values()];
}

function get(port) {
    return new Promise((resolve, reject) => {
        const asked = http.get({ host: '127.0.0.1', port, agent: false }, async (response) => {
            let words = '';
            for await (const chunk of response.setEncoding('utf8')) words += chunk;
            resolve({ type: response.headers['content-type'], words: words.trim() });
        });
        asked.on('error', reject);
    });
}

function say(words) {
    console.log(`[visitor] ${words}`);
}
