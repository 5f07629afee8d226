// Row S3-12, what the tutorial meant: the fourth entry is a pipe of its own and carries both ways.
// Not verbatim. The parent speaks first, the child answers on the same descriptor and leaves.

const { spawn } = require('child_process');

const child = spawn('node', ['intended_child'], {
    stdio: [null, null, null, 'pipe']
});
const pipe = child.stdio[3];
pipe.write('hello child process!');
pipe.on('data', data => {
    console.log(`来自子进程消息 ${data.toString()}`);
});
pipe.on('end', () => pipe.end());
child.on('close', code => {
    console.log(`child left with code ${code}`);
});
