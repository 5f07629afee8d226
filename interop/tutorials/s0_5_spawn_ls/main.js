// Tutorial 000, row S0-5: spawn streams the output and says the exit code on close.
// Verbatim from the tutorial below this comment, mistakes included.

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
