// Loaded before a tutorial's parent (`node --require`): its children are then the program that EXEC_PATH names, as by
// `fork`'s option `execPath`, and the parent stays word for word. The `--require` itself is not handed on.

process.execPath = process.env.EXEC_PATH;
process.execArgv = [];
delete process.env.EXEC_PATH;
