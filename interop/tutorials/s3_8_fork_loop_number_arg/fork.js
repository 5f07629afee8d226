// Tutorial 003, row S3-8: three children by fork; the number `i` is an argument, their output is ours.
// Verbatim from the tutorial below this comment, mistakes included.

// fork.js
const child_process = require('child_process');

for(var i=0; i<3; i++) {
    var worker_process = child_process.fork("command.js", [i]);

    worker_process.on('close', function (code) {
        console.log('子进程已退出，退出码'+ code);
    });
}
