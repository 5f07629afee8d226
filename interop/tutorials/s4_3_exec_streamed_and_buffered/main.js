// Tutorial 004, row S4-3: data while the command runs, `end`, and the callback last.
// Verbatim from the tutorial below this comment, mistakes included.

const {exec} = require("child_process")
const childProcess = exec("dir", {
    cmd: "./log"  //  在上一级路径执行命令
}, (err, stdout, stderr) => {
    //  执行命令出错
    if (err) throw err
    //  执行命令后的获取到的命令行输出
    console.log(`stdout: ${stdout}`)
    //  执行命令后的错误输出
    console.error(`stderr: ${stderr}`)
})
//  每次命令行有输出就会触发
childProcess.stdout.on("data", chunk => {
    console.log(chunk)
})
//  命令行输出结束
childProcess.stdout.on("end", () => {
    console.log("输出结束")
})
