//! The verbs of the table.

use std::io::Write as _;
use std::time::Duration;

use procession::ipc::{Message, SendError, Serialization, v8};
use rustix::process::{Pid, Signal, getpid, kill_process};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::scenario::{Step, advanced_messages, bytes_of, json_values, value};
use crate::side::{Ending, Failure, Side};

/// For answers to questions; the scenario's own limit comes first.
const LONG: Duration = Duration::from_secs(60);

/// A sender that is never told to wait.
const FAR_TOO_MANY: u64 = 100_000;

impl Side {
    pub(crate) async fn run(&mut self, steps: &[Step]) -> Result<(), Failure> {
        for (index, step) in steps.iter().enumerate() {
            let (verb, words) = step.split_first().ok_or("an empty step")?;
            let verb = verb.as_str().unwrap_or_default();
            self.step(verb, words)
                .await
                .map_err(|failure| format!("step {}, {verb}: {}", index + 1, chain(&*failure)))?;
        }
        Ok(())
    }

    async fn step(&mut self, verb: &str, words: &[Value]) -> Result<(), Failure> {
        match (verb, words) {
            ("send", [message]) => Ok(self.tx()?.send(&value(message)).await?),
            ("recv", [expected]) => self.recv(&value(expected)).await,
            ("values", []) => self.values().await,
            ("echo", [end]) => self.echo(end).await,
            ("lone-surrogates", []) => self.lone_surrogates().await,
            ("pass-on", [end]) => self.pass_on(end).await,
            ("raw", [hex]) => Ok(self.raw()?.0.write_all(&bytes_of(text(hex))?)?),
            ("raw bytewise", [hex]) => self.raw_bytewise(text(hex)),
            ("half", []) => self.half(),
            ("send-many", [count, size]) => self.send_many(number(count), number(size)).await,
            ("expect-many", [count, size]) => self.expect_many(number(count), number(size)).await,
            ("exit", [code]) => {
                self.ending = Ending::Exit(u8::try_from(number(code))?);
                Ok(())
            }
            ("unref" | "just-end", []) => {
                self.ending = Ending::Drop;
                Ok(())
            }
            ("give", [kind, message]) => self.give(text(kind), &value(message)).await,
            ("take", [kind, expected]) => self.take(text(kind), &value(expected)).await,
            ("talk", []) => self.taken.pop_front().ok_or("nothing taken")?.talk().await,
            ("talk-outside", []) => {
                self.outside
                    .pop_front()
                    .ok_or("nothing given")?
                    .talk()
                    .await
            }
            ("give-in-vain", []) => self.give_in_vain().await,
            ("give-and-disconnect", []) => self.give_and_disconnect().await,
            ("in-order", [count]) => self.in_order(number(count)).await,
            ("expect-order", [count]) => self.expect_order(number(count)).await,
            ("exchange", [count]) => self.exchange(number(count)).await,
            ("exhaust", []) => self.exhaust().await,
            ("release", []) => {
                self.descriptors.clear();
                Ok(())
            }
            ("disconnect", []) => {
                self.disconnect().await;
                Ok(())
            }
            ("expect-disconnect", []) => self.expect_disconnect().await,
            ("send-fails", []) => self.send_fails().await,
            ("make-file", [name]) => self.make_file(text(name)).await,
            ("wait-file", [name]) => {
                self.wait_file(text(name));
                Ok(())
            }
            ("stop-peer", []) => self.signal(Signal::STOP),
            ("continue-peer", []) => self.signal(Signal::CONT),
            ("fill", [size]) => self.fill(number(size)).await,
            ("count", [end]) => self.count(end).await,
            ("recv-filled", []) => self.recv(&json!(self.filled)).await,
            ("request", [question, answer]) => self.request(question, answer).await,
            ("confirm", [message]) => Ok(self.tx()?.send_confirmed(message, LONG).await?),
            ("serve", [confirmed, end]) => self.serve(confirmed, end).await,
            ("check-environment", []) => Self::check_environment().await,
            ("kill-self", []) => Ok(kill_process(getpid(), Signal::KILL)?),
            _ => Err("no such verb".into()),
        }
    }

    async fn recv(&mut self, expected: &Value) -> Result<(), Failure> {
        let message = self.next().await?;
        if message.handle().is_some() {
            return Err("a handle that nobody expected".into());
        }
        same(&message, expected)
    }

    async fn values(&mut self) -> Result<(), Failure> {
        if self.tx()?.serialization() == Serialization::Json {
            for sent in json_values()? {
                self.tx()?.send(&sent).await?;
                self.recv(&sent).await?;
            }
            return Ok(());
        }
        for (name, bytes) in advanced_messages()? {
            let sent = v8::read(&bytes, v8::Dialect::Ipc, &v8::Limits::default())?;
            let is_native = |object: &v8::Object| matches!(object, v8::Object::Native(_));
            if sent.get("cmd").is_some() || sent.objects().iter().any(is_native) {
                // An internal message, which nobody gets to see; an object that
                // comes back as a plain one.
                continue;
            }
            self.tx()?.send_raw(&write(&sent)?).await?;
            let back = self.next().await?.document()?;
            if without_history(&back) != without_history(&sent) {
                return Err(format!("{name}: {back:?} for {sent:?}").into());
            }
        }
        Ok(())
    }

    /// Reads and writes every message, in full.
    async fn echo(&mut self, end: &Value) -> Result<(), Failure> {
        loop {
            let message = self.next().await?;
            if is(&message, end) {
                return Ok(());
            }
            match message.serialization() {
                Serialization::Json => self.tx()?.send(&message.decode::<Value>()?).await?,
                Serialization::Advanced => {
                    self.tx()?.send_raw(&write(&message.document()?)?).await?;
                }
            }
        }
    }

    async fn lone_surrogates(&mut self) -> Result<(), Failure> {
        let messages: [&[u8]; 2] = match self.tx()?.serialization() {
            Serialization::Json => [br#""\ud800""#, br#""a\udc00b""#],
            Serialization::Advanced => [b"\xff\x0fc\x02\0\xd8", b"\xff\x0fc\x06a\0\0\xdcb\0"],
        };
        for sent in messages {
            self.tx()?.send_raw(sent).await?;
            let back = self.next().await?;
            if back.body() != sent {
                return Err(format!("{back:?} came back").into());
            }
        }
        Ok(())
    }

    async fn pass_on(&mut self, end: &Value) -> Result<(), Failure> {
        loop {
            let message = self.next().await?;
            if is(&message, end) {
                return Ok(());
            }
            self.tx()?.forward(message).await?;
        }
    }

    fn raw_bytewise(&mut self, hex: &str) -> Result<(), Failure> {
        for byte in bytes_of(hex)? {
            self.raw()?.0.write_all(&[byte])?;
        }
        Ok(())
    }

    fn half(&mut self) -> Result<(), Failure> {
        let (stream, serialization) = self.raw()?;
        let bytes: &[u8] = match serialization {
            Serialization::Json => b"\"whole\"\n{\"ha",
            Serialization::Advanced => b"\0\0\0\x09\xff\x0f\"\x05whole\0\0\0\x09\xff\x0f",
        };
        Ok(stream.write_all(bytes)?)
    }

    async fn send_many(&mut self, count: u64, size: u64) -> Result<(), Failure> {
        for n in 0..count {
            self.tx()?.send(&numbered(n, size)?).await?;
        }
        Ok(())
    }

    async fn expect_many(&mut self, count: u64, size: u64) -> Result<(), Failure> {
        for n in 0..count {
            self.recv(&numbered(n, size)?).await?;
        }
        Ok(())
    }

    async fn give(&mut self, kind: &str, message: &Value) -> Result<(), Failure> {
        let handle = self.make(kind)?;
        Ok(self.tx()?.send_with_handle(message, handle).await?)
    }

    async fn take(&mut self, kind: &str, expected: &Value) -> Result<(), Failure> {
        let mut message = self.next().await?;
        same(&message, expected)?;
        self.keep(kind, message.take_handle())
    }

    async fn give_in_vain(&mut self) -> Result<(), Failure> {
        let handle = self.make("tcp")?;
        let sent = self.tx()?.send_with_handle("in vain", handle).await;
        self.outside.clear();
        match sent {
            Err(SendError::NotReceived { .. }) => Ok(()),
            Err(other) => Err(other.into()),
            Ok(()) => Err("it has arrived".into()),
        }
    }

    /// The call of one, then of the other, and both are waited for.
    async fn give_and_disconnect(&mut self) -> Result<(), Failure> {
        let handle = self.make("tcp")?;
        let tx = self.tx()?;
        let (sent, ()) = tokio::join!(tx.send_with_handle("last", handle), tx.disconnect());
        Ok(sent?)
    }

    /// The tasks of this runtime run in the order of their start.
    async fn in_order(&mut self, count: u64) -> Result<(), Failure> {
        let mut sending = JoinSet::new();
        for n in 0..count {
            let tx = self.tx()?.clone();
            if n % 3 == 1 {
                let handle = self.make("tcp")?;
                sending.spawn(async move { tx.send_with_handle(&json!({ "n": n }), handle).await });
            } else {
                sending.spawn(async move { tx.send(&json!({ "n": n })).await });
            }
        }
        while let Some(sent) = sending.join_next().await {
            sent??;
        }
        Ok(())
    }

    async fn expect_order(&mut self, count: u64) -> Result<(), Failure> {
        for n in 0..count {
            let message = self.next().await?;
            same(&message, &json!({ "n": n }))?;
            if message.handle().is_some() != (n % 3 == 1) {
                return Err(format!("{:?} with {n}", message.handle()).into());
            }
        }
        Ok(())
    }

    async fn exchange(&mut self, count: u64) -> Result<(), Failure> {
        let mut sending = JoinSet::new();
        for n in 0..count {
            let (tx, handle) = (self.tx()?.clone(), self.make("tcp")?);
            sending.spawn(async move { tx.send_with_handle(&json!({ "n": n }), handle).await });
        }
        for n in 0..count {
            let message = self.next().await?;
            same(&message, &json!({ "n": n }))?;
            message.handle().ok_or("a message without its handle")?;
        }
        while let Some(sent) = sending.join_next().await {
            sent??;
        }
        Ok(())
    }

    async fn send_fails(&mut self) -> Result<(), Failure> {
        match self.tx()?.send("late").await {
            Err(error) if error.node_code() == Some("ERR_IPC_CHANNEL_CLOSED") => Ok(()),
            Err(other) => Err(other.into()),
            Ok(()) => Err("it was sent".into()),
        }
    }

    async fn make_file(&mut self, name: &str) -> Result<(), Failure> {
        self.tx()?.flush().await?;
        Ok(std::fs::write(self.scratch.join(name), [])?)
    }

    /// Looks with nothing in between, so that this side is busy meanwhile.
    fn wait_file(&mut self, name: &str) {
        while !self.scratch.join(name).exists() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    fn signal(&mut self, signal: Signal) -> Result<(), Failure> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.ok_or("no process")?, signal)?)
    }

    /// Until this side is told to wait.
    async fn fill(&mut self, size: u64) -> Result<(), Failure> {
        while self.filled < FAR_TOO_MANY {
            match self.tx()?.try_send(&numbered(self.filled, size)?) {
                Ok(()) => self.filled += 1,
                Err(SendError::Full { .. }) => return Ok(()),
                Err(other) => return Err(other.into()),
            }
            tokio::task::yield_now().await;
        }
        Err("nothing tells to wait".into())
    }

    async fn count(&mut self, end: &Value) -> Result<(), Failure> {
        for n in 0_u64.. {
            let message = self.next().await?;
            if is(&message, end) {
                self.tx()?.send(&n).await?;
                break;
            }
            if message.decode::<Value>()?["n"] != n {
                return Err(format!("{message:?} is not {n}").into());
            }
        }
        Ok(())
    }

    async fn request(&mut self, question: &Value, answer: &Value) -> Result<(), Failure> {
        let reply = self.tx()?.request(question, LONG).await?;
        same(&reply, answer)
    }

    async fn serve(&mut self, confirmed: &Value, end: &Value) -> Result<(), Failure> {
        let mut heard = false;
        loop {
            let mut message = self.next().await?;
            let said: Value = message.decode()?;
            if message.is_request() {
                let n = said["n"].as_u64().ok_or("no number")?;
                message.reply(&json!({ "n": n + 1 })).await?;
            } else if said == *confirmed && !heard {
                heard = true;
            } else if said == *end && heard {
                return Ok(());
            } else {
                return Err(format!("{said} came").into());
            }
        }
    }
}

fn write(document: &v8::Document) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let options = v8::WriteOptions::default();
    v8::write(document, v8::Dialect::Ipc, &options, &mut bytes)?;
    Ok(bytes)
}

/// V8 keeps an array as dense or sparse by how it came about, and so may write
/// one otherwise than it was read: here all are sparse.
fn without_history(document: &v8::Document) -> v8::Document {
    let mut all_sparse = v8::Document::new(document.root().clone());
    for object in document.objects() {
        let v8::Object::Array(array) = object else {
            all_sparse.add(object.clone());
            continue;
        };
        let items = (0_u32..).zip(&array.items);
        let mut properties: v8::Properties = items
            .filter_map(|(index, item)| Some((index, item.clone()?)))
            .collect();
        for (key, value) in &array.extra {
            properties.insert(key.clone(), value.clone());
        }
        let length = u32::try_from(array.items.len()).unwrap_or(u32::MAX);
        all_sparse.add(v8::Object::Sparse(v8::SparseArray { length, properties }));
    }
    all_sparse
}

fn numbered(n: u64, size: u64) -> Result<Value, Failure> {
    Ok(json!({ "n": n, "text": "x".repeat(usize::try_from(size)?) }))
}

fn is(message: &Message, end: &Value) -> bool {
    message.decode::<Value>().is_ok_and(|said| said == *end)
}

fn same(message: &Message, expected: &Value) -> Result<(), Failure> {
    let said: Value = message.decode()?;
    if said == *expected {
        return Ok(());
    }
    Err(format!("{message:?} came").into())
}

fn text(word: &Value) -> &str {
    word.as_str().unwrap_or_default()
}

fn number(word: &Value) -> u64 {
    word.as_u64().unwrap_or_default()
}

/// An error with its causes.
fn chain(failure: &(dyn std::error::Error + 'static)) -> String {
    let mut text = failure.to_string();
    let mut next = failure.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}
