// Runs the tasks of a pool with a user's module: `module.exports = task => …`.
'use strict';
const [, file, name] = process.argv;
const running = new Map();
const pick = (loaded) => (name ? loaded[name] ?? loaded.default?.[name] : loaded.default?.default ?? loaded.default);
// With `*` for a name, a task is `{ method, args }`.
const call = (loaded) => {
  const has = (object, key) => object !== null && typeof object === 'object' && Object.hasOwn(object, key);
  const find = (key) => [loaded, loaded.default].find((object) => has(object, key))?.[key];
  const names = () => [...new Set([loaded, loaded.default].flatMap((object) => Object.keys(object ?? {})))];
  return ({ method, args }, tools) => {
    const found = find(method);
    if (typeof found === 'function') return found(...(Array.isArray(args) ? args : args == null ? [] : [args]), tools);
    if (method === 'methods') return names().filter((key) => typeof find(key) === 'function' && !['default', 'module.exports'].includes(key)).sort();
    throw new Error(`there is no method \`${method}\``);
  };
};
const answer = async (run, { id, task }) => {
  const abort = new AbortController();
  running.set(id, abort);
  const tell = (value) => process.send({ progress: { id, value: value ?? null } });
  try {
    const value = await run(task, { signal: abort.signal, progress: tell });
    process.send({ done: { id, value: value ?? null } });
  } catch (error) {
    process.send({ failed: { id, message: String(error?.message ?? error) } });
  }
  running.delete(id);
};
const begin = async () => {
  const url = require('node:url').pathToFileURL(require('node:path').resolve(file));
  const loaded = await import(url);
  const run = name === '*' ? call(loaded) : await pick(loaded);
  if (typeof run !== 'function') throw new TypeError(`${file} exports no function${name ? ` ${name}` : ''}`);
  process.on('message', ({ run: order, cancel }) => (order ? answer(run, order) : running.get(cancel?.id)?.abort()));
  process.send('ready');
};
begin().catch((error) => {
  console.error(error);
  process.exit(1);
});
