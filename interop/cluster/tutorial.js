// Row S1-10, verbatim from the tutorial but for the port: a program that is itself a cluster's primary.
const cluster = require('cluster');  
const http = require('http');  
const os = require('os');  
  
if (cluster.isMaster) {  
	console.log(`Главный процесс ${process.pid} запущен`);  
	  
	const numCPUs = os.cpus().length;  
	console.log(numCPUs)  
	  
	for (let i = 0; i < numCPUs; i++) {  
		cluster.fork();  
	}  
	  
	cluster.on('exit', (worker, code, signal) => {  
		console.log(`Воркер ${worker.process.pid} завершился`);  
		// Можно перезапустить воркер, если требуется  
		cluster.fork();  
	});  

} else {  
	// Воркеры обрабатывают HTTP-запросы  
	http
	.createServer((req, res) => {  
		res.writeHead(200, {'Content-Type': 'text/txt; charset=utf-8'});  
		res.end(`Ответ от воркера ${process.pid}\n`);  
	})
	.listen(process.env.PORT || 8000);  
	  
	console.log(`Воркер ${process.pid} запущен`);  
}
