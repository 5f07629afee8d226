// Records what Node writes as `advanced` messages, as the oracle of our codec.
//
//   node interop/golden/advanced.mjs            add what this Node writes to advanced.json
//   node interop/golden/advanced.mjs --check    compare with it, change nothing
//
// Runs on Node 18 and later. A value that a Node does not have (Float16Array) or does not send is left out
// there. Each row of advanced.json is one value in one dialect: the bytes, which majors wrote exactly these,
// and a description of the value (see `describe`) that owes nothing to V8's serializer.
//
// 'ipc' bytes are taken off a real channel: `sh` is started with one and copies it to us.
// 'v8' bytes are those of `v8.serialize`; 'v8-views' those of a bare `v8.Serializer`, which writes views itself.

import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createSecretKey } from 'node:crypto';
import v8 from 'node:v8';

const table = new URL('advanced.json', import.meta.url);
const major = Number(process.versions.node.split('.')[0]);

/** An error whose stack does not depend on the machine. */
function error(Class, message, more) {
  const made = message === undefined ? new Class() : new Class(message, more);
  made.stack = `${Class.name}: ${message}\n    at main (file.js:1:2)`;
  return made;
}

function cyclic(make) {
  const [outer, put] = make();
  put(outer);
  return outer;
}

function view(Class) {
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => i * 17);
  return new Class(bytes.buffer);
}

const views = ['Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array', 'Int32Array',
  'Uint32Array', 'Float32Array', 'Float64Array', 'DataView', 'BigInt64Array', 'BigUint64Array', 'Float16Array'];

// In an array with fractions V8 would keep the whole ones as doubles, and write them so.
const integers = [0, 1, -1, 63, 64, -64, -65, 8191, 8192, 2 ** 30, 2 ** 31 - 1, -(2 ** 31)];
const doubles = [2 ** 31, -(2 ** 31) - 1, 2 ** 32, 2 ** 53, -0, 0.5, -1.5, 1e-300, 1e300, 5e-324, Infinity, -Infinity, NaN];

const bigints = [0n, 1n, -1n, 255n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 64n - 1n, 2n ** 64n, -(2n ** 127n), 2n ** 200n + 7n];

const strings = { empty: '', ascii: 'after', latin1: 'hé ÿ', 'two-byte': 'Ā', 'two-byte longer': 'z…ß', emoji: '😀',
  'lone high': '\ud800', 'lone low': 'a\udc00b', nul: 'a\0b', 'length 127': 'x'.repeat(127), 'length 128': 'x'.repeat(128),
  'length 16384': 'x'.repeat(16384), 'two-byte 63': 'Ω'.repeat(63), 'two-byte 64': 'Ω'.repeat(64),
  'two-byte 8192': 'Ω'.repeat(8192) };

/** [name, how to make the value] of all that is recorded. */
const cases = [
  ['undefined', () => undefined], ['null', () => null], ['true', () => true], ['false', () => false],
  ...[integers, doubles].flatMap((all) => all.map((n) => [`number ${Object.is(n, -0) ? '-0' : n}`, () => n])),
  ...bigints.flatMap((n) => [[`bigint ${n}`, () => n], [`bigint in array ${n}`, () => [n]]]),
  ...Object.entries(strings).map(([name, s]) => [`string ${name}`, () => s]),
  ...[0, 1, 2, 3].map((n) => [`two-byte string behind ${n}`, () => ({ ['k'.repeat(n)]: '…' })]),
  ['two-byte key', () => ({ '…': 1, a: '…' })],

  ['object empty', () => ({})],
  ['object', () => ({ a: 1, b: 'two', c: null, d: undefined, e: true })],
  ['object key order', () => ({ b: 1, 2: 'c', a: 2, 0: 'd', 4294967294: 'e', 4294967295: 'f', '-1': 'g', '01': 'h', 2147483648: 'i', 2147483647: 'j', 1.5: 'k' })],
  ['object nested', () => ({ a: { b: { c: [{}, [[]]] } } })],
  ['object latin1 key', () => ({ é: 1 })],
  ['object __proto__', () => JSON.parse('{"__proto__":1}')],
  ['class instance', () => new (class Point { x = 1; })()],
  ['null prototype', () => Object.assign(Object.create(null), { a: 1 })],
  ['internal message', () => ({ cmd: 'NODE_HANDLE_ACK' })],
  ['internal message later', () => ({ a: [1], cmd: 'NODE_HANDLE', msg: { cmd: 'x' } })],
  ['not internal', () => ({ cmd: 'NODE_' })],
  ['not internal nested', () => ({ a: { cmd: 'NODE_HANDLE' } })],

  ['array empty', () => []],
  ['array', () => [1, 'a', null, undefined, [2]]],
  ['array of doubles', () => [1, 1.5]],
  ['array with a hole', () => [1, , 3]], // eslint-disable-line no-sparse-arrays
  ['array sparse', () => new Array(5)],
  ['array very sparse', () => { const a = []; a[4000000000] = 1; return a; }],
  ['array extra', () => Object.assign([1], { x: 2, y: [3] })],
  ['array sparse extra', () => Object.assign([, 1], { x: 2 })], // eslint-disable-line no-sparse-arrays
  ['array hole made while sending', () => { const a = [1, { get x() { a.length = 2; a.length = 4; return 2; } }, 3, 4]; return a; }],

  ['map', () => new Map([[1, 'a'], ['b', new Map()], [{ k: 1 }, undefined]])],
  ['map empty', () => new Map()],
  ['set', () => new Set([1, 'a', NaN, new Set()])],
  ['set empty', () => new Set()],
  ['date', () => new Date(1700000000123)], ['date invalid', () => new Date(NaN)], ['date before', () => new Date(-1.5e12)],
  ['regexp', () => /a.b/], ['regexp flags', () => /é…[/]/dgimsuy], ['regexp v', () => new RegExp('x', 'v')],
  ['boxed true', () => Object(true)], ['boxed false', () => Object(false)], ['boxed number', () => Object(1.5)],
  ['boxed int', () => Object(3)], ['boxed string', () => Object('é')], ['boxed two-byte string', () => Object('…')],
  ['boxed bigint', () => Object(-5n)],

  ['error', () => error(Error, 'plain')],
  ...[EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((Class) => [`error ${Class.name}`, () => error(Class, 'm')]),
  ['error without message', () => error(Error, undefined)],
  ['error with cause', () => error(TypeError, 'outer', { cause: error(RangeError, 'inner', { cause: { code: 7 } }) })],
  ['error with a string as cause', () => error(Error, 'm', { cause: 'c…' })],
  ['error without stack', () => { const e = error(Error, 'm'); e.stack = undefined; return e; }],
  ['error in array', () => [error(Error, 'a'), error(Error, 'b')]],

  ['buffer', () => Buffer.from('xyz')], ['buffer empty', () => Buffer.alloc(0)], ['buffer 200', () => Buffer.alloc(200, 'ab')],
  ['buffer behind one byte', () => ({ a: 'b', c: Buffer.from([1, 2, 3]), d: '…' })],
  ...views.map((name) => [`view ${name}`, () => view(globalThis[name])]),
  ['view empty', () => new Float64Array(0)],
  ['view of a part', () => new Uint16Array(view(Uint8Array).buffer, 2, 3)],
  ['view unaligned', () => [true, new Float64Array([1, -2.5])]],
  ['views of one buffer', () => { const { buffer } = view(Uint8Array); return [new Uint8Array(buffer, 1, 4), new Int32Array(buffer), buffer]; }],
  ['array buffer', () => view(Uint8Array).buffer], ['array buffer empty', () => new ArrayBuffer(0)],
  ['array buffer resizable', () => { const b = new ArrayBuffer(3, { maxByteLength: 300 }); if (!b.resizable) throw new Error('not here'); return b; }],
  ['view of resizable', () => { const b = new ArrayBuffer(8, { maxByteLength: 16 }); if (!b.resizable) throw new Error('not here'); return [new Uint16Array(b), new Uint8Array(b, 2, 4)]; }],

  ['shared object', () => { const o = { a: 1 }; return [o, o, { o }]; }],
  ['shared of every kind', () => { const all = [new Date(0), /x/, Object(1), Object('s'), Buffer.alloc(1, 'b'), new ArrayBuffer(1), new Map(), new Set(), error(Error, 'e'), []]; return [all, ...all]; }],
  ['cycle object', () => cyclic(() => { const o = { a: 1 }; return [o, (self) => { o.self = self; }]; })],
  ['cycle array', () => cyclic(() => { const a = [1]; return [a, (self) => { a.push(self, { self }); }]; })],
  ['cycle map', () => cyclic(() => { const m = new Map(); return [m, (self) => { m.set(self, self); }]; })],
  ['cycle set', () => cyclic(() => { const s = new Set(); return [s, (self) => { s.add(self); }]; })],
  ['cycle two', () => cyclic(() => { const b = {}; return [{ b }, (self) => { b.a = self; b.b = b; }]; })],
  ['deep', () => { let v = {}; for (let i = 0; i < 200; i += 1) v = i % 2 ? [v] : { v }; return v; }],
  ['native', () => ({ key: createSecretKey(Buffer.from('k')), after: [1] })],
  ['native shared', () => { const key = createSecretKey(Buffer.from('k')); const o = {}; return [key, o, key, o]; }],
];

const hex = (bytes) => Buffer.from(bytes).toString('hex');
const bits = (n) => { const b = Buffer.alloc(8); b.writeDoubleBE(n); return hex(b); };
const units = (s) => (s.length > 1000 ? `${units(s[0])}*${s.length}` : Array.from({ length: s.length }, (_, i) => s.charCodeAt(i).toString(16).padStart(4, '0')).join(''));

/** The value as text (strings as UTF-16 units, long ones as what is repeated), so that a test in another language can compare. Objects are numbered as they are met. */
function describe(value, dialect) {
  const seen = new Map();
  // To V8 itself a `Buffer` is an `Uint8Array`.
  const classOf = (o) => (dialect === 'v8-views' && Buffer.isBuffer(o) ? 'Uint8Array' : o.constructor.name);
  const properties = (o, keys) => keys.map((k) => `${units(k)}:${go(o[k])}`).join(',');
  const parts = (e) => [['message', 'm'], ['cause', 'c'], ['stack', 's']]
    .filter(([k]) => (k === 'cause' ? Object.hasOwn(e, k) : k === 'message' ? Object.hasOwn(e, k) : e[k] !== undefined))
    .map(([k, letter]) => `${letter}=${go(e[k])}`).join(',');
  const object = (o) => {
    if (Array.isArray(o)) {
      const keys = Object.keys(o);
      return `A${o.length}[${properties(o, keys)}]`;
    }
    if (o instanceof Map) return `M[${[...o].map(([k, v]) => `${go(k)}>${go(v)}`).join(',')}]`;
    if (o instanceof Set) return `S[${[...o].map(go).join(',')}]`;
    if (o instanceof Date) return `D${bits(o.getTime())}`;
    if (o instanceof RegExp) return `R${units(o.source)}/${o.flags}`;
    if (o instanceof Error) return `E${o.name}(${parts(o)})`;
    if (o instanceof ArrayBuffer) return `B${hex(o)}${o.resizable ? `/${o.maxByteLength}` : ''}`;
    if (ArrayBuffer.isView(o)) return `V${classOf(o)}/${hex(new Uint8Array(o.buffer, o.byteOffset, o.byteLength))}`;
    if (o instanceof Boolean || o instanceof Number || o instanceof String || Object.prototype.toString.call(o) === '[object BigInt]') return `P${go(o.valueOf())}`;
    if (o.constructor?.name === 'SecretKeyObject') return `N${go({})}`;
    return `O{${properties(o, Object.keys(o))}}`;
  };
  function go(v) {
    switch (typeof v) {
      case 'number': return `n${bits(v)}`;
      case 'string': return `s${units(v)}`;
      case 'bigint': return `i${v.toString(16)}`;
      case 'object': break;
      default: return String(v);
    }
    if (v === null) return 'null';
    if (seen.has(v)) return `^${seen.get(v)}`;
    seen.set(v, seen.size);
    return object(v);
  }
  return go(value);
}

/** Sends the values through a real channel and gives back what came out at the other end. */
async function throughChannel(values) {
  const child = spawn('sh', ['-c', 'cat <&3'], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'], serialization: 'advanced' });
  const chunks = [];
  child.stdout.on('data', (chunk) => chunks.push(chunk));
  const ended = new Promise((resolve) => child.stdout.on('end', resolve));
  const sent = values.flatMap(({ name, make }) => {
    try {
      const value = make();
      let done;
      const written = new Promise((resolve) => { done = resolve; });
      child.send(value, done);
      return [{ name, value, written }];
    } catch {
      return [];
    }
  });
  // What is still queued would be lost.
  await Promise.all(sent.map(({ written }) => written));
  child.disconnect();
  await ended;
  let bytes = Buffer.concat(chunks);
  const rows = sent.map(({ name, value }) => {
    const length = bytes.readUInt32BE(0);
    const body = bytes.subarray(4, 4 + length);
    bytes = bytes.subarray(4 + length);
    return { name, dialect: 'ipc', hex: hex(body), value: describe(value, 'ipc') };
  });
  if (bytes.length > 0) throw new Error(`${bytes.length} bytes more than were sent`);
  return rows;
}

function bare(value) {
  const serializer = new v8.Serializer();
  serializer.writeHeader();
  serializer.writeValue(value);
  return serializer.releaseBuffer();
}

function inProcess(values, dialect, serialize) {
  return values.flatMap(({ name, make }) => {
    try {
      const value = make();
      return [{ name, dialect, hex: hex(serialize(value)), value: describe(value, dialect) }];
    } catch {
      return [];
    }
  });
}

/** Those that this Node can make. */
const values = cases.map(([name, make]) => ({ name, make })).filter(({ make }) => {
  try {
    make();
    return true;
  } catch {
    return false;
  }
});
// A small `Buffer` is a part of a pool with foreign bytes in it, all of which a bare serializer writes.
const holdsViews = ({ name }) => /view|array buffer|shared of/.test(name);
const recorded = [
  ...await throughChannel(values),
  ...inProcess(values, 'v8', v8.serialize),
  ...inProcess(values.filter(holdsViews), 'v8-views', bare),
];

const same = (a, b) => a.name === b.name && a.dialect === b.dialect && a.hex === b.hex;
let rows;
try {
  rows = JSON.parse(readFileSync(table, 'utf8'));
} catch (failure) {
  if (failure.code !== 'ENOENT') throw failure;
  rows = [];
}

if (process.argv.includes('--check')) {
  const known = (row) => rows.some((other) => same(row, other) && other.node.includes(major) && other.value === row.value);
  const news = rows.some((row) => row.node.includes(major)) ? recorded.filter((row) => !known(row)) : recorded;
  for (const row of news) console.error(`${row.dialect} ${row.name}: Node ${major} writes ${row.hex.slice(0, 80)}`);
  process.exitCode = news.length > 0 ? 1 : 0;
} else {
  for (const row of rows) row.node = row.node.filter((other) => other !== major);
  for (const row of recorded) {
    const known = rows.find((other) => same(row, other));
    if (known) known.node.push(major);
    else rows.push({ name: row.name, dialect: row.dialect, node: [major], hex: row.hex, value: row.value });
  }
  const order = new Map(cases.map(([name], place) => [name, place]));
  const dialects = ['ipc', 'v8', 'v8-views'];
  const place = (row) => order.get(row.name) * dialects.length + dialects.indexOf(row.dialect);
  rows = rows.filter((row) => row.node.length > 0 && order.has(row.name));
  for (const row of rows) row.node.sort((a, b) => a - b);
  rows.sort((a, b) => place(a) - place(b) || a.node[0] - b.node[0]);
  writeFileSync(table, `[\n${rows.map((row) => JSON.stringify(row)).join(',\n')}\n]\n`);
  console.log(`Node ${process.versions.node}: ${recorded.length} values, ${rows.length} rows in all`);
}
