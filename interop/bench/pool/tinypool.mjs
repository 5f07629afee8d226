import { pathToFileURL } from 'node:url';
import task from './task.js';
const { Tinypool } = await import(pathToFileURL(process.env.BENCH_TINYPOOL));

export default (it) => (it instanceof ArrayBuffer ? Tinypool.move(task.touch(it)) : task.run(it));
