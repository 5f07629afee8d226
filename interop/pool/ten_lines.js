const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2));
process.on('message', async ({ run }) => {
  if (!run) return; // { cancel: { id } }: this work cannot hear it
  try {
    process.send({ done: { id: run.id, value: await fib(run.task) } });
  } catch (error) {
    process.send({ failed: { id: run.id, message: error.message } });
  }
});
process.send('ready');
