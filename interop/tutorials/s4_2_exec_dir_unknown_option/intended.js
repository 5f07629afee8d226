// Row S4-2, what the tutorial meant: the option is `cwd`, and a failure is reported, not thrown.
// Not verbatim.

const {exec} = require("child_process")
exec("dir", {
    cwd: "./log"
}, (err, stdout, stderr) => {
    if (err) {
        console.error(`${err.code} ${err.syscall} path=${err.path}: ${err.message}`)
        return
    }
    console.log(`stdout: ${stdout}`)
    console.error(`stderr: ${stderr}`)
})
