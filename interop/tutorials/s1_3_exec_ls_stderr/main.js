// Tutorial 001, row S1-3: exec again, but any byte on stderr hides stdout (the mistake).
// Verbatim from the tutorial below this comment, mistakes included.

const { exec } = require('child_process');

exec('ls -lh', (error, stdout, stderr) => {
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
