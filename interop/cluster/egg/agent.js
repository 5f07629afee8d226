'use strict';

module.exports = (agent) => {
  agent.messenger.on('question', ({ id, pid }) => {
    agent.messenger.sendTo(pid, 'answer', { id, agent: process.pid });
  });
};
