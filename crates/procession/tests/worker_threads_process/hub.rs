//! Names and locks that a tree of processes shares.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use procession::child_process::{Child, Command, Signal, Stdio};
use procession::ipc::{Blob, Channel, Serialization};
use procession::worker_threads::Lagged;
use procession::worker_threads::locks::Mode;
use procession::worker_threads::process::{
    BroadcastChannel, BroadcastError, Hub, HubError, Lock, LockInfo, Seat, SharedArrayBuffer,
};
use procession_testkit::leaks::Oracle;
use serde_json::{Value, json};

use super::support::scene;
use super::{LIMIT, ask, dismiss, hear, hear_handle, kill, now, play, start};

/// A child with a place at the hub, which does what it is asked.
struct Member {
    child: Child,
    channel: Channel,
}

impl Member {
    async fn start(oracle: &Oracle, hub: &Hub) -> Self {
        let (child, channel) = start(oracle, "hub::does_what_it_is_asked");
        let mut member = Self { child, channel };
        let seat = hub.seat().await.unwrap();
        member
            .channel
            .tx
            .send_with_handle("a seat", seat)
            .await
            .unwrap();
        assert_eq!(hear::<String>(&mut member.channel).await, "here");
        member
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    async fn does(&mut self, words: Value) -> Value {
        ask(&mut self.channel, &words).await
    }

    async fn leave(self) {
        dismiss(self.child, self.channel).await;
    }
}

#[test]
#[ignore = "a role"]
fn does_what_it_is_asked() {
    play("hub::does_what_it_is_asked", async |mut channel| {
        let hub = Hub::join(hear_handle(&mut channel).await).await.unwrap();
        channel.tx.send("here").await.unwrap();
        let mut listeners = HashMap::new();
        let mut locks: HashMap<String, Lock> = HashMap::new();
        let mut grandchildren = Vec::new();
        while let Some(message) = channel.rx.recv().await.unwrap() {
            let words: Vec<Value> = message.decode().unwrap();
            let text = |index: usize| words[index].as_str().unwrap().to_owned();
            let answer = match (text(0).as_str(), words.len()) {
                ("listen", 3) => {
                    let kept = usize::try_from(words[2].as_u64().unwrap()).unwrap();
                    let name = text(1);
                    let opened = BroadcastChannel::<Value>::with_capacity(&hub, &name, kept).await;
                    listeners.insert(name, opened.unwrap());
                    json!("listens")
                }
                ("post", 3) => {
                    listeners[&text(1)].post(&words[2]).await.unwrap();
                    json!("posted")
                }
                ("receive", 2) => match listeners.get_mut(&text(1)).unwrap().recv().await {
                    Ok(message) => message,
                    Err(BroadcastError::Lagged(Lagged { missed })) => json!({ "missed": missed }),
                    Err(error) => json!(error.to_string()),
                },
                ("lock", 2) => {
                    let lock = hub.request(&text(1), Mode::Exclusive).await.unwrap();
                    assert_eq!((lock.name(), lock.mode()), (&*text(1), Mode::Exclusive));
                    locks.insert(text(1), lock);
                    json!("held")
                }
                ("unlock", 2) => json!(locks.remove(&text(1)).is_some()),
                ("have a child", 1) => {
                    let grandchild = grandchild(&hub).await;
                    let pid = grandchild.0.id();
                    grandchildren.push(grandchild);
                    json!(pid)
                }
                _ => json!("what?"),
            };
            channel.tx.send(&answer).await.unwrap();
        }
    });
}

/// A child of a member, which is killed with nothing but its place at the hub.
async fn grandchild(hub: &Hub) -> (Child, Channel) {
    let itself = std::env::current_exe().unwrap();
    let role = "hub::stays_at_the_hub";
    let mut command = Command::new(itself);
    command
        .args([
            role,
            "--exact",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("PROCESSION_TEST_ROLE", role)
        .ipc(Serialization::Json)
        .stdin(Stdio::Ignore)
        .stdout(Stdio::Ignore)
        .stderr(Stdio::Inherit);
    let mut child = command.spawn().unwrap();
    let channel = child.channel.take().unwrap();
    let seat = hub.seat().await.unwrap();
    channel.tx.send_with_handle("a seat", seat).await.unwrap();
    (child, channel)
}

#[test]
#[ignore = "a role"]
fn stays_at_the_hub() {
    play("hub::stays_at_the_hub", async |mut channel| {
        let hub = Hub::join(hear_handle(&mut channel).await).await.unwrap();
        let mut news = BroadcastChannel::<String>::open(&hub, "family")
            .await
            .unwrap();
        let _lock = hub.request("family", Mode::Exclusive).await.unwrap();
        news.post(&"I am here".into()).await.unwrap();
        assert!(channel.rx.recv().await.unwrap().is_none());
        news.post(&"my parent is gone".into()).await.unwrap();
        assert_eq!(news.recv().await.unwrap(), "go");
    });
}

#[test]
fn a_broadcast_reaches_everybody_else_in_one_order() {
    scene(async |oracle| {
        let hub = Hub::new().await.unwrap();
        let mut ours = BroadcastChannel::<Value>::with_capacity(&hub, "news", 1000)
            .await
            .unwrap();
        let mut more = BroadcastChannel::<Value>::with_capacity(&hub, "news", 1000)
            .await
            .unwrap();
        let mut elsewhere = BroadcastChannel::<Value>::open(&hub, "else").await.unwrap();
        let mut one = Member::start(oracle, &hub).await;
        let mut other = Member::start(oracle, &hub).await;
        for member in [&mut one, &mut other] {
            assert_eq!(
                member.does(json!(["listen", "news", 1000])).await,
                "listens"
            );
        }
        for n in 0..100 {
            ours.post(&json!(n)).await.unwrap();
            assert_eq!(one.does(json!(["post", "news", n + 1000])).await, "posted");
        }
        let mut orders = Vec::new();
        let mut seen = Vec::new();
        for _ in 0..200 {
            seen.push(more.recv().await.unwrap());
        }
        orders.push(seen);
        let mut seen = Vec::new();
        for _ in 0..200 {
            seen.push(other.does(json!(["receive", "news"])).await);
        }
        orders.push(seen);
        assert_eq!(orders[0], orders[1]);
        for n in 0..100 {
            assert_eq!(ours.recv().await.unwrap(), json!(n + 1000), "not its own");
            assert_eq!(one.does(json!(["receive", "news"])).await, json!(n));
        }
        assert!(ours.try_recv().unwrap().is_none());
        assert!(elsewhere.try_recv().unwrap().is_none());
        assert_eq!(elsewhere.name(), "else");
        let wrong = BroadcastChannel::<u32>::open(&hub, "else").await.unwrap();
        elsewhere.post(&json!("text")).await.unwrap();
        elsewhere.post(&json!(5)).await.unwrap();
        let mut wrong = wrong;
        assert!(matches!(
            wrong.recv().await,
            Err(BroadcastError::Decode { .. })
        ));
        assert_eq!(wrong.recv().await.unwrap(), 5);
        one.leave().await;
        other.leave().await;
    });
}

#[test]
fn a_stopped_listener_holds_up_nobody_and_knows_what_it_missed() {
    scene(async |oracle| {
        let hub = Hub::new().await.unwrap();
        let news = BroadcastChannel::<Value>::open(&hub, "news").await.unwrap();
        let mut slow = Member::start(oracle, &hub).await;
        assert_eq!(slow.does(json!(["listen", "news", 5])).await, "listens");
        slow.child.signal(Signal::STOP).unwrap();
        // More than all queues hold.
        let filler = "x".repeat(10_000);
        for n in 0..400 {
            news.post(&json!([n, filler])).await.unwrap();
        }
        // The hub has seen all of them.
        hub.query().await.unwrap();
        slow.child.signal(Signal::CONT).unwrap();
        let (mut received, mut missed, mut last) = (0, 0, -1);
        while received + missed < 400 {
            let came = slow.does(json!(["receive", "news"])).await;
            if let Some(count) = came["missed"].as_u64() {
                missed += count;
            } else {
                let n = came[0].as_i64().unwrap();
                assert!(n > last, "{n} after {last}");
                (received, last) = (received + 1, n);
            }
        }
        assert_eq!(received + missed, 400);
        assert!(missed > 100 && received >= 5, "{missed} {received}");
        news.post(&json!(["after", ""])).await.unwrap();
        assert_eq!(slow.does(json!(["receive", "news"])).await[0], "after");
        slow.leave().await;
    });
}

/// Who holds and who waits.
async fn of(hub: &Hub, name: &str) -> (Vec<u32>, Vec<u32>) {
    let snapshot = hub.query().await.unwrap();
    let who = |list: Vec<LockInfo>| {
        let named = list.into_iter().filter(|lock| lock.name == name);
        named.map(|lock| lock.process).collect()
    };
    (who(snapshot.held), who(snapshot.pending))
}

#[test]
fn a_killed_holder_leaves_its_lock_to_the_one_who_waits_longest() {
    scene(async |oracle| {
        let hub = Hub::new().await.unwrap();
        let mut holder = Member::start(oracle, &hub).await;
        let mut next = Member::start(oracle, &hub).await;
        assert_eq!(holder.does(json!(["lock", "db"])).await, "held");
        let available = hub.request_if_available("db", Mode::Shared).await.unwrap();
        assert!(available.is_none());
        next.channel.tx.send(&json!(["lock", "db"])).await.unwrap();
        while of(&hub, "db").await.1.is_empty() {}
        let mut last = Box::pin(hub.request("db", Mode::Exclusive));
        assert!(now(&mut last).is_none());
        let us = std::process::id();
        let held = (vec![holder.pid()], vec![next.pid(), us]);
        assert_eq!(of(&hub, "db").await, held);
        kill(holder.child).await;
        assert_eq!(hear::<String>(&mut next.channel).await, "held");
        assert!(now(&mut last).is_none(), "not before its turn");
        assert_eq!(of(&hub, "db").await, (vec![next.pid()], vec![us]));
        assert_eq!(next.does(json!(["unlock", "db"])).await, true);
        let lock = last.await.unwrap();
        assert!(!lock.is_lost());
        drop(lock);
        assert_eq!(of(&hub, "db").await, (vec![], vec![]));
        next.leave().await;
    });
}

#[test]
fn one_process_at_a_time_is_inside() {
    scene(async |oracle| {
        let hub = Hub::new().await.unwrap();
        let mut members = [
            Member::start(oracle, &hub).await,
            Member::start(oracle, &hub).await,
        ];
        for turn in 0..100 {
            let [one, other] = &mut members;
            let (first, second) = if turn % 2 == 0 {
                (one, other)
            } else {
                (other, one)
            };
            assert_eq!(first.does(json!(["lock", "turn"])).await, "held");
            second
                .channel
                .tx
                .send(&json!(["lock", "turn"]))
                .await
                .unwrap();
            let waits = tokio::time::timeout(Duration::from_micros(100), second.channel.rx.recv());
            assert!(waits.await.is_err(), "two are inside");
            assert_eq!(first.does(json!(["unlock", "turn"])).await, true);
            assert_eq!(hear::<String>(&mut second.channel).await, "held");
            assert_eq!(second.does(json!(["unlock", "turn"])).await, true);
        }
        for member in members {
            member.leave().await;
        }
    });
}

/// Each adds one to its own cell and, in two steps, to the first, under the lock.
#[test]
fn in_a_storm_of_kills_no_two_are_inside_and_nobody_waits_for_the_dead() {
    const LIVES: usize = 20;
    scene(async |oracle| {
        let hub = Hub::new().await.unwrap();
        let cells = SharedArrayBuffer::new(1 + LIVES).unwrap();
        let mut alive = std::collections::VecDeque::new();
        for life in 1..=LIVES {
            let (child, channel) = start(oracle, "hub::counts_under_the_lock");
            let seat = hub.seat().await.unwrap();
            channel.tx.send_with_handle(&life, seat).await.unwrap();
            let memory = cells.to_handle().unwrap();
            channel.tx.send_with_handle(&life, memory).await.unwrap();
            alive.push_back((child, channel));
            // All of them go on, whoever was killed in the middle of what.
            for cell in life.saturating_sub(2).max(1)..=life {
                let more = cells.cells()[cell].load(SeqCst) + 20;
                while cells.cells()[cell].load(SeqCst) < more {
                    cells.wait(0, cells.cells()[0].load(SeqCst)).await;
                }
            }
            if alive.len() > 2 {
                kill(alive.pop_front().unwrap().0).await;
            }
        }
        for (child, _) in alive {
            kill(child).await;
        }
        drop(hub.request("count", Mode::Exclusive).await.unwrap());
        let each: u32 = cells.cells()[1..]
            .iter()
            .map(|cell| cell.load(SeqCst))
            .sum();
        let all = cells.cells()[0].load(SeqCst);
        // One that was killed between the two steps has counted itself only.
        assert!(
            all <= each && each - all <= u32::try_from(LIVES).unwrap(),
            "{all} {each}"
        );
    });
}

#[test]
#[ignore = "a role"]
fn counts_under_the_lock() {
    play("hub::counts_under_the_lock", async |mut channel| {
        let mut seat = super::next(&mut channel).await;
        let own: usize = seat.decode().unwrap();
        let hub = Hub::join(seat.take_handle().unwrap()).await.unwrap();
        let memory = hear_handle(&mut channel).await;
        let cells = SharedArrayBuffer::from_handle(memory, 4096).unwrap();
        loop {
            let _lock = hub.request("count", Mode::Exclusive).await.unwrap();
            cells.cells()[own].fetch_add(1, SeqCst);
            let all = cells.cells()[0].load(SeqCst);
            // As long as another one takes to get in.
            hub.query().await.unwrap();
            cells.cells()[0].store(all + 1, SeqCst);
            cells.notify(0, usize::MAX);
        }
    });
}

#[test]
fn a_wait_that_is_given_up_leaves_no_trace() {
    scene(async |_| {
        let hub = Hub::new().await.unwrap();
        let shared = hub.request("a", Mode::Shared).await.unwrap();
        let also = hub.request_if_available("a", Mode::Shared).await.unwrap();
        assert!(also.is_some());
        for turn in 0..200 {
            let mut waits = Box::pin(hub.request("a", Mode::Exclusive));
            // Given up at any moment of its life.
            for _ in 0..turn % 5 {
                assert!(now(&mut waits).is_none());
                tokio::task::yield_now().await;
            }
        }
        let limited =
            tokio::time::timeout(Duration::from_millis(2), hub.request("a", Mode::Exclusive));
        assert!(limited.await.is_err());
        let us = std::process::id();
        assert_eq!(of(&hub, "a").await, (vec![us, us], vec![]));
        drop((shared, also));
        let lock = hub.request("a", Mode::Exclusive).await.unwrap();
        // Given up although it was granted meanwhile.
        let mut waits = Box::pin(hub.request("a", Mode::Exclusive));
        assert!(now(&mut waits).is_none());
        drop(lock);
        hub.query().await.unwrap();
        drop(waits);
        assert!(
            hub.request_if_available("a", Mode::Exclusive)
                .await
                .unwrap()
                .is_some()
        );
        assert_eq!(of(&hub, "a").await, (vec![], vec![]));
    });
}

#[test]
fn a_grandchild_stays_when_the_process_between_is_killed() {
    scene(async |oracle| {
        let hub = Hub::new().await.unwrap();
        let mut news = BroadcastChannel::<String>::open(&hub, "family")
            .await
            .unwrap();
        let mut child = Member::start(oracle, &hub).await;
        let pid = child.does(json!(["have a child"])).await;
        assert_eq!(news.recv().await.unwrap(), "I am here");
        let pid = u32::try_from(pid.as_u64().unwrap()).unwrap();
        assert_eq!(of(&hub, "family").await, (vec![pid], vec![]));
        kill(child.child).await;
        assert_eq!(news.recv().await.unwrap(), "my parent is gone");
        let mut waits = Box::pin(hub.request("family", Mode::Exclusive));
        assert!(now(&mut waits).is_none());
        news.post(&"go".into()).await.unwrap();
        drop(waits.await.unwrap());
    });
}

#[test]
fn everybody_learns_that_the_root_is_gone() {
    scene(async |oracle| {
        let (root, mut channel) = start(oracle, "hub::is_the_root");
        let hub = Hub::join(hear_handle(&mut channel).await).await.unwrap();
        let other = hub.clone();
        let mut news = BroadcastChannel::<u32>::open(&hub, "news").await.unwrap();
        let more = BroadcastChannel::<u32>::open(&other, "news").await.unwrap();
        more.post(&1).await.unwrap();
        let lock = hub.request("a", Mode::Exclusive).await.unwrap();
        let mut waits = Box::pin(hub.request("a", Mode::Exclusive));
        assert!(now(&mut waits).is_none());
        hub.query().await.unwrap();
        assert!(!lock.is_lost());
        kill(root).await;
        hub.closed().await;
        assert!(lock.is_lost());
        assert!(matches!(waits.await, Err(HubError::Closed)));
        assert_eq!(news.recv().await.unwrap(), 1, "what came before");
        assert!(matches!(news.recv().await, Err(BroadcastError::Closed)));
        assert!(matches!(news.post(&2).await, Err(HubError::Closed)));
        assert!(matches!(hub.query().await, Err(HubError::Closed)));
        assert!(matches!(hub.seat().await, Err(HubError::Closed)));
        let late = BroadcastChannel::<u32>::open(&hub, "late").await;
        assert!(matches!(late, Err(HubError::Closed)));
    });
}

#[test]
#[ignore = "a role"]
fn is_the_root() {
    play("hub::is_the_root", async |channel| {
        let hub = Hub::new().await.unwrap();
        let seat = hub.seat().await.unwrap();
        channel.tx.send_with_handle("a seat", seat).await.unwrap();
        std::future::pending().await
    });
}

#[test]
fn names_and_messages_have_limits() {
    scene(async |_| {
        let hub = Hub::new().await.unwrap();
        let long = "x".repeat(257);
        let error = hub.request(&long, Mode::Shared).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "a name of 257 bytes is above the limit of 256"
        );
        assert!(BroadcastChannel::<u32>::open(&hub, &long).await.is_err());
        let news = BroadcastChannel::<String>::open(&hub, &long[1..])
            .await
            .unwrap();
        let error = news.post(&"\u{1}".repeat(300_000)).await.unwrap_err();
        assert!(matches!(error, HubError::Message(_)), "{error:?}");
        let mut other = BroadcastChannel::<String>::open(&hub, &long[1..])
            .await
            .unwrap();
        let largest = "x".repeat(1024 * 1024 - 400);
        news.post(&largest).await.unwrap();
        assert_eq!(other.recv().await.unwrap(), largest);
        let mut locks = Vec::new();
        for n in 0..1024 {
            locks.push(
                hub.request(&format!("lock {n}"), Mode::Shared)
                    .await
                    .unwrap(),
            );
        }
        let error = hub.request("one more", Mode::Shared).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "this process has 1024 places at the hub already"
        );
        locks.pop();
        drop(hub.request("one more", Mode::Shared).await.unwrap());
    });
}

#[test]
fn threads_beside_the_runtime_use_a_hub_too() {
    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let hub = runtime.block_on(Hub::new()).unwrap();
    let open = || {
        runtime
            .block_on(BroadcastChannel::<u32>::open(&hub, "news"))
            .unwrap()
    };
    let (mut one, other) = (open(), open());
    other.post_blocking(&7).unwrap();
    assert_eq!(one.recv_blocking().unwrap(), 7);
    let lock = hub.request_blocking("a", Mode::Exclusive).unwrap();
    let short = Duration::from_millis(2);
    let late = hub
        .request_timeout_blocking("a", Mode::Shared, short)
        .unwrap();
    assert!(late.is_none());
    drop(lock);
    let lock = hub
        .request_timeout_blocking("a", Mode::Shared, LIMIT)
        .unwrap();
    assert!(lock.is_some());
    drop((one, other, lock, hub));
    drop(runtime);
    oracle.check();
}

/// A Node that has a channel to the root of a busy hub.
#[test]
fn node_sees_nothing_of_it() {
    let Some(node) = procession_testkit::node::or_skip("node_sees_nothing_of_it") else {
        return;
    };
    const CHILD: &str = "
        const seen = [];
        process.on('internalMessage', (message) => seen.push(message));
        process.on('message', (message) => {
            seen.push(message);
            process.send(seen);
        });";
    scene(async |oracle| {
        let hub = Hub::new().await.unwrap();
        let mut command = super::support::tagged(oracle, Command::new(&node.path), &["-e", CHILD]);
        command
            .ipc(Serialization::Json)
            .stdin(Stdio::Ignore)
            .stdout(Stdio::Ignore);
        let mut child = command.spawn().unwrap();
        let mut channel = child.channel.take().unwrap();
        assert_eq!(ask::<Value>(&mut channel, &1).await, json!([1]));
        let news = BroadcastChannel::<u32>::open(&hub, "news").await.unwrap();
        news.post(&1).await.unwrap();
        let lock = hub.request("a", Mode::Exclusive).await.unwrap();
        let member = Member::start(oracle, &hub).await;
        assert_eq!(ask::<Value>(&mut channel, &2).await, json!([1, 2]));
        drop(lock);
        member.leave().await;
        dismiss(child, channel).await;
    });
}

/// It is made for programs of procession; a Node is neither ended nor stuck by it.
#[test]
fn memory_that_is_sent_to_a_node_is_a_connection_that_ends() {
    const CHILD: &str = "
        process.on('message', (message, socket) => {
            let bytes = 0;
            socket.on('data', (data) => { bytes += data.length; });
            socket.on('close', () => process.send([message, bytes]));
        });";
    let name = "memory_that_is_sent_to_a_node_is_a_connection_that_ends";
    let Some(node) = procession_testkit::node::or_skip(name) else {
        return;
    };
    scene(async |oracle| {
        let mut command = super::support::tagged(oracle, Command::new(&node.path), &["-e", CHILD]);
        command
            .ipc(Serialization::Json)
            .stdin(Stdio::Ignore)
            .stdout(Stdio::Ignore);
        let mut child = command.spawn().unwrap();
        let mut channel = child.channel.take().unwrap();
        for n in 0..3 {
            let blob = Blob::new(b"for somebody else").unwrap();
            channel.tx.send_with_blob(&n, &blob).await.unwrap();
            assert_eq!(hear::<(u32, u32)>(&mut channel).await, (n, 8));
        }
        dismiss(child, channel).await;
    });
}

/// A seat that nobody takes, and one that is taken twice over.
#[test]
fn a_seat_that_nobody_takes_is_no_place() {
    scene(async |_| {
        let hub = Hub::new().await.unwrap();
        for _ in 0..1500 {
            let _: Seat = hub.seat().await.unwrap();
        }
        let own = Hub::join(hub.seat().await.unwrap().into()).await.unwrap();
        assert!(own.query().await.is_ok());
    });
}
