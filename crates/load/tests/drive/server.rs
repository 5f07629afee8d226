//! Small servers that do what a script says, and count for themselves.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use procession_load::{Report, Spec, Target, Until, start};

/// An answer of a server that does well.
pub(crate) const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Far more than a test takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// What a server has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicU64,
    pub(crate) requests: AtomicU64,
    /// Requests on the connection that had most of them.
    pub(crate) most_on_one: AtomicU64,
}

/// One client of a server.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// How many came before it.
    pub(crate) number: u64,
    seen: Arc<Seen>,
    requests: u64,
    waiting: Vec<u8>,
}

impl Client {
    /// Reads the next request without a body; false at the end.
    pub(crate) fn request(&mut self) -> bool {
        loop {
            if let Some(end) = self.waiting.windows(4).position(|four| four == b"\r\n\r\n") {
                self.waiting.drain(..end + 4);
                self.requests += 1;
                self.seen.requests.fetch_add(1, Ordering::SeqCst);
                self.seen
                    .most_on_one
                    .fetch_max(self.requests, Ordering::SeqCst);
                return true;
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => return false,
                Ok(length) => self.waiting.extend_from_slice(&buffer[..length]),
            }
        }
    }

    /// How many requests it made.
    pub(crate) fn asked(&self) -> u64 {
        self.requests
    }

    /// Sends; the client may be gone.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Blocks until the client closes, and counts nothing of what it says.
    pub(crate) fn ignore(&mut self) {
        let _ = io::copy(&mut self.stream, &mut io::sink());
    }
}

/// A server with a thread for each client. Dropped, it is gone with all of them.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    over: Arc<AtomicBool>,
    clients: Arc<Mutex<Vec<TcpStream>>>,
    accepts: Option<JoinHandle<()>>,
}

impl Server {
    /// Each client is served by `serve`, and is closed when that returns.
    pub(crate) fn start(serve: impl Fn(Client) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            over: Arc::default(),
            clients: Arc::default(),
            accepts: None,
        };
        let (seen, over) = (Arc::clone(&server.seen), Arc::clone(&server.over));
        let (clients, serve) = (Arc::clone(&server.clients), Arc::new(serve));
        let accepts = thread::spawn(move || {
            let mut threads = Vec::new();
            while let Ok((stream, _)) = listener.accept() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                stream.set_nodelay(true).unwrap();
                clients.lock().unwrap().push(stream.try_clone().unwrap());
                let client = Client {
                    stream,
                    number: seen.connections.fetch_add(1, Ordering::SeqCst),
                    seen: Arc::clone(&seen),
                    requests: 0,
                    waiting: Vec::new(),
                };
                let serve = Arc::clone(&serve);
                threads.push(thread::spawn(move || {
                    let stream = client.stream.try_clone().unwrap();
                    serve(client);
                    let _ = stream.shutdown(Shutdown::Both);
                }));
            }
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        });
        server.accepts = Some(accepts);
        server
    }

    /// Answers all requests well.
    pub(crate) fn good() -> Self {
        Self::start(|mut client| while client.request() && client.send(GOOD) {})
    }

    pub(crate) fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> u64 {
        // One that wakes `accept` at the end is not counted.
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn most_on_one(&self) -> u64 {
        self.seen.most_on_one.load(Ordering::SeqCst)
    }

    pub(crate) fn target(&self) -> Target {
        target(self.address)
    }

    /// A load of this server, with short time-outs.
    pub(crate) fn spec(&self) -> Spec {
        let mut spec = Spec::new(self.target());
        spec.until = Until::Elapsed(Duration::from_millis(300));
        spec.sample = Duration::from_millis(100);
        spec.timeout = LONG;
        spec
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        for client in self.clients.lock().unwrap().iter() {
            let _ = client.shutdown(Shutdown::Both);
        }
        if let Some(accepts) = self.accepts.take() {
            let joined = accepts.join();
            if !thread::panicking() {
                joined.unwrap();
            }
        }
    }
}

pub(crate) fn target(address: SocketAddr) -> Target {
    Target::parse(&format!("http://{address}/")).unwrap()
}

pub(crate) fn requests(count: u64) -> Until {
    Until::Requests(NonZeroU64::new(count).unwrap())
}

/// Runs it, and checks what holds for every report.
pub(crate) fn run(spec: Spec) -> Report {
    let report = start(spec).unwrap().report_blocking();
    check(&report);
    report
}

/// What holds for every report.
pub(crate) fn check(report: &Report) {
    assert_eq!(
        report.sent,
        report.answers + report.lost() + report.unfinished,
        "{report:#?}"
    );
    assert_eq!(report.statuses.values().sum::<u64>(), report.answers);
    let answers: u64 = report.samples.iter().map(|sample| sample.answers).sum();
    assert_eq!(answers, report.answers);
    let lasts: Duration = report.samples.iter().map(|sample| sample.lasts).sum();
    assert_eq!(lasts, report.duration);
    assert_eq!(
        report.samples.last().map(|sample| sample.at),
        Some(report.duration)
    );
    for (class, seen) in &report.failures {
        assert!(
            seen.first <= seen.last && !seen.example.is_empty(),
            "{seen:?}"
        );
        let counts = report
            .samples
            .iter()
            .filter_map(|sample| sample.failures.get(class));
        assert_eq!(counts.sum::<u64>(), seen.count, "{class:?}");
    }
}
