// Tutorial 003, rows S3-12 and S3-13: a fourth pipe is asked for, but the talk goes over stdout.
// Verbatim from the tutorial below this comment, mistakes included.

// master.js
const { spawn } = require('child_process');
const child = spawn('node', ['child'], {
    // 子进程的标准输入输出配置
    stdio: [null, null, null, 'pipe']
});
child.stdio[1].on('data', data => {
    console.log(`来自子进程消息 ${data.toString()}`);
});
