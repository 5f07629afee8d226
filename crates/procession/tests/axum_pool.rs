//! The example `axum_pool`: who computes for long keeps nobody waiting.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::time::Duration;

use procession::child_process::{Child, Command, Stdio};
use procession_testkit::leaks::Oracle;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One for everything that is waited for; nothing takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(60);

/// No core counts so far within the time of a test.
const FOR_EVER: &str = "/compute?n=100000000000";

/// Counted within a second or so, even by a debug build.
const A_WHILE: &str = "/compute?n=300000";

#[track_caller]
fn scene(words: &[&str], test: impl AsyncFnOnce(&str)) {
    let oracle = Oracle::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (mut server, address) = start(words, &oracle).await;
        tokio::time::timeout(LIMIT, test(&address)).await.unwrap();
        server.kill().unwrap();
        server.wait().await.unwrap();
    });
    drop(runtime);
    oracle.check();
}

async fn start(words: &[&str], oracle: &Oracle) -> (Child, String) {
    let mut command = Command::new(procession_testkit::example("axum_pool"));
    command
        .arg("127.0.0.1:0")
        .args(words)
        .envs([oracle.tag()])
        .stderr(Stdio::inherit())
        .kill_on_drop();
    let mut server = command.spawn().unwrap();
    let mut lines = server.stdout.take().unwrap().lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let line = String::from_utf8(line.to_vec()).unwrap();
    let address = line.strip_prefix("listening at ").unwrap().to_owned();
    (server, address)
}

/// Asks, and leaves the answer to be read.
async fn ask(address: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Status and body.
async fn answer(mut stream: TcpStream) -> (u16, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

async fn get(address: &str, path: &str) -> (u16, String) {
    answer(ask(address, path).await).await
}

/// More than there is room for: those that are not refused never end by themselves.
#[test]
fn a_full_pool_refuses_and_the_server_answers() {
    scene(&[], async |address| {
        let mut computing = Vec::new();
        let refusal = loop {
            let stream = ask(address, FOR_EVER).await;
            let readable = stream.readable();
            // Behind one that is answered at once, a refusal would have come.
            let (status, body) = get(address, "/").await;
            assert_eq!((status, body.as_str()), (200, "here"));
            if tokio::time::timeout(Duration::ZERO, readable).await.is_ok() {
                break answer(stream).await;
            }
            computing.push(stream);
            assert!(computing.len() < 10_000, "the queue has no bound");
        };
        assert_eq!(refusal, (503, "the pool's queue is full".to_owned()));
        assert!(computing.len() > 16, "{}", computing.len());
        for _ in 0..100 {
            assert_eq!(get(address, "/").await.0, 200);
        }
        // Who leaves is computed for no more: there is room again.
        drop(computing);
        let (status, count) = loop {
            let (status, count) = get(address, "/compute?n=100").await;
            if status != 503 {
                break (status, count);
            }
        };
        assert_eq!((status, count.as_str()), (200, "25"));
        assert_eq!(get(address, "/compute?n=many").await.0, 400);
    });
}

/// What the pool is for: without it, the same server answers nobody until it has counted.
#[test]
fn computing_in_the_handler_keeps_all_others_waiting() {
    scene(&["--inline"], async |address| {
        let computing = ask(address, A_WHILE).await;
        // It is told of the connection in the order of arrival, and reads it before the next.
        let (status, _) = get(address, "/").await;
        assert_eq!(status, 200);
        let readable = tokio::time::timeout(Duration::ZERO, computing.readable()).await;
        assert!(readable.is_ok(), "it was answered meanwhile");
        assert_eq!(answer(computing).await, (200, "25997".to_owned()));
    });
}
