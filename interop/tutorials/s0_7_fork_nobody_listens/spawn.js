// Tutorial 000, row S0-7: a message to a child that never listens; it is accepted, and lost.
// The child of the program beside it: that of row S0-5, verbatim below this comment.

const {spawn} = require('child_process');
const child = spawn('ls', ['-lh', './']);
child.stdout.on('data', (data) => {
    console.log(`stdout: ${data}`);
});
child.stderr.on('data', (data) => {
    console.log(`stderr: ${data}`);
});
child.on('close', (code) => {
    console.log(`child process exited with code ${code}`);
});
