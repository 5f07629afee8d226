// Needs fastify from npm.
const app = require('fastify')();

app.get('/', async () => `${process.pid} fastify\n`);
app.listen({ port: Number(process.env.PORT || 0), host: '127.0.0.1' }).then(() => {
  console.log(`ready port=${app.server.address().port} pid=${process.pid}`);
});
