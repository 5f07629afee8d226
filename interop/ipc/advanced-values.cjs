'use strict';
// What `advanced` can say and `json` cannot, as Node makes it: [name, value].

const bytes = Uint8Array.from({ length: 16 }, (_, i) => i * 17);
const views = ['Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array', 'Int32Array', 'Uint32Array',
  'Float16Array', 'Float32Array', 'Float64Array', 'BigInt64Array', 'BigUint64Array', 'DataView'];

const cycle = { name: 'cycle', list: [] };
cycle.list.push(cycle, cycle.list);

const sparse = [1, , 3];
sparse[100] = 'far';

const shared = { s: 1 };
const problem = new TypeError('no', { cause: new RangeError('because') });

module.exports = [
  ['undefined inside', { a: undefined, b: [undefined] }],
  ['numbers', [-0, NaN, Infinity, -Infinity, 0.1, 2 ** 31, -(2 ** 31)]],
  ['bigints', [0n, 1n, -1n, 2n ** 64n, -(2n ** 200n)]],
  ['Date', new Date(1e12)],
  ['RegExp', /a+…/giu],
  ['Map', new Map([['a', 1], [{ k: 1 }, new Map()]])],
  ['Set', new Set([1, 'two', new Set([3])])],
  ['Error', problem],
  ['Error without a stack', Object.assign(new Error('plain'), { stack: undefined })],
  ['Buffer', Buffer.from('xyz')],
  ['ArrayBuffer', bytes.buffer.slice(0)],
  ...views.filter((name) => name in globalThis).map((name) => [name, new globalThis[name](bytes.buffer.slice(0))]),
  ['view of an odd place', new Uint8Array(bytes.buffer.slice(0), 3, 5)],
  ['cycle', cycle],
  ['twice the same', { one: shared, two: shared }],
  ['sparse', sparse],
  ['array with members', Object.assign([1, 2], { more: true })],
  ['boxed', [Object(true), Object(1), Object('s'), Object(2n)]],
  ['lone surrogates', ['\ud800', 'a\udc00b', { '\udbff': 1 }]],
  ['two bytes a character', ['…', { '…': 1 }, 'z'.repeat(127) + '…']],
  ['integer keys', { 1: 'a', 0: 'b', z: 1 }],
];
