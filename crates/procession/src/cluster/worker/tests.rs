//! A worker over a channel whose other end is in the test's hand.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::time::Duration;

use bytes::Bytes;
use procession_core::cluster::protocol::{
    FromWorker, Listener as Reply, ToWorker, WorkerAct, decode_from_worker, encode_to_worker,
};
use procession_core::ipc::Serialization;
use procession_core::ipc::internal::HandleKind;
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::ipc::cluster::Incoming;

struct Primary {
    channel: Channel,
    serialization: Serialization,
    seq: u64,
}

fn pair(serialization: Serialization) -> (Primary, Worker) {
    let (one, other) = procession_sys::channel_pair().unwrap();
    let end = |fd| Channel::for_cluster(fd, serialization, channel_limits(), "it".into());
    let primary = Primary {
        channel: end(one).unwrap(),
        serialization,
        seq: 0,
    };
    let worker = Worker::over(end(other).unwrap(), WorkerId(1));
    (primary, worker)
}

impl Primary {
    /// What the worker says next.
    async fn hear(&mut self) -> FromWorker {
        loop {
            match self.channel.rx.incoming().await.unwrap() {
                Some(Incoming::Cluster(body, None)) => {
                    return decode_from_worker(self.serialization, &body).unwrap();
                }
                Some(Incoming::Settled(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Whether it says nothing of the cluster before its message.
    async fn is_message_next(&mut self) -> bool {
        loop {
            match self.channel.rx.incoming().await.unwrap() {
                Some(Incoming::Settled(_)) => {}
                came => return matches!(came, Some(Incoming::Message(_))),
            }
        }
    }

    async fn hear_behind_messages(&mut self) -> WorkerAct {
        loop {
            match self.channel.rx.incoming().await.unwrap() {
                Some(Incoming::Cluster(body, None)) => {
                    return decode_from_worker(self.serialization, &body).unwrap().act;
                }
                Some(Incoming::Settled(_) | Incoming::Message(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn hear_acts(&mut self, count: usize) -> Vec<WorkerAct> {
        let mut acts = Vec::new();
        while acts.len() < count {
            acts.push(self.hear().await.act);
        }
        acts
    }

    fn body(&mut self, act: &ToWorker) -> Bytes {
        let mut body = Vec::new();
        encode_to_worker(self.serialization, self.seq, act, &mut body);
        self.seq += 1;
        body.into()
    }

    fn say(&mut self, act: &ToWorker) {
        let body = self.body(act);
        self.channel.tx.send_cluster(&body).unwrap();
    }

    /// Hands a new connection over, and gives its other end.
    fn new_conn(&mut self) -> StdStream {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        let body = self.body(&ToWorker::NewConn { key: "k".into() });
        let sent = self
            .channel
            .tx
            .hand_over(&HandleKind::Native, &body, ours.into());
        sent.unwrap();
        client
    }

    fn reply(&mut self, ack: u64, errno: i32) {
        self.say(&ToWorker::Listener(Box::new(Reply {
            ack,
            key: "k".into(),
            errno,
            sockname: Some(at()),
            data: None,
        })));
    }

    /// The worker's wish to listen, and its number.
    async fn asked(&mut self) -> u64 {
        loop {
            let said = self.hear().await;
            if let WorkerAct::QueryServer(_) = said.act {
                return said.seq;
            }
        }
    }
}

fn at() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 4321).into()
}

async fn listening(serialization: Serialization) -> (Primary, Worker, Listener) {
    let (mut primary, worker) = pair(serialization);
    let (listener, ()) = tokio::join!(worker.listen(at()), async {
        let ack = primary.asked().await;
        primary.reply(ack, 0);
    });
    let heard = primary.hear().await.act;
    assert!(matches!(heard, WorkerAct::Listening(_)), "{heard:?}");
    (primary, worker, listener.unwrap())
}

fn answer(ack: u64, accepted: bool) -> WorkerAct {
    let accepted = Some(accepted);
    WorkerAct::Answer { ack, accepted }
}

fn close() -> WorkerAct {
    WorkerAct::Close { key: "k".into() }
}

fn scene(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let limited = async { tokio::time::timeout(Duration::from_secs(20), test()).await };
    runtime.unwrap().block_on(limited).expect("the test hangs");
}

#[test]
fn a_connection_is_confirmed_when_it_is_accepted_and_not_before() {
    scene(async || {
        for serialization in [Serialization::Json, Serialization::Advanced] {
            let (mut primary, mut worker, mut listener) = listening(serialization).await;
            let mut clients = [primary.new_conn(), primary.new_conn()];
            // The answer to this would come after those to the connections.
            primary.channel.tx.send("here?").await.unwrap();
            assert!(worker.recv().await.unwrap().is_some());
            worker.send("here").await.unwrap();
            assert!(primary.is_message_next().await);
            for (ack, client) in (1..).zip(&mut clients) {
                let (mut stream, peer) = listener.accept().await.unwrap().unwrap();
                assert_eq!(peer, Some(client.local_addr().unwrap()));
                stream.write_all(b"hello").await.unwrap();
                drop(stream);
                let mut text = String::new();
                client.read_to_string(&mut text).unwrap();
                assert_eq!(text, "hello");
                assert_eq!(primary.hear().await.act, answer(ack, true));
            }
        }
    });
}

/// It is given when the primary's answer is in the hands of the kernel: should we
/// die after a byte of it was read, no other worker will be given it.
#[test]
fn a_cancelled_accept_loses_no_connection() {
    scene(async || {
        let (mut primary, worker, mut listener) = listening(Serialization::Json).await;
        let mut client = primary.new_conn();
        // Polled by hand until the connection is taken and not yet given: the second of two
        // messages waits for the channel's owner, and the answer behind it.
        loop {
            let polled = std::future::poll_fn(|cx| {
                for _ in 0..2 {
                    worker.sender().try_send("before it").unwrap();
                }
                std::task::Poll::Ready(listener.poll_accept(cx).is_pending())
            });
            assert!(polled.await, "it is given only after the primary was told");
            if listener.is_confirming() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let (mut stream, _) = listener.accept().await.unwrap().unwrap();
        client.write_all(b"x").unwrap();
        assert_eq!(primary.hear_behind_messages().await, answer(1, true));
        let mut byte = [0];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut byte)
            .await
            .unwrap();
    });
}

#[test]
fn a_dropped_listener_leaves_what_it_was_offered_to_others() {
    scene(async || {
        let (mut primary, mut worker, listener) = listening(Serialization::Json).await;
        let _client = primary.new_conn();
        primary.channel.tx.send("here?").await.unwrap();
        worker.recv().await.unwrap();
        drop(listener);
        let wanted = [answer(1, false), close()];
        assert_eq!(primary.hear_acts(2).await, wanted);
        let _late = primary.new_conn();
        assert_eq!(primary.hear().await.act, answer(2, false));
    });
}

#[test]
fn a_wish_that_is_not_waited_for_is_taken_back() {
    scene(async || {
        let (mut primary, worker) = pair(Serialization::Json);
        let ack = tokio::select! {
            ack = primary.asked() => ack,
            _ = worker.listen(at()) => panic!("nobody has answered"),
        };
        primary.reply(ack, 0);
        assert_eq!(primary.hear().await.act, close());
    });
}

/// The reply has come and the future is dropped before it has seen it.
#[test]
fn a_listener_that_comes_at_the_last_moment_is_closed() {
    scene(async || {
        let (mut primary, worker) = pair(Serialization::Json);
        let mut wish = Box::pin(async { worker.listen(at()).await.map(drop) });
        std::future::poll_fn(|cx| {
            assert!(wish.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        let ack = primary.asked().await;
        primary.reply(ack, 0);
        let heard = primary.hear().await.act;
        assert!(matches!(heard, WorkerAct::Listening(_)), "{heard:?}");
        drop(wish);
        assert_eq!(primary.hear().await.act, close());
    });
}

#[test]
fn a_listener_ends_with_the_primary_s_disconnect() {
    scene(async || {
        let (mut primary, worker, mut listener) = listening(Serialization::Json).await;
        primary.say(&ToWorker::Disconnect);
        assert!(listener.accept().await.unwrap().is_none());
        assert!(listener.accept().await.unwrap().is_none(), "it stays so");
        assert!(worker.disconnecting().is_cancelled());
        let refused = worker.listen(at()).await;
        assert!(
            matches!(refused, Err(ListenError::Leaving { .. })),
            "{refused:?}"
        );
        assert_eq!(worker.leave().await, Leave::Told);
        assert_eq!(primary.hear().await.act, close());
        assert!(primary.channel.rx.incoming().await.unwrap().is_none());
    });
}

#[test]
fn a_lost_primary_is_an_end() {
    scene(async || {
        let (primary, mut worker, mut listener) = listening(Serialization::Json).await;
        drop(primary);
        assert!(listener.accept().await.unwrap().is_none());
        assert!(worker.recv().await.unwrap().is_none());
        assert_eq!(worker.leave().await, Leave::Lost);
    });
}

#[test]
fn a_primary_that_talks_nonsense_is_lost() {
    scene(async || {
        let (primary, worker, mut listener) = listening(Serialization::Json).await;
        let nonsense = br#"{"cmd":"NODE_CLUSTER","act":"newconn","seq":1}"#;
        primary.channel.tx.send_cluster(nonsense).unwrap();
        assert!(listener.accept().await.unwrap().is_none());
        assert_eq!(worker.leave().await, Leave::Lost);
    });
}

#[test]
fn the_primary_s_error_is_ours() {
    scene(async || {
        let (mut primary, worker) = pair(Serialization::Advanced);
        let taken = StdListener::bind("127.0.0.1:0").unwrap();
        let again = StdListener::bind(taken.local_addr().unwrap()).unwrap_err();
        let (refused, ()) = tokio::join!(worker.listen(at()), async {
            let ack = primary.asked().await;
            primary.reply(ack, -again.raw_os_error().unwrap());
        });
        let error = refused.unwrap_err();
        assert_eq!(error.to_string(), "cannot listen on 127.0.0.1:4321");
        assert_eq!(error.node_code(), Some("EADDRINUSE"));
    });
}

#[test]
fn messages_that_nobody_takes_hold_up_no_connection() {
    scene(async || {
        let (mut primary, mut worker, mut listener) = listening(Serialization::Json).await;
        let long = "x".repeat(100_000);
        for number in 0..40 {
            primary.channel.tx.send(&(number, &long)).await.unwrap();
        }
        let _client = primary.new_conn();
        assert!(listener.accept().await.unwrap().is_some());
        let mut numbers = Vec::new();
        while numbers.last() != Some(&39) {
            let message = worker.recv().await.unwrap().unwrap();
            numbers.push(message.decode::<(u32, String)>().unwrap().0);
        }
        assert_eq!(numbers, (30..40).collect::<Vec<_>>(), "1 MiB of the newest");
    });
}

#[test]
fn a_socket_of_the_primary_s_is_accepted_from_beside_what_is_offered() {
    scene(async || {
        let (mut primary, worker) = pair(Serialization::Json);
        let socket = StdListener::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let (listener, ()) = tokio::join!(worker.listen(at()), async {
            let ack = primary.asked().await;
            let reply = Reply {
                ack,
                key: "k".into(),
                errno: 0,
                sockname: None,
                data: None,
            };
            let body = primary.body(&ToWorker::Listener(Box::new(reply)));
            let sent = primary
                .channel
                .tx
                .hand_over(&HandleKind::Native, &body, socket.into());
            sent.unwrap();
        });
        let mut listener = listener.unwrap();
        assert_eq!(*listener.local_addr(), Listen::Tcp(addr));
        let WorkerAct::Listening(query) = primary.hear().await.act else {
            panic!("it listens");
        };
        assert_eq!(query.port, Some(i32::from(addr.port())));
        let client = StdStream::connect(addr).unwrap();
        let (_, peer) = listener.accept().await.unwrap().unwrap();
        assert_eq!(peer, client.local_addr().ok());
        let stolen = primary.new_conn();
        let (_, peer) = listener.accept().await.unwrap().unwrap();
        assert_eq!(peer, stolen.local_addr().ok());
        assert_eq!(primary.hear().await.act, answer(1, true));
    });
}

#[test]
fn all_workers_ask_for_an_address_in_the_same_words() {
    let asks = |at: &str| {
        let query = query(&at.parse().unwrap()).unwrap();
        query.key()
    };
    // As Node's `listen(8000)`, `listen(8000, '::1')`, `listen(8000, '0.0.0.0')`.
    assert_eq!(asks("8000"), "null:8000:4:undefined");
    assert_eq!(asks("[::1]:8000"), "::1:8000:6:undefined");
    assert_eq!(asks("0.0.0.0:8000"), "0.0.0.0:8000:4:undefined");
    assert_eq!(
        asks("/run/../run/a.sock"),
        "/run/../run/a.sock:-1:-1:undefined"
    );
    let here = std::env::current_dir().unwrap();
    let here = format!("{}:-1:-1:undefined", here.join("a.sock").display());
    assert_eq!(asks("./a.sock"), here);
}
