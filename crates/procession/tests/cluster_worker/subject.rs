//! A worker that speaks as much HTTP as the tests need. Argument: where to listen.
//!
//! `/slow` is answered only when we are to leave, and the primary told that it
//! has begun. The primary's messages come back, but for `leave` and `kill`.

use std::error::Error;
use std::process::ExitCode;

use procession::cluster::{Leave, Listen, Listener, Stream, Worker};
use procession::ipc::Sender;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let at: Listen = std::env::args().nth(1).ok_or("where?")?.parse()?;
    let Some(mut worker) = Worker::from_env()? else {
        return Err("nobody's worker".into());
    };
    let listener = worker.listen(at).await?;
    let server = tokio::spawn(serve(
        listener,
        format!("worker {}", worker.id()),
        worker.sender().clone(),
        worker.disconnecting(),
    ));
    let end = worker.disconnecting();
    let mut reason = None;
    while let Some(message) = tokio::select! {
        message = worker.recv() => message?,
        () = end.cancelled() => None,
    } {
        match message.decode::<Value>()?.as_str() {
            Some("leave") => worker.disconnect(),
            Some("kill") => reason = Some(worker.kill().await),
            _ => worker.sender().forward(message).await?,
        }
    }
    server.await??;
    let reason = match reason {
        Some(reason) => reason,
        None => worker.leave().await,
    };
    // The exit code tells the test why.
    Ok(ExitCode::from(match reason {
        Leave::Told => 10,
        Leave::Allowed => 11,
        Leave::Unanswered => 12,
        Leave::Lost => 13,
    }))
}

async fn serve(
    mut listener: Listener,
    name: String,
    sender: Sender,
    end: CancellationToken,
) -> std::io::Result<()> {
    let mut requests = JoinSet::new();
    while let Some((stream, _)) = listener.accept().await? {
        requests.spawn(answer(stream, name.clone(), sender.clone(), end.clone()));
    }
    while requests.join_next().await.is_some() {}
    Ok(())
}

async fn answer(
    mut stream: Stream,
    name: String,
    sender: Sender,
    end: CancellationToken,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    if head.starts_with(b"GET /slow ") {
        sender.send("slow").await.map_err(std::io::Error::other)?;
        end.cancelled().await;
    }
    let length = name.len();
    let answer =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{name}");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
