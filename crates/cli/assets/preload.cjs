// Put before the program of every Node under `procession trace`: children that
// are given a channel are started through `procession relay`. The constant
// TRACE, with the relay's path, the socket of the tracing process, its user and
// the option that brought this file here, is written above by `procession`.
'use strict';

const { ChildProcess } = require('child_process');
const { accessSync, constants, statSync } = require('fs');
const { delimiter, resolve } = require('path');

const LATEST = 250;
const later = setTimeout;
const spawn = ChildProcess.prototype.spawn;

// Another user may neither run the relay nor reach the socket.
if (process.getuid() === TRACE.uid) {
  const traced = {
    spawn(options) {
      if (!isForRelay(options)) return Reflect.apply(spawn, this, [options]);
      try {
        return Reflect.apply(spawn, this, [throughRelay(options)]);
      } finally {
        endAfterChannel(this);
        // As the program knows it, also in the errors that come later.
        this.spawnfile = options.file;
        this.spawnargs = options.args;
      }
    },
  };
  ChildProcess.prototype.spawn = traced.spawn;
}
delete require.cache[__filename];

function isForRelay(options) {
  return options !== null && typeof options === 'object' &&
    Array.isArray(options.stdio) && options.stdio.includes('ipc') &&
    Array.isArray(options.envPairs) && options.envPairs.length > 0 &&
    typeof options.file === 'string' &&
    Array.isArray(options.args) && options.args.length > 0 &&
    options.uid == null && options.gid == null &&
    isExecutable(TRACE.relay) && isThere(options);
}

// The kernel tells of a child's end at once, and its last messages are still with
// the relay then. They come first, as they do without one. Who keeps the channel
// open beyond the child's end holds this up for LATEST ms.
function endAfterChannel(child) {
  const handle = child._handle;
  if (!handle) return;
  const { onexit } = handle;
  handle.onexit = (...how) => {
    const limit = Date.now() + LATEST;
    const look = () => {
      const isOver = !child.channel || how[0] < 0 || Date.now() >= limit;
      if (isOver) Reflect.apply(onexit, handle, how);
      else later(look, 1);
    };
    look();
  };
}

// What cannot be started is left to fail as it would.
function isThere({ file, cwd, envPairs }) {
  if (file.includes('/')) return isExecutable(resolve(String(cwd ?? '.'), file));
  const path = envPairs.find((pair) => pair.startsWith('PATH='));
  const folders = path === undefined ? ['/bin', '/usr/bin'] : path.slice(5).split(delimiter);
  return folders.some((folder) => isExecutable(resolve(String(cwd ?? '.'), folder, file)));
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

function throughRelay(options) {
  const [argv0, ...args] = options.args;
  const relay = ['procession', 'relay', '--trace', TRACE.socket, `--argv0=${argv0}`];
  return {
    ...options,
    file: TRACE.relay,
    args: [...relay, '--', options.file, ...args],
    envPairs: withPreload(options.envPairs),
  };
}

// A child that was given an environment of its own is traced all the same.
function withPreload(envPairs) {
  const name = 'NODE_OPTIONS=';
  const index = envPairs.findIndex((pair) => pair.startsWith(name));
  if (index === -1) return [...envPairs, name + TRACE.option];
  if (envPairs[index].includes(TRACE.option)) return envPairs;
  return envPairs.map((pair, at) => at === index ? `${pair} ${TRACE.option}` : pair);
}
