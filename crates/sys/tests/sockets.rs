//! Listening sockets with real connections, on whichever side was built.

#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession_sys::{
    FdKind, MOST_SHARES, PORTS_ARE_SHARED, PollFd, Share, TcpOptions, UdpOptions, UnixAccess,
    accept, accept_queue, bind_tcp, bind_udp, bind_unix, fd_kind, inherited_socket, listen,
    local_address, open_to_all, peek, poll, select_by,
};
use rustix::fs::OFlags;
use rustix::io::FdFlags;

const LIMIT: Option<Duration> = Some(Duration::from_secs(20));
const SHARED: TcpOptions = TcpOptions {
    reuse_port: true,
    ipv6_only: false,
};

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn address(socket: &OwnedFd) -> SocketAddr {
    local_address(socket).unwrap().unwrap()
}

fn listener(at: SocketAddr, options: TcpOptions) -> OwnedFd {
    let socket = bind_tcp(at, options).unwrap();
    listen(&socket, 511).unwrap();
    socket
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().unwrap().raw_os_error()
}

fn wait_readable(fd: BorrowedFd<'_>) {
    assert_eq!(poll(&mut [PollFd::readable(fd)], LIMIT).unwrap(), 1);
}

fn is_private_and_quick(fd: &OwnedFd) -> bool {
    let private = rustix::io::fcntl_getfd(fd)
        .unwrap()
        .contains(FdFlags::CLOEXEC);
    private
        && rustix::fs::fcntl_getfl(fd)
            .unwrap()
            .contains(OFlags::NONBLOCK)
}

/// A folder of its own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sockets-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A folder within whose path alone is longer than a socket's address.
    fn deep(&self) -> PathBuf {
        let deep = self.0.join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        deep
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_connection_is_accepted_with_its_address() {
    let server = listener(loopback(0), TcpOptions::default());
    assert!(is_private_and_quick(&server));
    assert_eq!(
        accept(&server).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    let mut client = TcpStream::connect(address(&server)).unwrap();
    wait_readable(server.as_fd());
    let (connection, peer) = accept(&server).unwrap();
    assert_eq!(peer, Some(client.local_addr().unwrap()));
    assert!(is_private_and_quick(&connection));
    client.write_all(b"x").unwrap();
    wait_readable(connection.as_fd());
    assert_eq!(
        accept(&server).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
}

#[test]
fn what_was_peeked_at_is_still_there() {
    let (mut client, server) = UnixStream::pair().unwrap();
    let mut buffer = [0; 8];
    // A blocking socket, and yet nobody waits.
    assert_eq!(
        peek(&server, &mut buffer).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    client.write_all(b"GET /").unwrap();
    for _ in 0..2 {
        assert_eq!(peek(&server, &mut buffer[..3]).unwrap(), 3);
        assert_eq!(&buffer[..3], b"GET");
    }
    assert_eq!((&server).read(&mut buffer).unwrap(), 5);
    drop(client);
    assert_eq!(peek(&server, &mut buffer).unwrap(), 0);
}

#[test]
fn a_port_that_is_taken_is_found_by_the_bind() {
    let server = listener(loopback(0), SHARED);
    let at = address(&server);
    assert_eq!(
        errno(bind_tcp(at, TcpOptions::default())),
        Some(libc::EADDRINUSE)
    );
    let second = bind_tcp(at, SHARED).unwrap();
    assert_eq!(address(&second), at);
    let alone = listener(loopback(0), TcpOptions::default());
    assert_eq!(
        errno(bind_tcp(address(&alone), SHARED)),
        Some(libc::EADDRINUSE)
    );
}

#[test]
fn a_port_that_is_taken_between_bind_and_listen_is_found_by_listen() {
    // SO_REUSEADDR alone lets both bind while nobody listens.
    let first = bind_tcp(loopback(0), TcpOptions::default()).unwrap();
    let second = bind_tcp(address(&first), TcpOptions::default()).unwrap();
    listen(&first, 1).unwrap();
    assert_eq!(errno(listen(&second, 1)), Some(libc::EADDRINUSE));
}

#[test]
fn an_address_that_just_served_can_be_bound_again() {
    let server = listener(loopback(0), TcpOptions::default());
    let at = address(&server);
    let mut client = TcpStream::connect(at).unwrap();
    wait_readable(server.as_fd());
    // The server closes first, so its side is the one that lingers.
    drop(accept(&server).unwrap());
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(client);
    drop(server);
    drop(listener(at, TcpOptions::default()));
}

#[test]
fn the_ipv6_wildcard_serves_ipv4_unless_told_otherwise() {
    let any = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let Ok(both) = bind_tcp(any(0), TcpOptions::default()) else {
        eprintln!("skipped: there is no IPv6 here");
        return;
    };
    listen(&both, 8).unwrap();
    let port = address(&both).port();
    let client = TcpStream::connect(loopback(port)).unwrap();
    wait_readable(both.as_fd());
    let (_connection, peer) = accept(&both).unwrap();
    let peer = peer.unwrap();
    assert_eq!(peer.ip().to_canonical(), Ipv4Addr::LOCALHOST);
    assert_eq!(peer.port(), client.local_addr().unwrap().port());

    let only = TcpOptions {
        ipv6_only: true,
        ..TcpOptions::default()
    };
    let only = listener(any(0), only);
    let port = address(&only).port();
    // The same port of IPv4 is free for others.
    let four = listener((Ipv4Addr::UNSPECIFIED, port).into(), TcpOptions::default());
    TcpStream::connect(loopback(port)).unwrap();
    wait_readable(four.as_fd());
    assert_eq!(accept(&only).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn datagrams_arrive_and_an_address_is_shared_when_both_ask() {
    let options = UdpOptions {
        reuse_address: true,
        ..UdpOptions::default()
    };
    let first = bind_udp(loopback(0), options).unwrap();
    let at = address(&first);
    assert!(is_private_and_quick(&first));
    assert_eq!(
        errno(bind_udp(at, UdpOptions::default())),
        Some(libc::EADDRINUSE)
    );
    let second = bind_udp(at, options).unwrap();
    assert_eq!(errno(listen(&second, 1)), Some(libc::EOPNOTSUPP));
    drop(second);
    let client = UdpSocket::bind(loopback(0)).unwrap();
    client.send_to(b"hello", at).unwrap();
    wait_readable(first.as_fd());
    let mut buffer = [0; 8];
    assert_eq!(UdpSocket::from(first).recv(&mut buffer).unwrap(), 5);
}

#[test]
fn a_udp_port_can_be_shared_by_reuse_port() {
    let options = UdpOptions {
        reuse_port: true,
        ..UdpOptions::default()
    };
    let first = bind_udp(loopback(0), options).unwrap();
    assert_eq!(
        errno(bind_udp(address(&first), UdpOptions::default())),
        Some(libc::EADDRINUSE)
    );
    drop(bind_udp(address(&first), options).unwrap());
}

#[test]
fn a_socket_file_is_bound_once_and_stays() {
    let folder = Folder::new("file");
    let path = folder.0.join("s.sock");
    let server = bind_unix(&path).unwrap();
    assert!(is_private_and_quick(&server));
    listen(&server, 8).unwrap();
    let client = UnixStream::connect(&path).unwrap();
    wait_readable(server.as_fd());
    let (connection, peer) = accept(&server).unwrap();
    assert_eq!(peer, None);
    assert_eq!(local_address(&connection).unwrap(), None);
    assert_eq!(errno(bind_unix(&path)), Some(libc::EADDRINUSE));
    drop((server, client));
    // Left by a dead server: removing it is for who knows that it is dead.
    assert_eq!(errno(bind_unix(&path)), Some(libc::EADDRINUSE));
    assert_eq!(errno(bind_unix(Path::new(""))), Some(libc::EINVAL));
    assert_eq!(errno(bind_unix(&folder.0.join("no/s"))), Some(libc::ENOENT));
}

/// Reaches a path of any length, as a client would by its working directory.
fn connect_long(path: &Path) -> io::Result<UnixStream> {
    let short = std::env::temp_dir().join(format!("to-{}", std::process::id()));
    std::os::unix::fs::symlink(path, &short)?;
    let connected = UnixStream::connect(&short);
    fs::remove_file(&short)?;
    connected
}

#[test]
fn a_path_of_any_length_is_bound() {
    let folder = Folder::new("long");
    let deep = folder.deep();
    let path = deep.join("s.sock");
    if !PORTS_ARE_SHARED {
        assert_eq!(errno(bind_unix(&path)), Some(libc::ENAMETOOLONG));
        return;
    }
    // The last one is too long even from its folder on.
    for path in [path, deep.join("n".repeat(200))] {
        let server = bind_unix(&path).unwrap();
        listen(&server, 8).unwrap();
        drop(connect_long(&path).unwrap());
        wait_readable(server.as_fd());
        accept(&server).unwrap();
        assert_eq!(errno(bind_unix(&path)), Some(libc::EADDRINUSE));
    }
    let name_too_long = deep.join("n".repeat(256));
    assert_eq!(errno(bind_unix(&name_too_long)), Some(libc::ENAMETOOLONG));
    // Nothing is left of the tries.
    assert_eq!(fs::read_dir(&deep).unwrap().count(), 2);
}

#[test]
fn a_name_without_a_file_is_bound_where_there_are_any() {
    let name = format!("\0sockets-{}", std::process::id());
    let path = Path::new(&name);
    if !PORTS_ARE_SHARED {
        assert_eq!(
            bind_unix(path).unwrap_err().kind(),
            io::ErrorKind::Unsupported
        );
        return;
    }
    let server = bind_unix(path).unwrap();
    listen(&server, 1).unwrap();
    assert_eq!(errno(bind_unix(path)), Some(libc::EADDRINUSE));
    let all = UnixAccess {
        readable_all: true,
        writable_all: true,
    };
    open_to_all(path, all).unwrap();
}

#[test]
fn permissions_are_added_and_none_taken_away() {
    let folder = Folder::new("mode");
    let path = folder.0.join("s.sock");
    let _server = bind_unix(&path).unwrap();
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    open_to_all(&path, UnixAccess::default()).unwrap();
    assert_eq!(mode(), 0o700);
    let readable = UnixAccess {
        readable_all: true,
        ..UnixAccess::default()
    };
    open_to_all(&path, readable).unwrap();
    assert_eq!(mode(), 0o744);
    let writable = UnixAccess {
        writable_all: true,
        ..UnixAccess::default()
    };
    open_to_all(&path, writable).unwrap();
    assert_eq!(mode(), 0o766);
}

#[test]
fn a_socket_known_by_its_number_is_shared() {
    let theirs = TcpListener::bind(loopback(0)).unwrap();
    let number = theirs.as_raw_fd().cast_unsigned();
    let (ours, kind) = inherited_socket(number).unwrap();
    assert_eq!(kind, FdKind::TcpListener);
    assert_ne!(ours.as_raw_fd(), theirs.as_raw_fd());
    assert!(is_private_and_quick(&ours));
    let _client = TcpStream::connect(theirs.local_addr().unwrap()).unwrap();
    drop(theirs);
    wait_readable(ours.as_fd());
    accept(&ours).unwrap();

    let folder = Folder::new("number");
    let unix = UnixListener::bind(folder.0.join("s")).unwrap();
    let (_, kind) = inherited_socket(unix.as_raw_fd().cast_unsigned()).unwrap();
    assert_eq!(kind, FdKind::UnixListener);
}

#[test]
fn a_number_that_is_no_socket_is_refused() {
    let file = fs::File::open("/dev/null").unwrap();
    let number = file.as_raw_fd().cast_unsigned();
    assert_eq!(errno(inherited_socket(number)), Some(libc::ENOTSOCK));
    assert_eq!(errno(inherited_socket(65_000)), Some(libc::EBADF));
    assert_eq!(errno(inherited_socket(u32::MAX)), Some(libc::EBADF));
}

#[test]
fn the_queue_of_a_listener_is_seen() {
    let server = bind_tcp(loopback(0), TcpOptions::default()).unwrap();
    if !PORTS_ARE_SHARED {
        assert_eq!(
            accept_queue(&server).unwrap_err().kind(),
            io::ErrorKind::Unsupported
        );
        return;
    }
    assert_eq!(errno(accept_queue(&server)), Some(libc::EINVAL));
    listen(&server, 37).unwrap();
    let at = address(&server);
    assert_eq!(fd_kind(server.as_fd()).unwrap(), FdKind::TcpListener);
    let clients: Vec<_> = (0..7).map(|_| TcpStream::connect(at).unwrap()).collect();
    wait_for_queue(&server, 7);
    assert_eq!(accept_queue(&server).unwrap().limit, 37);
    accept(&server).unwrap();
    wait_for_queue(&server, 6);
    listen(&server, 50).unwrap();
    assert_eq!(accept_queue(&server).unwrap().limit, 50);
    drop(clients);
    let (unix, _other) = UnixStream::pair().unwrap();
    assert_eq!(errno(accept_queue(&unix)), Some(libc::EOPNOTSUPP));
}

fn wait_for_queue(server: &OwnedFd, length: u32) {
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while accept_queue(server).unwrap().length != length {
        assert!(
            std::time::Instant::now() < end,
            "{:?}",
            accept_queue(server)
        );
        std::thread::yield_now();
    }
}

/// The sockets of one port, and how many connections each one got.
struct Group {
    at: SocketAddr,
    sockets: Vec<OwnedFd>,
}

impl Group {
    fn of(count: usize) -> Self {
        let first = listener(loopback(0), SHARED);
        let at = address(&first);
        let mut group = Self {
            at,
            sockets: vec![first],
        };
        for _ in 1..count {
            group.add();
        }
        group
    }

    fn add(&mut self) {
        self.sockets.push(listener(self.at, SHARED));
    }

    fn select(&self, shares: &[(u32, u32)]) {
        let shares: Vec<_> = shares
            .iter()
            .map(|&(index, weight)| Share { index, weight })
            .collect();
        select_by(&self.sockets[0], &shares).unwrap();
    }

    /// Connects `count` times and says how many each socket got.
    fn connections(&self, count: usize) -> Vec<usize> {
        let mut got = vec![0; self.sockets.len()];
        for _ in 0..count {
            let _client = TcpStream::connect(self.at).unwrap();
            let mut fds: Vec<_> = self
                .sockets
                .iter()
                .map(|socket| PollFd::readable(socket.as_fd()))
                .collect();
            assert_eq!(poll(&mut fds, LIMIT).unwrap(), 1);
            let winner = fds.iter().position(|fd| fd.ready).unwrap();
            accept(&self.sockets[winner]).unwrap();
            got[winner] += 1;
        }
        got
    }
}

#[test]
fn connections_go_where_the_shares_say() {
    if !PORTS_ARE_SHARED {
        let server = listener(loopback(0), SHARED);
        let share = [Share {
            index: 0,
            weight: 1,
        }];
        let error = select_by(&server, &share).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        return;
    }
    let mut group = Group::of(4);
    group.select(&[(2, 1)]);
    assert_eq!(group.connections(400), [0, 0, 400, 0]);
    // Replaced at any time.
    group.select(&[(0, 7)]);
    assert_eq!(group.connections(100), [100, 0, 0, 0]);
    // Weights hold roughly: nobody is sent 0, and 1 : 3 is far from 1 : 1.
    group.select(&[(1, 1), (0, 0), (3, 3)]);
    let got = group.connections(800);
    assert_eq!((got[0], got[2]), (0, 0), "{got:?}");
    assert!((120..=280).contains(&got[1]), "{got:?}");
    // A socket that listens later has the next index.
    group.add();
    group.select(&[(4, 1)]);
    assert_eq!(group.connections(100), [0, 0, 0, 0, 100]);
    // One beyond the end: the kernel's choice, but nobody is refused.
    group.select(&[(9, 1)]);
    assert_eq!(group.connections(100).iter().sum::<usize>(), 100);
}

#[test]
fn the_last_socket_takes_the_index_of_one_that_closes() {
    if !PORTS_ARE_SHARED {
        return;
    }
    let mut group = Group::of(4);
    group.select(&[(1, 1)]);
    // The last one moves to its place, in the kernel and here.
    drop(group.sockets.swap_remove(1));
    assert_eq!(group.connections(50), [0, 50, 0]);
}

#[test]
fn as_many_shares_as_are_allowed_and_no_nonsense() {
    if !PORTS_ARE_SHARED {
        return;
    }
    let group = Group::of(3);
    let socket = &group.sockets[0];
    let most = u32::try_from(MOST_SHARES).unwrap();
    let many: Vec<_> = (0..most).map(|n| (n % 3, n + 1)).collect();
    group.select(&many);
    assert!(group.connections(300).iter().all(|got| *got > 30));
    let share = |index, weight| Share { index, weight };
    let too_many = vec![share(0, 1); MOST_SHARES + 1];
    for wrong in [
        &[][..],
        &[share(1, 0)],
        &[share(0, u32::MAX), share(1, 1)],
        &too_many,
    ] {
        assert_eq!(errno(select_by(socket, wrong)), Some(libc::EINVAL));
    }
    group.select(&[(0, u32::MAX - 1), (1, 1)]);
    assert!(group.connections(50)[0] >= 49);
    let alone = listener(loopback(0), TcpOptions::default());
    assert_eq!(errno(select_by(&alone, &[share(0, 1)])), Some(libc::EINVAL));
}
