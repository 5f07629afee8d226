// The worker of the cluster tutorials: the same answer, nothing of the cluster in it.
// Only the port is not always 8000.
const http = require('http');

http
	.createServer((req, res) => {
		res.writeHead(200, {'Content-Type': 'text/txt; charset=utf-8'});
		res.end(`Ответ от воркера ${process.pid}\n`);
	})
	.listen(process.env.PORT || 8000);

console.log(`Воркер ${process.pid} запущен`);
