//! Against servers that do one thing wrong each.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};

use super::*;

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\npid 7";

/// A server of one thread that does this with each connection, until it is dropped.
struct Server {
    at: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(serve: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            for connection in listener.incoming() {
                if seen.load(Ordering::SeqCst) {
                    return;
                }
                serve(connection.unwrap());
            }
        });
        Self {
            at,
            stopped,
            thread: Some(thread),
        }
    }

    /// One connection at a time, to a server that serves one after the other.
    fn load(&self) -> Load {
        let mut load = Load::new(self.at);
        load.connections = 1;
        load
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.at));
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Reads a request and answers with these bytes.
fn answer(mut connection: &TcpStream, bytes: &[u8]) -> bool {
    let mut request = [0; 1024];
    let length = connection.read(&mut request).unwrap();
    if length > 0 {
        connection.write_all(bytes).unwrap();
    }
    length > 0
}

#[test]
fn answers_are_counted_by_pid() {
    let server = Server::start(|connection| {
        answer(&connection, WHOLE);
    });
    let report = server.load().requests(25);
    assert_eq!((report.answers(), report.failures()), (25, 0), "{report}");
    assert_eq!(report.by_pid[&7].count(), 25);
    assert_eq!(report.connections[&7], 25);
    assert!((report.balance(&[7]) - 1.0).abs() < f64::EPSILON);
    assert!(report.balance(&[7, 8]).is_infinite());
}

#[test]
fn a_kept_connection_is_used_again() {
    let server = Server::start(|connection| while answer(&connection, WHOLE) {});
    let mut load = server.load();
    load.connection = Connection::KeepAlive;
    let report = load.requests(25);
    assert_eq!((report.answers(), report.failures()), (25, 0), "{report}");
    assert_eq!(report.connections[&7], 1);
}

#[test]
fn a_kept_connection_that_the_server_closes_is_stale() {
    let server = Server::start(|connection| {
        answer(&connection, WHOLE);
    });
    let mut load = server.load();
    load.connection = Connection::KeepAlive;
    let report = load.requests(10);
    assert_eq!(
        (report.answers(), report.count(Failure::Stale)),
        (5, 5),
        "{report}"
    );
}

#[test]
fn failures_are_kept_apart() {
    let half = &WHOLE[..WHOLE.len() - 1];
    let cases: [(&[u8], Failure); 4] = [
        (b"", Failure::Ended),
        (half, Failure::Half),
        (
            b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
            Failure::Status(503),
        ),
        (b"220 smtp ready\r\n", Failure::NotHttp),
    ];
    for (bytes, wanted) in cases {
        let server = Server::start(move |connection| {
            answer(&connection, bytes);
        });
        let report = server.load().requests(3);
        assert_eq!((report.answers(), report.count(wanted)), (0, 3), "{report}");
        assert_eq!(report.failures(), 3, "{report}");
    }
}

#[test]
fn a_half_answer_tells_of_whom() {
    let server = Server::start(|connection| {
        answer(
            &connection,
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npid 4711",
        );
    });
    let report = server.load().requests(1);
    let lost = report.lost[0];
    assert_eq!((lost.failure, lost.pid), (Failure::Half, Some(4711)));
    assert!(lost.after <= report.took && lost.at <= report.took);
}

#[test]
fn a_reset_is_no_end() {
    // Closed with the request unread, a connection is reset.
    let server = Server::start(|connection| {
        connection.peek(&mut [0]).unwrap();
    });
    let report = server.load().requests(3);
    assert_eq!(report.count(Failure::Reset), 3, "{report}");
}

#[test]
fn nobody_listens() {
    let at = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let report = Load::new(at).requests(20);
    assert_eq!(
        (report.count(Failure::Refused), report.failures()),
        (20, 20)
    );
}

#[test]
fn what_is_never_answered_hangs_for_the_limit_only() {
    let server = Server::start(|connection| {
        // Until the client gives up.
        while (&connection).read(&mut [0; 1024]).is_ok_and(|it| it > 0) {}
        let _ = connection.shutdown(Shutdown::Both);
    });
    let mut load = server.load();
    load.limit = Duration::from_millis(30);
    let report = load.requests(2);
    assert_eq!(report.count(Failure::Hung), 2, "{report}");
    assert!(report.lost.iter().all(|it| it.after >= load.limit));
}

#[test]
fn a_running_load_ends_when_told() {
    let server = Server::start(|connection| {
        answer(&connection, WHOLE);
    });
    let running = server.load().start();
    crate::wait::until("answers", || (running.answered() > 10).then_some(()));
    let report = running.finish();
    assert!(report.answers() > 10 && report.failures() == 0, "{report}");
}

#[test]
fn the_pace_is_kept() {
    let server = Server::start(|connection| {
        answer(&connection, WHOLE);
    });
    let mut load = server.load();
    load.every = Duration::from_millis(10);
    let report = load.requests(5);
    assert!(report.took >= Duration::from_millis(40), "{report}");
}
