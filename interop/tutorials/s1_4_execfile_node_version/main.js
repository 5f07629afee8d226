// Tutorial 001, row S1-4: execFile, no shell; same stderr mistake as S1-3.
// Verbatim from the tutorial below this comment, mistakes included.

const { execFile } = require('child_process');

execFile('node', ['-v'], (error, stdout, stderr) => {
  if (error) {
    console.error(`Ошибка: ${error.message}`);
    return;
  }
  if (stderr) {
    console.error(`stderr: ${stderr}`);
    return;
  }
  console.log(`stdout: ${stdout}`);
});

