//! Servers with one trick each, in threads of the test.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// A server until it is dropped.
pub(crate) struct Server {
    at: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    requests: AtomicU64,
    connections: Mutex<Vec<(TcpStream, JoinHandle<()>)>>,
}

impl Server {
    /// Answers each request as it says: the number of the request counts from 1 on; `None`
    /// hangs up.
    pub(crate) fn new(
        answer: impl Fn(u64, &str) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self::with(end_of_request, answer)
    }

    /// Takes whatever comes for a request that is none, as HTTP servers do.
    pub(crate) fn blunt() -> Self {
        let all = |held: &[u8]| (!held.is_empty()).then_some(held.len());
        Self::with(all, |_, _| Some(answer(400, "")))
    }

    /// Sends back each five bytes.
    pub(crate) fn echo() -> Self {
        let five = |held: &[u8]| (held.len() >= 5).then_some(5);
        Self::with(five, |_, bytes| Some(bytes.as_bytes().to_vec()))
    }

    fn with(
        end: fn(&[u8]) -> Option<usize>,
        answer: impl Fn(u64, &str) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let inner = Arc::clone(&shared);
        let answer = Arc::new(answer);
        let listening = thread::spawn(move || {
            for stream in listener.incoming() {
                if inner.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let stream = stream.unwrap();
                let (shared, answer) = (Arc::clone(&inner), Arc::clone(&answer));
                let own = stream.try_clone().unwrap();
                let serving = thread::spawn(move || serve(own, end, &shared, &*answer));
                inner.connections.lock().unwrap().push((stream, serving));
            }
        });
        Self {
            at,
            shared,
            listening: Some(listening),
        }
    }

    /// One that is always well.
    pub(crate) fn well() -> Self {
        Self::new(|_, _| Some(ok("well")))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    pub(crate) fn at(&self) -> SocketAddr {
        self.at
    }

    /// Requests that came whole.
    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Connections that came.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.lock().unwrap().len()
    }
}

/// A whole answer.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    answer(200, body)
}

pub(crate) fn answer(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn serve(
    mut stream: TcpStream,
    end: fn(&[u8]) -> Option<usize>,
    shared: &Shared,
    answer: &impl Fn(u64, &str) -> Option<Vec<u8>>,
) {
    let mut held = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        while let Some(end) = end(&held) {
            let request: Vec<u8> = held.drain(..end).collect();
            let number = shared.requests.fetch_add(1, Ordering::SeqCst) + 1;
            let text = String::from_utf8_lossy(&request);
            let written = match answer(number, &text) {
                Some(bytes) => stream.write_all(&bytes),
                None => Err(ErrorKind::BrokenPipe.into()),
            };
            if written.is_err() {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(count) => held.extend(&chunk[..count]),
        }
    }
}

/// Where the first request ends, with the body that its length says.
fn end_of_request(held: &[u8]) -> Option<usize> {
    let head = held.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&held[..head]).to_lowercase();
    let length = text.split("content-length:").nth(1);
    let length = length.map_or(0, |rest| {
        rest.split("\r\n").next().unwrap().trim().parse().unwrap()
    });
    (held.len() >= head + length).then_some(head + length)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // Wakes it up.
        drop(TcpStream::connect(self.at));
        let _ = self.listening.take().unwrap().join();
        let connections = std::mem::take(&mut *self.shared.connections.lock().unwrap());
        for (stream, serving) in connections {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = serving.join();
        }
    }
}
