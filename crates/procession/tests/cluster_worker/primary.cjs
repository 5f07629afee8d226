'use strict';
// Node's own primary over two workers that are no Node programs.
// Arguments: program, serialization, rr|none, where to listen, scenario.
// Says what it saw as one line of JSON.
const cluster = require('node:cluster');
const http = require('node:http');
const [program, serialization, policy, where, scenario] = process.argv.slice(2);

process.execPath = program;
cluster.schedulingPolicy = policy === 'rr' ? cluster.SCHED_RR : cluster.SCHED_NONE;
cluster.setupPrimary({ exec: where, execArgv: [], args: [], serialization });

const seen = { events: {}, answers: [], echoes: [], exits: [] };
const note = (worker, event) => (seen.events[worker.id] ??= []).push(event);
for (const event of ['online', 'listening', 'disconnect'])
  cluster.on(event, (worker) => note(worker, event));

const wait = (emitter, event) => new Promise((done) => emitter.once(event, done));

function get(address, path) {
  const to = address.port > 0 ? { host: '127.0.0.1', port: address.port } : { socketPath: where };
  return new Promise((done, failed) => {
    const request = http.get({ ...to, path, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (data) => (body += data));
      response.on('end', () => done(body));
    });
    request.on('error', failed);
  });
}

async function start() {
  const worker = cluster.fork();
  worker.on('exit', (code, signal) =>
    seen.exits.push({ code, signal, onPurpose: worker.exitedAfterDisconnect }));
  const address = await new Promise((done) => worker.once('listening', done));
  return { worker, address };
}

async function echo({ worker }) {
  const message = { to: worker.id, text: 'h\u00e9\u{1f600}' };
  worker.send(message);
  seen.echoes.push(JSON.stringify(await wait(worker, 'message')) === JSON.stringify(message));
}

/** Clients that ask again and again, until they are told to stop. */
function clients(count, address) {
  let more = true;
  const one = async () => {
    while (more) seen.answers.push(await get(address, '/'));
  };
  const all = Promise.all(Array.from({ length: count }, one));
  return async () => {
    more = false;
    await all;
  };
}

/** Two requests for `/slow` have reached their workers. */
function bothHaveBegun() {
  let begun = 0;
  return new Promise((done) => cluster.on('message', (_, message) => {
    if (message === 'slow' && ++begun === 2) done();
  }));
}

const scenarios = {
  // 20 requests, messages both ways, an end on the primary's wish with requests in progress.
  async serve(all) {
    for (let i = 0; i < 20; i++) seen.answers.push(await get(all[0].address, '/'));
    for (const one of all) await echo(one);
    const slow = [get(all[0].address, '/slow'), get(all[0].address, '/slow')];
    await bothHaveBegun();
    cluster.disconnect();
    seen.slow = await Promise.all(slow);
  },
  // The same, with a server that knows nothing of the test.
  async axum(all) {
    for (let i = 0; i < 20; i++) seen.answers.push(await get(all[0].address, '/'));
    for (const one of all) await echo(one);
    cluster.disconnect();
  },
  // The workers leave by themselves, the first under load.
  async leave(all) {
    const stop = clients(8, all[0].address);
    all[1].worker.send('leave');
    await wait(all[1].worker, 'exit');
    await stop();
    all[0].worker.send('leave');
  },
  async kill(all) {
    const stop = clients(8, all[0].address);
    all[1].worker.send('kill');
    await wait(all[1].worker, 'exit');
    await stop();
    all[0].worker.send('kill');
  },
  // The primary closes the channels without a word.
  async lost(all) {
    for (const { worker } of all) worker.process.disconnect();
  },
};

async function main() {
  // Node 24 and 26 may end before the last 'disconnect' when nothing else is left.
  const alive = setInterval(() => {}, 1e6);
  const all = [await start(), await start()];
  // In either order.
  const ends = all.flatMap(({ worker }) => [wait(worker, 'exit'), wait(worker, 'disconnect')]);
  seen.ports = all.map(({ address }) => address.port);
  await scenarios[scenario](all);
  await Promise.all(ends);
  clearInterval(alive);
  console.log(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error, JSON.stringify(seen));
  process.exit(1);
});
