// An answer that needs the agent: the question goes to the master, to the agent, and back the same way.
'use strict';

module.exports = (app) => {
  const asked = new Map();
  let last = 0;
  app.messenger.on('answer', ({ id, agent }) => {
    asked.get(id)(agent);
    asked.delete(id);
  });
  app.get('/', async (ctx) => {
    last += 1;
    const agent = await new Promise((resolve) => {
      asked.set(last, resolve);
      app.messenger.sendToAgent('question', { id: last, pid: process.pid });
    });
    ctx.body = `${process.pid} agent=${agent}\n`;
  });
};
