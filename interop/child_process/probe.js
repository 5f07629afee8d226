'use strict';

// Starts one child of cases.json and prints every event in the order Node announced it.
//
//   node probe.js exit-3          the transcript in its canonical form
//   node probe.js exit-3 --raw    as seen; --both prints the two
//   node probe.js --list          the names of all cases
//
// Vocabulary, one line an event:
//
//   spawn | error CODE [SYSCALL] [path=PATH] | exit CODE SIGNAL | close CODE SIGNAL
//   stdout "text" | stdout end | the same for stderr and fd3     (chunks in a row are one line)
//   stdin error CODE SYSCALL
//   callback ok|error ... stdout "text" stderr "text"
//   throws CODE ...                                              the call itself threw
//   returns status=N signal=S, then its error and streams        the sync forms
//   kill(SIGNAL) true|false|throws CODE, write(FD), end(FD), abort, dispose       what the probe did
//
// When a child ends, nobody promises which comes first: the end of its stdout, the end of its stderr or its
// exit. The two ends swap from run to run in every Node. Node 20 announces the exit after them, always;
// 24 and 26 mostly have it before, and not always. Cases marked "canonical" are therefore printed with the
// lines between two actions of the probe sorted: spawn, error, the streams by descriptor, exit, then
// callback and close, each group as it came. So `callback` before `close` stays a fact, and whatever
// follows an action stays after it. `error` is put where Node has it in every run: before the ends of the
// streams, and before exit.
// Cases marked "seen" are printed as they came.

const childProcess = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const table = JSON.parse(fs.readFileSync(path.join(__dirname, 'cases.json'), 'utf8'));

/** Longer texts are printed as a byte count. */
const LONGEST_TEXT = 200;

/** The uid and gid of nobody, for the cases that must not be root. */
const NOBODY = 65534;

const STREAMS = ['stdin', 'stdout', 'stderr'];

/** What was seen so far. */
class Transcript {
  lines = [];
  #stream;
  #chunks = [];

  add(kind, text) {
    this.#flush();
    this.lines.push({ kind, text });
  }

  chunk(stream, bytes) {
    if (this.#stream !== stream) this.#flush();
    this.#stream = stream;
    this.#chunks.push(Buffer.from(bytes));
  }

  #flush() {
    if (this.#stream === undefined) return;
    this.lines.push({ kind: this.#stream, text: `${this.#stream} ${quoted(Buffer.concat(this.#chunks))}` });
    this.#stream = undefined;
    this.#chunks = [];
  }

  /** Sorts what lies between two actions; see the head of this file. */
  canonical() {
    const result = [];
    let segment = [];
    const settle = () => {
      // Array.prototype.sort is stable.
      segment.sort((a, b) => rank(a.kind) - rank(b.kind));
      result.push(...merged(segment));
      segment = [];
    };
    for (const line of this.lines) {
      if (line.kind !== 'action') segment.push(line);
      else {
        settle();
        result.push(line);
      }
    }
    settle();
    return result;
  }
}

function rank(kind) {
  const order = ['spawn', 'error', 'stdin', 'stdout', 'stderr', 'fd3', 'exit', 'end'];
  const place = order.indexOf(kind);
  if (place === -1) throw new Error(`no rank for ${kind}`);
  return place;
}

// Chunks of one stream that were parted only by another stream's are one text again after sorting. Byte
// counts of long texts are added up for the same reason.
function merged(lines) {
  const result = [];
  for (const line of lines) {
    const last = result.at(-1);
    const both = last && last.kind === line.kind && !/ (end|error)/.test(last.text) && !/ (end|error)/.test(line.text);
    if (!both || !STREAMS.concat('fd3').includes(line.kind)) {
      result.push({ ...line });
      continue;
    }
    last.text = `${line.kind} ${joined(payload(last), payload(line))}`;
  }
  return result;
}

function payload(line) {
  return line.text.slice(line.kind.length + 1);
}

function joined(a, b) {
  const size = (text) => (text.startsWith('<') ? Number.parseInt(text.slice(1), 10) : Buffer.byteLength(JSON.parse(text)));
  if (a.startsWith('"') && b.startsWith('"')) return quoted(Buffer.from(JSON.parse(a) + JSON.parse(b)));
  return `<${size(a) + size(b)} bytes>`;
}

function quoted(bytes) {
  return bytes.length > LONGEST_TEXT ? `<${bytes.length} bytes>` : JSON.stringify(bytes.toString());
}

function described(error) {
  const parts = [error.code ?? error.name];
  if (error.syscall !== undefined) parts.push(error.syscall);
  if (error.path !== undefined) parts.push(`path=${error.path}`);
  return parts.join(' ');
}

/** One child and the probe's reactions to its events. */
class Probe {
  constructor(plan, transcript) {
    this.plan = plan;
    this.transcript = transcript;
    this.rules = (plan.then ?? []).map((rule) => ({ ...rule, left: rule.nth ?? 1 }));
    this.abort = new AbortController();
  }

  start() {
    const { plan } = this;
    const options = { ...plan.options };
    if (plan.abort !== undefined) options.signal = this.abort.signal;
    if (plan.abort === 'before') this.#act({ do: 'abort' });
    try {
      this.child = this.#call(options);
    } catch (error) {
      this.transcript.add('end', `throws ${described(error)}`);
      return;
    }
    this.#listen();
    this.#react('start');
  }

  #call(options) {
    const { call, file, args, line } = this.plan;
    if (call === 'spawn') return childProcess.spawn(file, args ?? [], options);
    const callback = (error, stdout, stderr) => {
      this.#note('end', 'callback', `callback ${verdict(error)} stdout ${quoted(Buffer.from(stdout))} stderr ${quoted(Buffer.from(stderr))}`);
    };
    if (call === 'exec') return childProcess.exec(line, options, callback);
    return childProcess.execFile(file, args ?? [], options, callback);
  }

  #listen() {
    const { child, plan } = this;
    child.on('spawn', () => this.#note('spawn', 'spawn', 'spawn'));
    child.on('error', (error) => this.#note('error', 'error', `error ${described(error)}`));
    child.on('exit', (code, signal) => this.#note('exit', 'exit', `exit ${code} ${signal}`));
    child.on('close', (code, signal) => this.#note('end', 'close', `close ${code} ${signal}`));
    child.stdin?.on('error', (error) => this.#note('stdin', 'stdin error', `stdin error ${error.code} ${error.syscall}`));
    if (plan.listen === 'process') return;
    for (let fd = 1; fd < (child.stdio?.length ?? 0); fd += 1) {
      const stream = child.stdio[fd];
      if (!stream) continue;
      const name = STREAMS[fd] ?? `fd${fd}`;
      stream.on('data', (bytes) => {
        this.transcript.chunk(name, bytes);
        this.#react(name);
      });
      stream.on('end', () => this.#note(name, `${name} end`, `${name} end`));
    }
  }

  #note(kind, event, text) {
    this.transcript.add(kind, text);
    this.#react(event);
  }

  #react(event) {
    for (const rule of this.rules) {
      if (rule.on !== event || rule.left === 0) continue;
      rule.left -= 1;
      if (rule.left === 0) this.#act(rule);
    }
  }

  #act(rule) {
    const note = (text) => this.transcript.add('action', text);
    switch (rule.do) {
      case 'kill':
        note(`kill(${rule.signal ?? 'SIGTERM'}) ${this.#killed(rule.signal)}`);
        return;
      case 'write':
        note(`write(${rule.fd ?? 0})`);
        this.child.stdio[rule.fd ?? 0].write(rule.text);
        return;
      case 'end':
        note(`end(${rule.fd ?? 0})`);
        this.child.stdio[rule.fd ?? 0].end();
        return;
      case 'abort':
        // Noted first: abort() announces the error before it returns.
        note('abort');
        this.abort.abort();
        return;
      case 'dispose':
        note('dispose');
        this.child[Symbol.dispose]();
        return;
      default:
        throw new Error(`unknown action ${rule.do}`);
    }
  }

  #killed(signal) {
    try {
      return String(this.child.kill(signal));
    } catch (error) {
      return `throws ${described(error)}`;
    }
  }
}

function verdict(error) {
  if (error === null) return 'ok';
  const subject = error.syscall === undefined ? '' : ` ${error.syscall} path=${error.path}`;
  return `error code=${error.code} killed=${error.killed} signal=${error.signal}${subject}`;
}

function runSync(plan, transcript) {
  const { call, file, args, line, options } = plan;
  const add = (text) => transcript.add('end', text);
  try {
    const target = call === 'execSync' ? [line, options] : [file, args ?? [], options ?? {}];
    const answer = childProcess[call](...target);
    if (call === 'spawnSync') addResult(add, 'returns', answer);
    else add(`returns ${quoted(answer)}`);
  } catch (error) {
    if (error.status === undefined) add(`throws ${described(error)}`);
    else addResult(add, 'throws', { ...error, error: error.code === undefined ? undefined : error });
  }
}

function addResult(add, how, result) {
  add(`${how} status=${result.status} signal=${result.signal}`);
  if (result.error !== undefined) add(`error ${described(result.error)}`);
  for (const name of ['stdout', 'stderr']) {
    add(`${name} ${result[name] === null || result[name] === undefined ? 'null' : quoted(result[name])}`);
  }
}

/** The plan with `<tmp>` and `{repeat, times}` filled in. */
function filled(value, tmp) {
  if (typeof value === 'string') return value.replaceAll('<tmp>', tmp);
  if (Array.isArray(value)) return value.map((item) => filled(item, tmp));
  if (value === null || typeof value !== 'object') return value;
  if (value.repeat !== undefined) return value.repeat.repeat(value.times);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, filled(item, tmp)]));
}

function makeFixtures() {
  const tmp = fs.mkdtempSync(path.join(os.tmpdir(), 'procession-probe-'));
  for (const [name, { mode, text }] of Object.entries(table.fixtures)) {
    const file = path.join(tmp, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, text);
    fs.chmodSync(file, Number.parseInt(mode, 8));
  }
  return tmp;
}

function giveUpRoot() {
  if (process.getuid() !== 0) return;
  process.setgroups([]);
  process.setgid(NOBODY);
  process.setuid(NOBODY);
}

function printed(lines, tmp) {
  const text = lines.map((line) => `${line.text}\n`).join('');
  return tmp === undefined ? text : text.replaceAll(tmp, '<tmp>');
}

function main(name, flag) {
  const found = table.cases[name];
  if (found === undefined) throw new Error(`no case ${name}; --list prints them`);
  if (found.unprivileged) giveUpRoot();
  const tmp = JSON.stringify(found).includes('<tmp>') ? makeFixtures() : undefined;
  const plan = filled(found, tmp);
  const transcript = new Transcript();
  process.on('exit', () => {
    const raw = printed(transcript.lines, tmp);
    const form = plan.order === 'seen' ? raw : printed(transcript.canonical(), tmp);
    fs.writeSync(1, { '--raw': raw, '--both': `${form}--- as seen\n${raw}` }[flag] ?? form);
    if (tmp !== undefined) fs.rmSync(tmp, { recursive: true });
  });
  if (plan.call.endsWith('Sync')) runSync(plan, transcript);
  else new Probe(plan, transcript).start();
}

if (process.argv[2] === '--list') console.log(Object.keys(table.cases).join('\n'));
else main(process.argv[2], process.argv[3]);
