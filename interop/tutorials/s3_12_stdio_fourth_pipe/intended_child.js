// The child of the program beside it: descriptor 3, both ways.
// Not verbatim.

const net = require('net');

const pipe = new net.Socket({ fd: 3 });
pipe.once('data', data => {
    pipe.end(`hello master process! You said: ${data.toString()}`);
});
