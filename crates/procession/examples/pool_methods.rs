//! workerpool's `proxy`: a pool of processes with several methods, called by their names.
//!
//! The program is both: it starts itself as its workers.
#![expect(
    clippy::print_stdout,
    reason = "as the Node program that it stands for"
)]

use std::error::Error;

use procession::child_process::Command;
use procession::pool::{Call, Limits, Methods, Pool, Reply, Running, Worker};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(worker) = Worker::from_env()? {
        worker.serve_methods(methods()).await?;
        return Ok(());
    }
    let command = Command::new(std::env::current_exe()?);
    let pool = Pool::<Call, Reply>::processes(Limits::new(1..=2), &command)?;
    // The types once,
    let add = pool.method::<(i64, i64), i64>("add");
    let sum = add.call((1, 2)).await?;
    // or with the call.
    let shout: String = pool.call("shout", "hello").await?;
    println!("{sum} {shout}");
    pool.close().await;
    Ok(())
}

fn methods() -> Methods {
    Methods::new()
        .method("add", |(a, b): (i64, i64), _: &mut Running<'_>| a + b)
        .method("shout", |text: String, _: &mut Running<'_>| {
            text.to_uppercase()
        })
}
