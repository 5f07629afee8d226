//! How a server is reached: by a Unix socket, a name; and the other protocol.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use procession_load::{Class, Protocol, Spec, Target, Via};
use procession_testkit::leaks::Oracle;
use tokio::runtime::Builder;

use crate::server::{GOOD, LONG, Server, requests, run};

#[test]
fn a_unix_socket_is_as_good_as_a_port() {
    let oracle = Oracle::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        while let Ok(1..) = client.read(&mut buffer) {
            client.write_all(GOOD).unwrap();
        }
    });
    let mut spec = Spec::new(Target::parse(&format!("unix:{}", path.display())).unwrap());
    (spec.connections, spec.until) = (1, requests(50));
    let report = run(spec);
    assert_eq!(
        (report.answers, report.socket_path),
        (50, Some(path.display().to_string()))
    );
    server.join().unwrap();
    fs::remove_dir_all(folder).unwrap();
    oracle.check();
}

/// A full queue is waited for, as the kernel does with TCP.
#[test]
fn a_unix_socket_that_accepts_nothing_is_too_slow() {
    let oracle = Oracle::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    let listener = runtime.block_on(async {
        let socket = tokio::net::UnixSocket::new_stream().unwrap();
        socket.bind(&path).unwrap();
        socket.listen(1).unwrap()
    });
    let mut spec = Spec::new(Target::parse(&format!("unix:{}", path.display())).unwrap());
    // Two find room in the queue, and are not answered.
    (spec.connections, spec.until) = (6, requests(6));
    spec.timeout = Duration::from_millis(200);
    let report = run(spec);
    let lost = [Class::TimedOut, Class::Hung].map(|class| report.failed(class));
    assert_eq!((lost, report.connected), ([4, 2], 2), "{report:#?}");
    drop((listener, runtime));
    fs::remove_dir_all(folder).unwrap();
    oracle.check();
}

/// Who does not read takes no more after a while; the rest waits here.
#[test]
fn who_does_not_read_is_hung() {
    let oracle = Oracle::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let mut spec = Spec::new(Target::parse(&url).unwrap());
    spec.protocol = Protocol::Echo;
    spec.requests[0].body = vec![0; 16 << 20].into();
    (spec.connections, spec.pipelining) = (1, 2);
    (spec.until, spec.timeout) = (requests(2), Duration::from_millis(200));
    assert_eq!(run(spec).failed(Class::Hung), 2);
    drop(listener);
    oracle.check();
}

/// `localhost` is `::1` and `127.0.0.1`, and this server listens at one of them.
#[test]
fn all_addresses_of_a_name_are_tried() {
    let oracle = Oracle::start();
    let server = Server::good();
    let mut spec = server.spec();
    spec.targets[0].via = Via::Name("localhost".into(), server.address.port());
    spec.until = requests(20);
    assert_eq!(run(spec).answers, 20);
    drop(server);
    oracle.check();
}

#[test]
fn an_echo_is_as_many_bytes_and_the_same() {
    let oracle = Oracle::start();
    // More than the kernel takes at once.
    let body: Vec<u8> = (0..8_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    for (spoiled, wrong) in [(false, 0), (true, 4)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || echo(listener.accept().unwrap().0, spoiled));
        let mut spec = Spec::new(Target::parse(&url).unwrap());
        spec.protocol = Protocol::Echo;
        spec.requests[0].body = body.clone().into();
        (spec.connections, spec.pipelining) = (1, 2);
        (spec.until, spec.timeout) = (requests(4), LONG);
        let report = run(spec);
        assert_eq!(
            (report.answers, report.failed(Class::Mismatch)),
            (4, wrong),
            "{report:#?}"
        );
        assert_eq!(report.bytes, 4 * 8_000_000);
        server.join().unwrap();
    }
    oracle.check();
}

fn echo(mut client: TcpStream, spoiled: bool) {
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut buffer = vec![0; 100_000];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        if spoiled {
            buffer[..length].fill(0xff);
        }
        client.write_all(&buffer[..length]).unwrap();
    }
}
