// Tutorial 000, row S0-10: piscina and workerpool spread work over workers. What they do, by hand.
// Not verbatim: the tutorial names the two libraries only.

const { Worker, isMainThread, parentPort } = require('worker_threads');

const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2));

if (isMainThread) {
    const tasks = [20, 21, 22, 23, 24, 25];
    const results = [];
    let next = 0;
    let done = 0;
    const workers = [1, 2].map(() => new Worker(__filename));
    const give = (worker) => next < tasks.length && worker.postMessage([next, tasks[next++]]);
    for (const worker of workers) {
        worker.on('message', ([index, result]) => {
            results[index] = `fib(${tasks[index]}) = ${result}`;
            done += 1;
            if (done < tasks.length) return give(worker);
            console.log(results.join('\n'));
            workers.forEach((each) => each.terminate());
        });
        give(worker);
    }
} else {
    parentPort.on('message', ([index, n]) => parentPort.postMessage([index, fib(n)]));
}
