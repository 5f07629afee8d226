//! Bytes and descriptors over the socket of a channel, on whichever side was built.

#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Command;
use std::{env, thread};

use procession_sys::{
    FdKind, Received, SendAgain, channel_pair, dev_null, fd_kind, forbid_handles, pipe_pair,
    receive, receive_plain, receive_waiting, send, send_again, send_vectored, send_waiting,
    set_nonblocking, small_channel_pair,
};
use rustix::io::FdFlags;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SocketFlags, SocketType,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Runs the test again in a process of its own, where it may change limits and
/// signals; true in there.
fn alone(test: &str) -> bool {
    if env::var_os("CHANNEL_TEST_ALONE").is_some() {
        return true;
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env("CHANNEL_TEST_ALONE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{}: {text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// Which file it is, whatever the number.
fn identity(fd: BorrowedFd<'_>) -> (u64, u64) {
    let stat = rustix::fs::fstat(fd).unwrap();
    (stat.st_dev, stat.st_ino)
}

fn receive_one(socket: &OwnedFd) -> (Vec<u8>, Vec<OwnedFd>) {
    let (mut buffer, mut handles) = ([0; 4096], Vec::new());
    let received = receive(socket.as_fd(), &mut buffer, &mut handles).unwrap();
    assert!(!received.lost_handles);
    (buffer[..received.bytes].to_vec(), handles)
}

fn bound_tcp() -> OwnedFd {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket
}

fn seqpacket() -> OwnedFd {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let pair = rustix::net::socketpair(family, kind, SocketFlags::empty(), None);
    pair.unwrap().0
}

/// One of each kind; what they depend on is kept open in the second list.
fn one_of_each() -> (Vec<(FdKind, OwnedFd)>, Vec<OwnedFd>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepted = listener.accept().unwrap().0;
    let path = env::temp_dir().join(format!("procession-sys-{}.sock", std::process::id()));
    let unix_listener = UnixListener::bind(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let (unix, unix_peer) = UnixStream::pair().unwrap();
    let (reader, writer) = pipe_pair().unwrap();
    let other = FdKind::Other;
    let mut all: Vec<(FdKind, OwnedFd)> = vec![
        (FdKind::TcpListener, listener.into()),
        (FdKind::TcpStream, stream.into()),
        (FdKind::TcpBound, bound_tcp()),
        (
            FdKind::Udp4,
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into(),
        ),
        (FdKind::UnixListener, unix_listener.into()),
        (FdKind::UnixStream, unix.into()),
        (FdKind::Fifo, reader),
        (
            other("unix datagram socket"),
            UnixDatagram::unbound().unwrap().into(),
        ),
        (other("unix seqpacket socket"), seqpacket()),
        (other("character device"), dev_null().unwrap()),
        (
            other("regular file"),
            File::open(env::current_exe().unwrap()).unwrap().into(),
        ),
        (
            other("directory"),
            File::open(env::temp_dir()).unwrap().into(),
        ),
    ];
    // Where there is IPv6.
    let udp6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).ok();
    all.extend(udp6.map(|udp| (FdKind::Udp6, udp.into())));
    #[cfg(target_os = "linux")]
    all.push((
        other("eventfd or other anonymous file"),
        rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).unwrap(),
    ));
    if cfg!(target_vendor = "apple") {
        all.retain(|(kind, _)| !matches!(kind, FdKind::TcpListener | FdKind::UnixListener));
    }
    (all, vec![accepted.into(), unix_peer.into(), writer])
}

#[test]
fn every_kind_is_told_and_arrives_as_itself() {
    let (all, _kept) = one_of_each();
    let (here, there) = channel_pair().unwrap();
    for (kind, fd) in all {
        assert_eq!(fd_kind(fd.as_fd()).unwrap(), kind);
        let message = kind.to_string();
        let sent = send(here.as_fd(), message.as_bytes(), Some(fd.as_fd())).unwrap();
        assert_eq!(sent, message.len());
        let (bytes, handles) = receive_one(&there);
        assert_eq!(bytes, message.as_bytes());
        let [handle] = &handles[..] else {
            panic!("{kind}: {handles:?}")
        };
        assert_eq!(fd_kind(handle.as_fd()).unwrap(), kind);
        assert_eq!(identity(handle.as_fd()), identity(fd.as_fd()), "{kind}");
        let flags = rustix::io::fcntl_getfd(handle).unwrap();
        assert_eq!(flags, FdFlags::CLOEXEC, "{kind}");
        assert_eq!(
            kind.node_takes(),
            !matches!(kind, FdKind::Other(_)),
            "{kind}"
        );
    }
}

#[test]
fn a_connection_cut_off_by_its_peer_still_counts_as_tcp() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepted = listener.accept().unwrap().0;
    let zero = Some(std::time::Duration::ZERO);
    rustix::net::sockopt::set_socket_linger(&accepted, zero).unwrap();
    drop(accepted);
    // The reset has arrived once the read says so.
    let error = (&stream).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(fd_kind(stream.as_fd()).unwrap(), FdKind::TcpBound);
}

#[test]
fn three_hundred_descriptors_on_their_way_arrive_in_order() {
    let (here, there) = channel_pair().unwrap();
    // Node's size holds some 170 of the smallest messages.
    rustix::net::sockopt::set_socket_send_buffer_size(&here, 1 << 20).unwrap();
    let mut expected = Vec::new();
    for number in 0..150_u8 {
        for end in <[OwnedFd; 2]>::from(pipe_pair().unwrap()) {
            expected.push((number, identity(end.as_fd())));
            assert_eq!(send(here.as_fd(), &[number], Some(end.as_fd())).unwrap(), 1);
        }
    }
    let mut seen = Vec::new();
    let (mut buffer, mut handles) = ([0; 4096], Vec::new());
    while seen.len() < expected.len() {
        let received = receive(there.as_fd(), &mut buffer, &mut handles).unwrap();
        assert!(!received.lost_handles);
        assert_eq!(received.bytes, handles.len());
        let arrived = handles.drain(..).map(|fd| identity(fd.as_fd()));
        seen.extend(buffer.into_iter().zip(arrived));
    }
    assert_eq!(seen, expected);
    let error = receive(there.as_fd(), &mut buffer, &mut handles).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

/// A peer of ours sends one a message; a hostile one sends all that the kernel lets it.
#[test]
fn as_many_as_one_message_can_hold_are_all_received() {
    let (here, there) = channel_pair().unwrap();
    let null = dev_null().unwrap();
    let many = [null.as_fd(); 253];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
    let pieces = [IoSlice::new(b"x")];
    let flags = rustix::net::SendFlags::empty();
    rustix::net::sendmsg(&here, &pieces, &mut control, flags).unwrap();
    assert_eq!(receive_one(&there).1.len(), many.len());
}

#[test]
fn a_full_socket_takes_message_and_handle_or_nothing() {
    let (here, there) = channel_pair().unwrap();
    let null = dev_null().unwrap();
    let mut sent = 0;
    let error = loop {
        match send(here.as_fd(), &[b'x'; 100], Some(null.as_fd())) {
            Ok(100) => sent += 1,
            other => break other.unwrap_err(),
        }
    };
    assert_eq!(send_again(&error), Some(SendAgain::Writable));
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(sent > 50, "{sent}");
    let (mut buffer, mut handles, mut bytes) = ([0; 4096], Vec::new(), 0);
    while bytes < 100 * sent {
        bytes += receive(there.as_fd(), &mut buffer, &mut handles)
            .unwrap()
            .bytes;
    }
    assert_eq!((bytes, handles.len()), (100 * sent, sent));
    assert_eq!(
        send(here.as_fd(), b"x", Some(null.as_fd())).unwrap(),
        1,
        "there is room again"
    );
}

#[test]
fn a_handle_goes_with_the_first_piece_of_a_long_message() {
    let (here, there) = channel_pair().unwrap();
    let null = dev_null().unwrap();
    let long = vec![b'x'; 1 << 20];
    let first = send(here.as_fd(), &long, Some(null.as_fd())).unwrap();
    assert!((1..long.len()).contains(&first), "{first}");
    let (mut buffer, mut handles) = (vec![0; 1 << 20], Vec::new());
    let received = receive(there.as_fd(), &mut buffer[..10], &mut handles).unwrap();
    assert_eq!((received.bytes, handles.len()), (10, 1));
    let mut left = first - 10;
    while left > 0 {
        left -= receive(there.as_fd(), &mut buffer, &mut handles)
            .unwrap()
            .bytes;
    }
    assert_eq!(handles.len(), 1);
}

#[test]
fn pieces_arrive_as_one() {
    let (here, there) = channel_pair().unwrap();
    let null = dev_null().unwrap();
    let pieces = [b"{\"a\":".as_slice(), b"1}", b"\n"].map(IoSlice::new);
    assert_eq!(send_vectored(here.as_fd(), &pieces, None).unwrap(), 8);
    assert_eq!(receive_one(&there).0, b"{\"a\":1}\n");
    let handle = Some(null.as_fd());
    assert_eq!(send_vectored(here.as_fd(), &pieces, handle).unwrap(), 8);
    let (bytes, handles) = receive_one(&there);
    assert_eq!((bytes.as_slice(), handles.len()), (&b"{\"a\":1}\n"[..], 1));
}

#[test]
fn without_room_for_descriptors_the_bytes_arrive_and_the_loss_is_told() {
    if !alone("without_room_for_descriptors_the_bytes_arrive_and_the_loss_is_told") {
        return;
    }
    let (here, there) = channel_pair().unwrap();
    let null = dev_null().unwrap();
    send(here.as_fd(), b"lost", Some(null.as_fd())).unwrap();
    let before = getrlimit(Resource::Nofile);
    // The next free number is at the limit or above: nothing can be opened.
    let free = rustix::io::fcntl_dupfd_cloexec(&null, 0).unwrap();
    let lowest = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&free)).unwrap();
    drop(free);
    let full = Rlimit {
        current: Some(lowest),
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, full).unwrap();
    let (mut buffer, mut handles) = ([0; 64], Vec::new());
    let received = receive(there.as_fd(), &mut buffer, &mut handles).unwrap();
    setrlimit(Resource::Nofile, before).unwrap();
    let expected = Received {
        bytes: 4,
        lost_handles: true,
    };
    assert_eq!((received, handles.len()), (expected, 0));
    send(here.as_fd(), b"kept", Some(null.as_fd())).unwrap();
    assert_eq!(receive_one(&there).1.len(), 1);
}

#[test]
fn a_reader_that_is_gone_is_an_error_and_no_signal() {
    if !alone("a_reader_that_is_gone_is_an_error_and_no_signal") {
        return;
    }
    // Not ignored, as in a program that is no Rust program: the signal would end us.
    // SAFETY: a disposition without a function.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let (here, there) = channel_pair().unwrap();
    let null = dev_null().unwrap();
    drop(there);
    for handle in [None, Some(null.as_fd())] {
        let error = send(here.as_fd(), b"x", handle).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
        assert_eq!(send_again(&error), None);
    }
    let error = send_waiting(here.as_fd(), &[IoSlice::new(b"x")]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
}

#[test]
fn a_passing_shortage_is_told_from_a_full_socket() {
    for errno in [libc::ENOBUFS, libc::ENOMEM, libc::ETOOMANYREFS] {
        let error = std::io::Error::from_raw_os_error(errno);
        assert_eq!(send_again(&error), Some(SendAgain::Later));
    }
    assert_eq!(send_again(&std::io::Error::other("not the system's")), None);
}

/// The kernel counts descriptors on their way by user, and spares the privileged.
#[test]
fn too_many_descriptors_on_their_way_pass_by_themselves() {
    if cfg!(target_vendor = "apple")
        || !alone("too_many_descriptors_on_their_way_pass_by_themselves")
    {
        return;
    }
    let (here, there) = channel_pair().unwrap();
    let null = dev_null().unwrap();
    // A user that nobody else is, so that only ours count.
    if rustix::process::geteuid().is_root() {
        // SAFETY: `setuid` takes any number; this process does nothing else after.
        assert_eq!(unsafe { libc::setuid(54_321) }, 0);
    }
    let few = Rlimit {
        current: Some(20),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, few).unwrap();
    let error = (0..2000)
        .find_map(|_| send(here.as_fd(), b"x", Some(null.as_fd())).err())
        .expect("it comes to an end");
    assert_eq!(error.raw_os_error(), Some(libc::ETOOMANYREFS));
    assert_eq!(send_again(&error), Some(SendAgain::Later));
    assert_eq!(receive_one(&there).1.len(), 1);
    assert_eq!(send(here.as_fd(), b"x", Some(null.as_fd())).unwrap(), 1);
}

#[test]
fn forbidden_handles_do_not_arrive() {
    let (here, there) = channel_pair().unwrap();
    let null = dev_null().unwrap();
    let took = forbid_handles(there.as_fd()).unwrap();
    assert!(!(took && cfg!(procession_portable)));
    let with_handle = send(here.as_fd(), b"x", Some(null.as_fd()));
    if took {
        assert_eq!(with_handle.unwrap_err().raw_os_error(), Some(libc::EPERM));
    } else {
        assert_eq!(receive_one(&there).1.len(), 1);
    }
    assert_eq!(send(here.as_fd(), b"y", None).unwrap(), 1);
    assert_eq!(receive_one(&there).0, b"y");
}

#[test]
fn a_plain_read_closes_what_came_along() {
    let (here, there) = channel_pair().unwrap();
    let (reader, writer) = pipe_pair().unwrap();
    send(here.as_fd(), b"x", Some(writer.as_fd())).unwrap();
    drop(writer);
    let mut buffer = [0; 10];
    assert_eq!(receive_plain(there.as_fd(), &mut buffer).unwrap(), 1);
    // The end: nobody has the other end of the pipe.
    assert_eq!(procession_sys::read(&reader, &mut buffer).unwrap(), 0);
    let error = receive_plain(there.as_fd(), &mut buffer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn waiting_reads_and_writes_wait_on_either_kind_of_socket() {
    let (here, there) = channel_pair().unwrap();
    let long = vec![b'x'; 3 << 20];
    for nonblocking in [false, true] {
        set_nonblocking(&there, nonblocking).unwrap();
        thread::scope(|scope| {
            let writer = scope.spawn(|| send_waiting(here.as_fd(), &[IoSlice::new(&long)]));
            let (mut buffer, mut handles, mut bytes) = (vec![0; 1 << 16], Vec::new(), 0);
            while bytes < long.len() {
                let received = receive_waiting(there.as_fd(), &mut buffer, &mut handles);
                bytes += received.unwrap().bytes;
            }
            assert_eq!(writer.join().unwrap().unwrap(), long.len());
        });
    }
    drop(here);
    let end = receive_waiting(there.as_fd(), &mut [0; 10], &mut Vec::new());
    assert_eq!(end.unwrap().bytes, 0);
}

#[test]
fn both_ends_are_closed_by_exec_and_have_their_buffers() {
    for (pair, asked) in [
        (channel_pair(), 208 * 1024),
        (small_channel_pair(), 64 * 1024),
    ] {
        let (here, there) = pair.unwrap();
        for end in [&here, &there] {
            assert_eq!(rustix::io::fcntl_getfd(end).unwrap(), FdFlags::CLOEXEC);
            let size = rustix::net::sockopt::socket_send_buffer_size(end).unwrap();
            assert!([asked, 2 * asked].contains(&size), "{size}");
            assert_eq!(fd_kind(end.as_fd()).unwrap(), FdKind::UnixStream);
        }
    }
}
