// Tutorial 000, row S0-3: exec buffers the output and calls back once.
// Verbatim from the tutorial below this comment, mistakes included.

const { exec } = require("child_process");
exec('ls -lh', (error, stdout, stderr) => {
    if(error) {
        console.error(`Error: ${error.message}`);
        return;
    }
    console.log(`stdout: ${stdout}`);
    console.log(`stderr: ${stderr}`);
})
