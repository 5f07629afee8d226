//! Children that do not keep to the channel's rules, for `tests/hostile.rs`.

use std::io::{ErrorKind, Write as _};
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};

use procession::ipc::Serialization;
use procession_sys::{InheritedChannel, PollFd};
use rustix::event::{EventfdFlags, eventfd};

use crate::side::Failure;

/// Of each kind.
const DESCRIPTORS: usize = 2_000;
const STORM: usize = 2_000_000;
const DEEP: usize = 2_000_000;
const ENDLESS: usize = 200_000_000;
const UNASKED: usize = 200_000;

/// What is written at once.
const PIECE: usize = 64 * 1024;

/// Does its worst until all is said or nobody listens any more.
pub(crate) fn attack(kind: &str) -> Result<(), Failure> {
    let inherited = InheritedChannel::take()?.ok_or("no channel")?;
    let mode = inherited.serialization.unwrap_or_default();
    let serialization = Serialization::from_name(&mode).ok_or("no serialization")?;
    let mut channel = UnixStream::from(inherited.fd);
    let done = match kind {
        "garbage" => channel.write_all(&garbage()),
        "receipts" => receipts(&mut channel, serialization),
        "descriptors" => descriptors(&channel, serialization),
        "endless" => repeat(&mut channel, b"x", ENDLESS),
        "claims" => channel.write_all(b"\xff\xff\xff\xff\xff\x0f"),
        "deep" => deep(&mut channel, serialization),
        "storm" => storm(&mut channel, serialization),
        "asks" => asks(&mut channel, serialization),
        "never-reads" => never(),
        _ => return Err(format!("no attack {kind}").into()),
    };
    match done {
        // The other side has had enough.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
            ) =>
        {
            Ok(())
        }
        done => Ok(done?),
    }
}

/// Until the parent ends it.
fn never() -> std::io::Result<()> {
    loop {
        std::thread::park();
    }
}

/// The same in every run: xorshift.
fn garbage() -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..1_000_000).map(|_| next()).collect()
}

/// A message of one piece, as it is framed.
fn frame(serialization: Serialization, json: &str, advanced: &[u8]) -> Vec<u8> {
    match serialization {
        Serialization::Json => format!("{json}\n").into_bytes(),
        Serialization::Advanced => {
            let body = [b"\xff\x0f", advanced].concat();
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
            [&length.to_be_bytes()[..], &body].concat()
        }
    }
}

fn fine(serialization: Serialization) -> Vec<u8> {
    frame(serialization, "\"fine\"", b"\"\x04fine")
}

fn repeat(channel: &mut UnixStream, message: &[u8], times: usize) -> std::io::Result<()> {
    let at_once = (PIECE / message.len()).max(1);
    let piece = message.repeat(at_once);
    for _ in 0..times / at_once {
        channel.write_all(&piece)?;
    }
    channel.write_all(&message.repeat(times % at_once))
}

fn receipts(channel: &mut UnixStream, serialization: Serialization) -> std::io::Result<()> {
    for cmd in ["NODE_HANDLE_ACK", "NODE_HANDLE_NACK"] {
        let (json, advanced) = internal(cmd, "");
        repeat(channel, &frame(serialization, &json, &advanced), UNASKED)?;
    }
    channel.write_all(&fine(serialization))
}

/// `{cmd}` and `{cmd, key}`.
fn internal(cmd: &str, key: &str) -> (String, Vec<u8>) {
    let mut text = format!(r#"{{"cmd":"{cmd}""#);
    let mut bytes = b"o\"\x03cmd\"".to_vec();
    let put = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend(u8::try_from(text.len()));
        bytes.extend_from_slice(text.as_bytes());
    };
    put(&mut bytes, cmd);
    if key.is_empty() {
        bytes.extend(b"{\x01");
    } else {
        text += &format!(r#","key":"{key}""#);
        bytes.extend(b"\"\x03key\"");
        put(&mut bytes, key);
        bytes.extend(b"{\x02");
    }
    (text + "}", bytes)
}

/// Asks without end, and reads no answer.
fn asks(channel: &mut UnixStream, serialization: Serialization) -> std::io::Result<()> {
    let (json, advanced) = internal("NODE_SOCKET_GET_COUNT", &"k".repeat(100));
    repeat(channel, &frame(serialization, &json, &advanced), STORM)
}

/// With messages that want none: of every kind that there is.
fn descriptors(channel: &UnixStream, serialization: Serialization) -> std::io::Result<()> {
    let message = frame(serialization, "1", b"I\x02");
    let file = std::fs::File::open("/proc/self/exe")?;
    let null = std::fs::File::open("/dev/null")?;
    let udp = UdpSocket::bind("127.0.0.1:0")?;
    let tcp = std::net::TcpListener::bind("127.0.0.1:0")?;
    let event = eventfd(0, EventfdFlags::empty())?;
    let datagram = UnixDatagram::unbound()?;
    let (pipe, _writer) = std::io::pipe()?;
    let (carrier, _end) = carrier()?;
    let all: [BorrowedFd<'_>; 8] = [
        file.as_fd(),
        null.as_fd(),
        udp.as_fd(),
        tcp.as_fd(),
        event.as_fd(),
        datagram.as_fd(),
        pipe.as_fd(),
        carrier.as_fd(),
    ];
    for _ in 0..DESCRIPTORS {
        for fd in all {
            send_whole(channel, &message, fd)?;
        }
    }
    let mut channel = channel;
    channel.write_all(&fine(serialization))
}

/// Waits where the library would do something else.
fn send_whole(channel: &UnixStream, message: &[u8], fd: BorrowedFd<'_>) -> std::io::Result<()> {
    let (mut rest, mut fd) = (message, Some(fd));
    while !rest.is_empty() {
        match procession_sys::send(channel.as_fd(), rest, fd) {
            Ok(sent) => (rest, fd) = (&rest[sent..], None),
            Err(error) if procession_sys::send_again(&error).is_some() => {
                procession_sys::poll(&mut [PollFd::writable(channel.as_fd())], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A socket with descriptors in it.
fn carrier() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = UnixStream::pair()?;
    let inside = std::fs::File::open("/dev/null")?;
    for _ in 0..16 {
        procession_sys::send(other.as_fd(), b"x", Some(inside.as_fd()))?;
    }
    Ok((one.into(), other.into()))
}

/// Arrays in arrays.
fn deep(channel: &mut UnixStream, serialization: Serialization) -> std::io::Result<()> {
    match serialization {
        Serialization::Json => {
            repeat(channel, b"[", DEEP)?;
            repeat(channel, b"]", DEEP)?;
            channel.write_all(b"\n")
        }
        Serialization::Advanced => {
            let body = [&b"A\x01".repeat(DEEP)[..], b"_", &b"$\0\x01".repeat(DEEP)].concat();
            channel.write_all(&frame(serialization, "", &body))
        }
    }
}

fn storm(channel: &mut UnixStream, serialization: Serialization) -> std::io::Result<()> {
    repeat(channel, &frame(serialization, "1", b"I\x02"), STORM)?;
    channel.write_all(&fine(serialization))
}
