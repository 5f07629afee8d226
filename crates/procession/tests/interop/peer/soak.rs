//! The children of `tests/channel_soak.rs` and of the bystanders in `tests/hostile.rs`.

use procession::ipc::Channel;
use serde_json::{Value, json};

use crate::side::Failure;

/// Sends everything back until the parent disconnects.
pub(crate) async fn echo() -> Result<(), Failure> {
    let mut channel = Channel::from_env()?.ok_or("no channel")?;
    while let Some(message) = channel.rx.recv().await? {
        channel.tx.forward(message).await?;
    }
    Ok(())
}

/// Sends so many numbered messages of random sizes, and ends at once.
pub(crate) async fn send(count: u64, seed: u64) -> Result<Channel, Failure> {
    let channel = Channel::from_env()?.ok_or("no channel")?;
    let mut sizes = Sizes(seed);
    for n in 0..count {
        let text = "x".repeat(sizes.next_size());
        channel.tx.send(&json!({ "n": n, "text": text })).await?;
    }
    Ok(channel)
}

/// Receives so many, sends back how many came in their order, and ends.
pub(crate) async fn receive(count: u64, seed: u64) -> Result<(), Failure> {
    let mut channel = Channel::from_env()?.ok_or("no channel")?;
    let mut sizes = Sizes(seed);
    for n in 0..count {
        let message = channel.rx.recv().await?.ok_or("the end came too early")?;
        let said: Value = message.decode()?;
        let size = said["text"].as_str().map(str::len);
        if said["n"] != n || size != Some(sizes.next_size()) {
            return Err(format!("{message:?} is not {n}").into());
        }
    }
    channel.tx.send(&count).await?;
    channel.disconnect().await;
    Ok(())
}

/// Mostly short, some long: xorshift64*, as `tests/channel_soak.rs` has it.
struct Sizes(u64);

impl Sizes {
    fn next_size(&mut self) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let random = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        let size = if random.is_multiple_of(1_000) {
            random % 100_000
        } else {
            random % 200
        };
        usize::try_from(size).unwrap_or(0)
    }
}
