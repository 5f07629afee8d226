// The same worker as a module of Node's.
'use strict';
const fs = require('node:fs');
const ledger = fs.openSync(process.env.STORM_LEDGER, 'a');

module.exports = async ({ id, deed }, { signal }) => {
  fs.writeSync(ledger, `${id} ${process.pid}\n`);
  switch (deed) {
    case 'panic':
      throw new Error(String(id));
    case 'wait':
      if (!signal.aborted) await new Promise((done) => signal.addEventListener('abort', done));
      break;
    case 'deaf':
      for (;;);
    case 'exit':
      process.exit(7);
    case 'kill':
      process.kill(process.pid, 'SIGKILL');
      break;
    default:
  }
  return id;
};
