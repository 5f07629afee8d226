// Runs, and never listens.
setInterval(() => {}, 1000);
console.log(`running pid=${process.pid}`);
