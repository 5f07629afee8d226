// Tutorial 002, row S2-19: a parent that says who its child is, and stays. Not verbatim.

const { spawn } = require('child_process');

const child = spawn('sleep', ['600'], { stdio: ['ignore', 'inherit', 'inherit'] });
console.log(child.pid);
