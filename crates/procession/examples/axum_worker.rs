//! An axum server that runs alone, or as a worker of a cluster: ours or Node's own.
//!
//! ```sh
//! cargo run --example axum_worker 127.0.0.1:8000
//! ```
//!
//! And four of them on one port, from Node:
//!
//! ```js
//! process.execPath = 'target/debug/examples/axum_worker';
//! cluster.setupPrimary({ exec: '127.0.0.1:8000', execArgv: [] });
//! for (let i = 0; i < 4; i++) cluster.fork();
//! ```
//!
//! It answers every request with its number, sends back what the primary
//! sends, and leaves when it is told to: requests that have begun are answered.
#![expect(clippy::print_stdout, reason = "it tells where it listens")]

use std::error::Error;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use procession::cluster::{Listen, Listener, Stream, Worker};
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let at = std::env::args().nth(1);
    let at: Listen = at.as_deref().unwrap_or("127.0.0.1:8000").parse()?;
    let Some(mut worker) = Worker::from_env()? else {
        let listener = Listener::bind(at)?;
        println!("alone at {}", listener.local_addr());
        return Ok(serve(listener, "nobody's worker".into(), CancellationToken::new()).await?);
    };
    let listener = worker.listen(at).await?;
    let name = format!("worker {}", worker.id());
    let server = serve(listener, name, worker.disconnecting());
    tokio::select! {
        served = server => served?,
        () = echo(&mut worker) => {}
    }
    worker.leave().await;
    Ok(())
}

async fn serve(listener: Listener, name: String, end: CancellationToken) -> io::Result<()> {
    let app = Router::new().route("/", get(|| async { name }));
    axum::serve(Source(listener), app)
        .with_graceful_shutdown(async move { end.cancelled().await })
        .await
}

/// Sends back what the primary's program sends; never ends, as the server is to finish first.
async fn echo(worker: &mut Worker) {
    while let Ok(Some(message)) = worker.recv().await {
        if worker.sender().forward(message).await.is_err() {
            break;
        }
    }
    pending().await
}

/// As axum wants to have it: a listener whose end is told by other means.
struct Source(Listener);

impl axum::serve::Listener for Source {
    type Io = Stream;
    type Addr = Option<SocketAddr>;

    async fn accept(&mut self) -> (Stream, Option<SocketAddr>) {
        loop {
            match self.0.accept().await {
                Ok(Some(accepted)) => return accepted,
                Ok(None) => return pending().await,
                // Out of descriptors, most likely: others may be given back soon.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        Ok(match self.0.local_addr() {
            Listen::Tcp(addr) => Some(*addr),
            Listen::Unix(_) => None,
        })
    }
}
