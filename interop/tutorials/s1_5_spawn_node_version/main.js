// Tutorial 001, row S1-5: spawn, data events, close.
// Verbatim from the tutorial below this comment, mistakes included.

const { spawn } = require('child_process');  
  
const child = spawn('node', ['-v']);  
  
child.stdout.on('data', (data) => {  
	console.log(`stdout: ${data}`);  
});  
  
child.stderr.on('data', (data) => {  
	console.error(`stderr: ${data}`);  
});  
  
child.on('close', (code) => {  
	console.log(`Процесс завершился с кодом ${code}`);  
});
