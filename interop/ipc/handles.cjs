'use strict';
// What travels with messages: one end of everything Node can send, and what flows through it afterwards.

const assert = require('node:assert');
const dgram = require('node:dgram');
const { execFileSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');

/** Asks the kernel, since no Node says it; undefined where neither can be asked. */
function isNonBlocking(handle) {
  const state = Object.getOwnPropertySymbols(handle).find((symbol) => symbol.description === 'state symbol');
  const fd = (state ? handle[state].handle : handle._handle)?.fd;
  if (!(fd >= 0) || !fs.existsSync('/proc/self/fdinfo')) return undefined;
  const flags = /^flags:\s*([0-7]+)$/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'));
  return (parseInt(flags[1], 8) & 0o4000) !== 0;
}

/** Reads until this has come, however it comes. */
function expectText(stream, expected) {
  return new Promise((resolve, reject) => {
    let text = '';
    const end = () => reject(new Error(`the connection ended after ${JSON.stringify(text)}`));
    stream.once('end', end).on('data', (piece) => {
      text += piece;
      if (text.length < expected.length) return;
      stream.off('end', end);
      if (text === expected) resolve();
      else reject(new Error(`${JSON.stringify(text)} came`));
    });
  });
}

class Handles {
  #taken = [];
  #outside = [];
  #open = [];
  #listener;

  constructor(scratch, role) {
    this.fresh = () => `${scratch}/${role}-${this.#open.length}.sock`;
  }

  #keep(closable) {
    this.#open.push(closable);
    closable.on?.('error', () => {});
    return closable;
  }

  async #listen(...where) {
    const server = this.#keep(net.createServer({ pauseOnConnect: true }));
    server.listen(...where);
    await once(server, 'listening');
    return server;
  }

  /** Only the accepting end can be given: one that connects reads at once, and goes on until the peer has it. */
  async #connection(server, where) {
    const accepted = once(server, 'connection');
    const outside = this.#keep(net.connect(where));
    const [[handle]] = await Promise.all([accepted, once(outside, 'connect')]);
    this.#outside.push(() => callOver(outside));
    return { handle: this.#keep(handle), server };
  }

  /** `handle` to be sent; `close` is for our copy of what both sides would serve. */
  async make(kind) {
    return this[kind]();
  }

  async tcp() {
    this.#listener ??= await this.#listen(0, '127.0.0.1');
    return this.#connection(this.#listener, this.#listener.address());
  }

  async unix() {
    const path = this.fresh();
    return this.#connection(await this.#listen(path), path);
  }

  async #server(...where) {
    const handle = await this.#listen(...where);
    let address = handle.address();
    if (typeof address === 'string') {
      // Closing our copy removes the path.
      fs.linkSync(address, `${address}.kept`);
      address = { path: `${address}.kept` };
    }
    this.#outside.push(() => callOver(this.#keep(net.connect(address))));
    return { handle, close: () => handle.close() };
  }

  'tcp-server'() {
    return this.#server(0, '127.0.0.1');
  }

  'unix-server'() {
    return this.#server(this.fresh());
  }

  async #udp(type, host) {
    const handle = dgram.createSocket(type);
    handle.bind(0, host);
    await once(handle, 'listening');
    const { port } = handle.address();
    this.#outside.push(async () => {
      const outside = dgram.createSocket(type);
      outside.send('ping', port, host);
      const [text] = await once(outside, 'message');
      assert.strictEqual(text.toString(), 'pong');
      outside.close();
    });
    return { handle, close: () => handle.close() };
  }

  udp4() {
    return this.#udp('udp4', '127.0.0.1');
  }

  udp6() {
    return this.#udp('udp6', '::1');
  }

  async pipe() {
    const path = this.fresh();
    execFileSync('mkfifo', [path]);
    const mode = fs.constants.O_RDWR | fs.constants.O_NONBLOCK;
    const handle = this.#keep(new net.Socket({ fd: fs.openSync(path, mode), pauseOnCreate: true }));
    const other = fs.openSync(path, mode);
    this.#outside.push(async () => {
      fs.writeSync(other, 'ping');
      this.#open.push({ close: () => fs.closeSync(other) });
    });
    return { handle };
  }

  take(kind, handle) {
    const Class = kind.startsWith('udp') ? dgram.Socket : kind.endsWith('server') ? net.Server : net.Socket;
    assert.ok(handle instanceof Class, `${handle?.constructor.name} for ${kind}`);
    this.#taken.push({ kind, handle: this.#keep(handle) });
  }

  /** The inner side of the oldest that was taken. */
  async talk() {
    const { kind, handle } = this.#taken.shift();
    if (kind.startsWith('udp')) {
      const [text, from] = await once(handle, 'message');
      assert.strictEqual(text.toString(), 'ping');
      await new Promise((resolve) => handle.send('pong', from.port, from.address, resolve));
      handle.close();
    } else if (kind.endsWith('server')) {
      const [connection] = await once(handle, 'connection');
      await this.#answer(this.#keep(connection));
      handle.close();
    } else if (kind === 'pipe') {
      await expectText(handle, 'ping');
      handle.destroy();
    } else {
      await this.#answer(handle);
    }
  }

  async #answer(stream) {
    await expectText(stream, 'ping');
    const finished = once(stream, 'finish');
    stream.end('pong');
    await finished;
  }

  /** The outer side of the oldest that was given. */
  async talkOutside() {
    await this.#outside.shift()();
  }

  forgetOutside() {
    this.#outside.shift();
  }

  close() {
    for (const one of this.#open.splice(0)) {
      try {
        (one.destroy ?? one.close).call(one);
      } catch {
        // Closed already.
      }
    }
  }
}

async function callOver(stream) {
  stream.write('ping');
  await expectText(stream, 'pong');
  stream.destroy();
}

module.exports = { Handles, isNonBlocking };
