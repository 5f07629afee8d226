'use strict';
// One side of the scenarios of scenarios.json, as an ordinary Node program.
//
//   node peer.cjs parent SERIALIZATION SCRATCH CHILD NAME...   runs scenarios, each with a child of its own
//   node peer.cjs child SCRATCH NAME                           is that child
//
// CHILD is the child's program and first arguments, as JSON. For each scenario both sides write a line
// `NAME <tab> SIDE <tab> ok` or what went wrong to stdout. The Rust side is crates/procession/tests/interop/peer.

const { fork, spawnSync } = require('node:child_process');
const assert = require('node:assert');
const fs = require('node:fs');
const { Handles, isNonBlocking } = require('./handles.cjs');

const LIMIT_MS = 20_000;

/** What stands for a message in the table. */
function value(written) {
  const [text, times] = written?.$repeat ?? [];
  return text === undefined ? written : text.repeat(times);
}

function same(actual, expected) {
  if (typeof expected === 'string' && expected.length > 1000) return assert.ok(actual === expected, 'another long string');
  assert.deepStrictEqual(actual, expected);
}

/** The other side, whichever it is: `ChildProcess` and `process` speak alike. */
class Peer {
  #messages = [];
  #waiting;
  #listens = false;

  constructor(endpoint, pid) {
    this.endpoint = endpoint;
    this.pid = pid;
  }

  /** A child does it only when it waits for something: it is kept alive by listeners. */
  listen() {
    if (this.#listens) return;
    this.#listens = true;
    this.gone = new Promise((resolve) => this.endpoint.once('disconnect', resolve));
    this.gone.then(() => this.#waiting?.());
    this.endpoint.on('message', (message, handle) => {
      this.#messages.push([message, handle]);
      this.#waiting?.();
    });
  }

  async next() {
    this.listen();
    while (this.#messages.length === 0) {
      if (!this.endpoint.connected) {
        // Messages that are here already are told after 'disconnect'.
        await new Promise(setImmediate);
        assert.ok(this.#messages.length > 0, 'the channel closed before a message came');
        break;
      }
      await new Promise((resolve) => { this.#waiting = resolve; });
    }
    return this.#messages.shift();
  }

  /** Done when it is written. */
  send(message, handle) {
    return new Promise((resolve, reject) => {
      this.endpoint.send(message, handle, (error) => (error ? reject(error) : resolve()));
    });
  }

  left() {
    return this.#messages.length;
  }
}

class Side {
  descriptors = [];
  filled = 0;
  /** How this side ends: undefined is by disconnecting. */
  ending;

  constructor(peer, { role, serialization, scratch }) {
    Object.assign(this, { peer, role, serialization, scratch, handles: new Handles(scratch, role) });
  }

  async run(steps) {
    for (const [index, [verb, ...words]] of steps.entries()) {
      try {
        await this[verb](...words);
      } catch (error) {
        throw new Error(`step ${index + 1}, ${verb}: ${error.message.split('\n').slice(0, 6).join(' | ')}`);
      }
    }
  }

  async send(message) {
    await this.peer.send(value(message));
  }

  async recv(expected) {
    const [message, handle] = await this.peer.next();
    same(message, value(expected));
    assert.strictEqual(handle, undefined);
  }

  async values() {
    const all = this.serialization === 'json'
      ? require('./values.json').map((v) => [JSON.stringify(v), v])
      : require('./advanced-values.cjs');
    for (const [name, sent] of all) {
      await this.peer.send(sent);
      const [back] = await this.peer.next();
      try {
        assert.deepStrictEqual(back, sent);
      } catch (error) {
        throw new Error(`${name}: ${error.message}`);
      }
    }
  }

  async echo(end) {
    for (;;) {
      const [message] = await this.peer.next();
      if (message === end) return;
      await this.peer.send(message);
    }
  }

  'pass-on'(end) {
    return this.echo(end);
  }

  async 'lone-surrogates'() {
    for (const text of ['\ud800', 'a\udc00b']) {
      await this.peer.send(text);
      await this.recv(text);
    }
  }

  /** Writes to the channel behind Node's back. */
  raw(hex) {
    writeAll(Buffer.from(hex, 'hex'));
  }

  'raw bytewise'(hex) {
    for (const byte of Buffer.from(hex, 'hex')) writeAll(Buffer.of(byte));
  }

  half() {
    this.raw({ json: '2277686f6c65220a7b226861', advanced: '00000009ff0f220577686f6c6500000009ff0f' }[this.serialization]);
  }

  async 'send-many'(count, size) {
    const written = [];
    for (let n = 0; n < count; n++) written.push(this.peer.send({ n, text: 'x'.repeat(size) }));
    // Not waited for: that is what is tested.
    for (const one of written) one.catch(() => {});
  }

  async 'expect-many'(count, size) {
    for (let n = 0; n < count; n++) await this.recv({ n, text: 'x'.repeat(size) });
  }

  exit(code) {
    process.exit(code);
  }

  async give(kind, message) {
    const { handle, close } = await this.handles.make(kind);
    await this.peer.send(value(message), handle);
    close?.();
  }

  async take(kind, expected) {
    const [message, handle] = await this.peer.next();
    same(message, value(expected));
    this.handles.take(kind, handle);
    assert.notStrictEqual(isNonBlocking(handle), false, 'a handle that blocks');
  }

  talk() {
    return this.handles.talk();
  }

  async 'talk-outside'() {
    await this.handles.talkOutside();
  }

  async 'give-accepted'() {
    const { handle, server } = await this.handles.make('tcp');
    this.server = server;
    await this.peer.send('accepted', handle);
  }

  async 'count-and-close'() {
    await new Promise((resolve, reject) => this.server.getConnections((error) => (error ? reject(error) : resolve())));
    await new Promise((resolve) => this.server.close(resolve));
  }

  async 'give-in-vain'() {
    const { handle } = await this.handles.make('tcp');
    const warned = new Promise((resolve) => process.once('warning', resolve));
    await this.peer.send('in vain', handle);
    assert.strictEqual((await warned).name, 'SentHandleNotReceivedWarning');
    this.handles.forgetOutside();
  }

  async 'give-and-disconnect'() {
    const { handle } = await this.handles.make('tcp');
    this.peer.send('last', handle).catch(() => {});
    this.disconnect();
  }

  async 'in-order'(count) {
    const written = [];
    for (let n = 0; n < count; n++) {
      const handle = n % 3 === 1 ? (await this.handles.make('tcp')).handle : undefined;
      written.push(this.peer.send({ n }, handle));
    }
    await Promise.all(written);
  }

  async 'expect-order'(count) {
    for (let n = 0; n < count; n++) {
      const [message, handle] = await this.peer.next();
      assert.deepStrictEqual(message, { n });
      assert.strictEqual(handle !== undefined, n % 3 === 1, `a handle with ${n}`);
      handle?.destroy();
    }
  }

  async exchange(count) {
    const made = [];
    for (let n = 0; n < count; n++) made.push(await this.handles.make('tcp'));
    const written = made.map(({ handle }, n) => this.peer.send({ n }, handle));
    for (let n = 0; n < count; n++) {
      const [message, handle] = await this.peer.next();
      assert.deepStrictEqual(message, { n });
      handle.destroy();
    }
    await Promise.all(written);
  }

  /** More than once, for what was closed before may be open for some turns more. */
  async exhaust() {
    for (let turn = 0; turn < 10; turn++) {
      try {
        for (;;) this.descriptors.push(fs.openSync('/dev/null'));
      } catch (error) {
        assert.strictEqual(error.code, 'EMFILE');
      }
      await new Promise(setImmediate);
    }
  }

  release() {
    for (const fd of this.descriptors.splice(0)) fs.closeSync(fd);
  }

  disconnect() {
    this.peer.listen();
    // A second one is an error to Node.
    this.peer.endpoint.once('error', () => {});
    this.peer.endpoint.disconnect();
  }

  async 'expect-disconnect'() {
    this.peer.listen();
    await this.peer.gone;
  }

  async 'send-fails'() {
    await assert.rejects(this.peer.send('late'), { code: 'ERR_IPC_CHANNEL_CLOSED' });
  }

  'make-file'(name) {
    fs.writeFileSync(`${this.scratch}/${name}`, '');
  }

  /** Looks with nothing in between, so that this side is busy meanwhile. */
  'wait-file'(name) {
    while (!fs.existsSync(`${this.scratch}/${name}`)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
  }

  'stop-peer'() {
    process.kill(this.peer.pid, 'SIGSTOP');
  }

  'continue-peer'() {
    process.kill(this.peer.pid, 'SIGCONT');
  }

  /** Until this side is told to wait, and some more. */
  fill(size) {
    const text = 'x'.repeat(size);
    const one = () => this.peer.endpoint.send({ n: this.filled++, text });
    while (one()) assert.ok(this.filled < 100_000, 'nothing tells to wait');
    for (let n = 0; n < 100; n++) one();
  }

  async count(end) {
    for (let n = 0; ; n++) {
      const [message] = await this.peer.next();
      if (message === end) return this.peer.send(n);
      assert.strictEqual(message.n, n);
    }
  }

  'recv-filled'() {
    return this.recv(this.filled);
  }

  /** procession's questions, from a Node program. */
  request(msg, expected) {
    return this.#ask({ kind: 'request', msg }, (answer) => {
      assert.strictEqual(answer.kind, 'reply');
      assert.deepStrictEqual(answer.msg, expected);
    });
  }

  confirm(msg) {
    return this.#ask({ kind: 'send', msg }, (answer) => assert.strictEqual(answer.kind, 'ack'));
  }

  async #ask(question, check) {
    // A listener for internal messages alone keeps no child alive.
    this.peer.listen();
    const id = Math.floor(Math.random() * 1e9);
    const { endpoint } = this.peer;
    const answered = new Promise((resolve) => {
      endpoint.on('internalMessage', function hear(message) {
        if (message.cmd !== 'NODE_PROCESSION' || message.id !== id) return;
        endpoint.off('internalMessage', hear);
        resolve(message);
      });
    });
    await this.peer.send({ cmd: 'NODE_PROCESSION', id, ...question });
    check(await answered);
  }

  async serve(confirmed, end) {
    const heard = [];
    this.peer.endpoint.on('internalMessage', ({ cmd, kind, id, msg }) => {
      if (cmd !== 'NODE_PROCESSION') return;
      if (kind === 'request') this.peer.send({ cmd, kind: 'reply', id, msg: { n: msg.n + 1 } });
      if (kind === 'send') this.peer.send({ cmd, kind: 'ack', id });
      if (kind === 'send') heard.push(msg);
    });
    await this.recv(end);
    assert.deepStrictEqual(heard, [confirmed]);
  }

  unref() {
    this.ending = 'none';
    this.peer.listen();
    process.channel.unref();
  }

  'just-end'() {
    this.ending = 'none';
  }

  'check-environment'() {
    const mine = Object.keys(process.env).filter((name) => name.startsWith('NODE_CHANNEL'));
    assert.deepStrictEqual(mine, []);
    const line = 'ls -l /proc/self/fd | grep -c socket; env | grep -c NODE_CHANNEL';
    const { stdout } = spawnSync('sh', ['-c', line], { stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' });
    assert.strictEqual(stdout, '0\n0\n');
  }

  'kill-self'() {
    process.kill(process.pid, 'SIGKILL');
    return new Promise(() => {});
  }
}

/** The channel does not block, and is at its usual place in these scenarios. */
function writeAll(bytes) {
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(fs.writeSync(3, bytes));
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

function say(name, role, outcome) {
  fs.writeSync(1, `${name}\t${role}\t${outcome.replaceAll(/\s+/g, ' ')}\n`);
}

/** The scenarios, and those that are told from the other side too. */
function table() {
  return require('./scenarios.json').flatMap((scenario) => {
    const { name, parent, child } = scenario;
    const mirrored = { ...scenario, name: `${name}, from the child`, parent: child, child: parent };
    return scenario.mirror ? [scenario, mirrored] : [scenario];
  });
}

function named(name) {
  return table().find((scenario) => scenario.name === name);
}

function start(scenario, { serialization, scratch, words: [program, ...rest] }) {
  const stdio = ['inherit', 'inherit', 'inherit'];
  const at = scenario.at ?? 3;
  while (stdio.length < at) stdio.push('ignore');
  stdio[at] = 'ipc';
  const [module, ...args] = [...rest, 'child', scratch, scenario.name];
  return fork(module, args, { execPath: program, execArgv: [], serialization, stdio });
}

async function asParent(scenario, options) {
  const scratch = fs.mkdtempSync(`${options.scratch}/scenario-`);
  const child = start(scenario, { ...options, scratch });
  const exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
  const peer = new Peer(child, child.pid);
  // What nobody listened to is lost with the channel.
  if (scenario.parent[0][0] !== 'wait-file') peer.listen();
  const side = new Side(peer, { ...options, role: 'parent', scratch });
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${LIMIT_MS} ms`)), LIMIT_MS);
  });
  try {
    await Promise.race([late, (async () => {
      await side.run(scenario.parent);
      peer.listen();
      assert.strictEqual(await exited, scenario.exit ?? 0);
      await peer.gone;
      assert.strictEqual(peer.left(), 0, 'messages that nobody expected');
    })()]);
    say(scenario.name, 'parent', 'ok');
  } catch (error) {
    say(scenario.name, 'parent', error.message);
    child.kill('SIGKILL');
  } finally {
    clearTimeout(timer);
    side.release();
    side.handles.close();
  }
}

async function asChild(scenario, options) {
  const side = new Side(new Peer(process, process.ppid), { ...options, role: 'child' });
  // Said before the last step that ends the process by itself.
  if (scenario.exit !== undefined) process.once('exit', () => say(scenario.name, 'child', 'ok'));
  try {
    await side.run(scenario.child);
    say(scenario.name, 'child', 'ok');
  } catch (error) {
    say(scenario.name, 'child', error.message);
    process.exitCode = 1;
  }
  side.handles.close();
  if (side.ending === undefined && process.connected) process.disconnect();
}

async function main([role, ...words]) {
  if (role === 'child') {
    const [scratch, name] = words;
    return asChild(named(name), { scratch, serialization: words[2] ?? fs.readFileSync(`${scratch}/../serialization`, 'utf8') });
  }
  const [serialization, scratch, child, ...names] = words;
  fs.writeFileSync(`${scratch}/serialization`, serialization);
  for (const name of names) await asParent(named(name), { serialization, scratch, words: JSON.parse(child) });
}

process.on('unhandledRejection', (error) => { throw error; });
main(process.argv.slice(2));
