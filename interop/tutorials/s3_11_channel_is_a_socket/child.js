// The child of the program beside it.
// Not verbatim.

const { fstatSync } = require('fs');

// `fork` puts the channel behind the three standard streams.
const channel = fstatSync(3);
process.send(channel.isSocket() ? 'socket' : 'something else');
