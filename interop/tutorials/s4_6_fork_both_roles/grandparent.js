// Row S4-6, both roles in one process: the tutorial's program as a child, so that its last listener hears something.
// Not verbatim. It never ends by itself, so we end it when its three lines were seen.

const { fork } = require('child_process');

const middle = fork('./main.js', { silent: true });
let lines = 0;
middle.stdout.on('data', data => {
    process.stdout.write(data);
    lines += data.toString().split('\n').length - 1;
    if (lines === 3) middle.kill();
});
middle.send('你好啊，中间的进程！');
