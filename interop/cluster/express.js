// Needs express from npm.
const express = require('express');

const app = express();
app.get('/', (req, res) => res.send(`${process.pid} express\n`));
const server = app.listen(Number(process.env.PORT || 0), '127.0.0.1', () => {
  console.log(`ready port=${server.address().port} pid=${process.pid}`);
});
