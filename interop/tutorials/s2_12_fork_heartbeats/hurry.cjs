// Not of the tutorial: makes its seconds shorter, and leaves its text as it is. In the child they are shorter still:
// the parent's three must outlast the child's two and its start, also on a busy machine.

const second = Number(process.send ? process.env.CHILD_SECOND : process.env.PARENT_SECOND);
const { setTimeout } = globalThis;
globalThis.setTimeout = (callback, ms, ...args) => setTimeout(callback, ms * second / 1000, ...args);
