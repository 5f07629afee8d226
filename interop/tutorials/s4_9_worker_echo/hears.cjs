// Loaded before the worker (`node --require`): says when it listens. An ES module is loaded while messages come already;
// in a cluster of Node 20 and before, those are heard by the worker object alone, and lost.

process.on('newListener', name => {
    if (name === 'message' && process.send) process.send('hears');
});
