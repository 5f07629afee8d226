// The child of the program beside it: it runs at once, and listens late.
// Not verbatim.

console.log('[child] runs');
process.send('I run, and was sent nothing');

// Until somebody listens the message waits in the channel.
setTimeout(() => {
    process.once('message', msg => {
        console.log('[child] got: ' + msg);
    });
}, 300);
