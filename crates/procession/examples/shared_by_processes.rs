//! What processes can share: a lock by name, memory, a broadcast, a large result.
//!
//! The program starts itself three times. Each child adds to a counter that all
//! have mapped, in two steps that only the lock makes one; one child is killed
//! while it holds the lock, which harms nobody. Then each hands over a megabyte
//! without copying it.
#![expect(clippy::print_stdout, reason = "it shows what happens")]

use std::env::{args, current_exe};
use std::error::Error;
use std::io::Write as _;
use std::process::id;
use std::sync::atomic::Ordering::SeqCst;

use procession::child_process::{Child, Command, Signal};
use procession::ipc::{Blob, Channel, Serialization};
use procession::worker_threads::locks::Mode;
use procession::worker_threads::process::{BroadcastChannel, Hub, SharedArrayBuffer};

const ROUNDS: u32 = 1000;
const MEGABYTE: usize = 1 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match Channel::from_env()? {
        None => parent().await,
        Some(channel) => child(channel).await,
    }
}

async fn parent() -> Result<(), Box<dyn Error>> {
    let hub = Hub::new().await?;
    let counter = SharedArrayBuffer::new(1)?;
    let mut news = BroadcastChannel::<String>::open(&hub, "news").await?;
    let mut killed = start(&hub, &counter, &["holds the lock"]).await?;
    println!("{}", news.recv().await?);
    let mut children = Vec::new();
    for _ in 0..3 {
        children.push(start(&hub, &counter, &[]).await?);
    }
    killed.0.signal(Signal::KILL)?;
    println!("it was killed, and the lock is the next one's");
    for (child, channel) in &mut children {
        let mut message = channel.rx.recv().await?.ok_or("it left")?;
        let result = message.take_blob(MEGABYTE)?.ok_or("no result")?;
        println!("a result of {} bytes", result.len());
        child.wait().await?;
    }
    println!("counted to {}", counter.cells()[0].load(SeqCst));
    killed.0.wait().await?;
    Ok(())
}

async fn start(
    hub: &Hub,
    counter: &SharedArrayBuffer,
    words: &[&str],
) -> Result<(Child, Channel), Box<dyn Error>> {
    let mut command = Command::new(current_exe()?);
    let mut child = command.args(words).ipc(Serialization::Json).spawn()?;
    let channel = child.channel.take().ok_or("no channel")?;
    channel
        .tx
        .send_with_handle("a seat", hub.seat().await?)
        .await?;
    channel
        .tx
        .send_with_handle("memory", counter.to_handle()?)
        .await?;
    Ok((child, channel))
}

async fn child(mut channel: Channel) -> Result<(), Box<dyn Error>> {
    let mut handles = Vec::new();
    while handles.len() < 2 {
        let mut message = channel.rx.recv().await?.ok_or("the parent left")?;
        handles.extend(message.take_handle());
    }
    let memory = handles.pop().ok_or("no memory")?;
    let hub = Hub::join(handles.pop().ok_or("no seat")?).await?;
    let counter = SharedArrayBuffer::from_handle(memory, 4)?;
    if args().any(|word| word == "holds the lock") {
        let _lock = hub.request("counter", Mode::Exclusive).await?;
        let news = BroadcastChannel::open(&hub, "news").await?;
        news.post(&"somebody holds the lock for ever".to_owned())
            .await?;
        return std::future::pending().await;
    }
    for _ in 0..ROUNDS {
        let _lock = hub.request("counter", Mode::Exclusive).await?;
        let count = counter.cells()[0].load(SeqCst);
        tokio::task::yield_now().await;
        counter.cells()[0].store(count + 1, SeqCst);
    }
    let mut result = Blob::writer()?;
    result.write_all(&vec![id().to_le_bytes()[0]; MEGABYTE])?;
    channel.tx.send_with_blob("done", &result.finish()?).await?;
    Ok(())
}
