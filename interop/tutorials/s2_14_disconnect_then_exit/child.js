// The child of the program beside it: it stays as long as the channel is open.
// Not verbatim.

process.on('message', () => {});
process.on('disconnect', () => {
    console.log('[child] disconnect');
    process.exitCode = 7;
});
process.send('ready');
