//! What a channel refuses to send: with Node's code, and what was to travel still open.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;

use procession::ipc::{Channel, Handle, SendError, Serialization, blocking};
use rustix::fs::fstat;

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Node would abort on these, or take no other descriptor after them.
#[test]
fn a_descriptor_that_cannot_travel_comes_back_open() {
    let file = tempfile::tempfile().unwrap();
    let (one, other) = UnixDatagram::pair().unwrap();
    let refused: [(&str, OwnedFd); 4] = [
        ("regular file", file.into()),
        ("character device", File::open("/dev/null").unwrap().into()),
        ("directory", File::open("/").unwrap().into()),
        ("unix datagram socket", one.into()),
    ];
    for (kind, fd) in refused {
        let is = fstat(&fd).unwrap();
        let error = Handle::try_from(fd).unwrap_err();
        assert_eq!(error.node_code(), Some("ERR_INVALID_HANDLE_TYPE"));
        assert_eq!(
            error.to_string(),
            format!("a {kind} cannot travel with a message")
        );
        let still = fstat(error.fd.as_fd()).unwrap();
        assert_eq!((is.st_dev, is.st_ino), (still.st_dev, still.st_ino));
    }
    drop(other);
}

/// A message that is nothing, or one number beyond all others.
fn refuse(mut send: impl FnMut(Option<u64>) -> SendError) {
    for (message, code) in [
        (None, "ERR_MISSING_ARGS"),
        (Some(u64::MAX), "ERR_INVALID_ARG_TYPE"),
    ] {
        let error = send(message);
        assert!(matches!(error, SendError::Encode { .. }), "{error:?}");
        assert_eq!(error.node_code(), Some(code));
    }
}

#[tokio::test]
async fn a_value_that_node_refuses_is_an_error_and_the_channel_goes_on() {
    let (one, mut other) = Channel::pair(Serialization::Advanced).unwrap();
    refuse(|message| one.tx.try_send(&message).unwrap_err());
    refuse(|message| {
        let error = one.tx.try_send_with_handle(&message, listener());
        error.unwrap_err()
    });
    let listener = listener();
    let at = listener.local_addr().unwrap();
    let error = one.tx.send_with_handle(&None::<u64>, listener).await;
    let Some(Handle::TcpListener(listener)) = error.unwrap_err().into_handle() else {
        panic!("it comes back")
    };
    assert_eq!(listener.local_addr().unwrap(), at);
    // Inside of another it may be.
    one.tx.send(&[u64::MAX]).await.unwrap();
    let message = other.rx.recv().await.unwrap().unwrap();
    assert_eq!(message.decode::<[u64; 1]>().unwrap(), [u64::MAX]);
}

#[test]
fn the_same_without_a_runtime() {
    let (mut one, mut other) = blocking::Channel::pair(Serialization::Advanced).unwrap();
    refuse(|message| one.send(&message).unwrap_err());
    let error = one.send_with_handle(&None::<u64>, listener()).unwrap_err();
    assert!(matches!(error.into_handle(), Some(Handle::TcpListener(_))));
    one.send(&1).unwrap();
    assert_eq!(other.recv().unwrap().unwrap().decode::<u8>().unwrap(), 1);
}

#[tokio::test]
async fn a_closed_channel_gives_the_socket_back() {
    let (one, other) = Channel::pair(Serialization::Json).unwrap();
    other.disconnect().await;
    one.tx.cancel_signal().cancelled().await;
    let listener = listener();
    let at = listener.local_addr().unwrap();
    let error = one.tx.send_with_handle("?", listener).await.unwrap_err();
    assert_eq!(error.node_code(), Some("ERR_IPC_CHANNEL_CLOSED"));
    let Some(Handle::TcpListener(listener)) = error.into_handle() else {
        panic!("it comes back")
    };
    // It still listens.
    let mut client = std::net::TcpStream::connect(at).unwrap();
    let (mut served, _) = listener.accept().unwrap();
    client.write_all(b"!").unwrap();
    let mut byte = [0];
    served.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"!");
}
