//! Peers that do not keep to the rules: wrong descriptors, memory that is not sealed,
//! rubbish instead of messages. Whoever meets one says so, and goes on with the others.

use std::io::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use procession::ipc::{Blob, Handle, MemoryError, ReceiveError};
use procession::worker_threads::locks::Mode;
use procession::worker_threads::process::{
    BroadcastChannel, DetachedPort, Hub, HubError, RecvError, SharedArrayBuffer,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::support::scene;

const BLOB: &[u8; 8] = b"PRCSN\x01\0b";
const CELLS: &[u8; 8] = b"PRCSN\x01\0c";

/// An envelope as a hostile peer makes it.
fn envelope(label: &[u8], inside: &[OwnedFd]) -> Handle {
    let (outside, ours) = UnixStream::pair().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<_> = inside.iter().map(|fd| fd.as_fd()).collect();
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    }
    let pieces = [std::io::IoSlice::new(label)];
    rustix::net::sendmsg(&ours, &pieces, &mut control, SendFlags::empty()).unwrap();
    Handle::UnixStream(outside)
}

fn pipe() -> OwnedFd {
    std::io::pipe().unwrap().0.into()
}

fn said<T>(result: Result<T, MemoryError>) -> String {
    match result {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_handle_that_is_no_memory_comes_back_as_it_was() {
    scene(async |_| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"hello and more").unwrap();
        let error = Blob::from_handle(ours.into(), 100).unwrap_err();
        assert_eq!(error.to_string(), "the handle is no blob");
        let MemoryError::Other { handle, .. } = error else {
            panic!("{error:?}");
        };
        let mut word = [0; 5];
        std::io::Read::read_exact(&mut UnixStream::from(handle.into_fd()), &mut word).unwrap();
        assert_eq!(&word, b"hello");
        let no_cells = "the handle is no shared array buffer";
        for handle in [
            envelope(b"PRC", &[]),
            envelope(CELLS, &[]),
            Handle::Pipe(pipe()),
            Blob::new(b"1234").unwrap().to_handle().unwrap(),
        ] {
            assert_eq!(said(SharedArrayBuffer::from_handle(handle, 100)), no_cells);
        }
    });
}

#[test]
fn a_descriptor_that_is_no_memory_is_closed() {
    scene(async |_| {
        let no_memory = "a pipe is no shared memory";
        let blob = envelope(BLOB, &[pipe()]);
        assert_eq!(said(Blob::from_handle(blob, 100)), no_memory);
        // Of two that came at once one is looked at; none stays open.
        let cells = envelope(CELLS, &[pipe(), pipe()]);
        assert_eq!(said(SharedArrayBuffer::from_handle(cells, 100)), no_memory);
        let blob = Blob::new(b"12345").unwrap().to_handle().unwrap();
        assert_eq!(
            said(Blob::from_handle(blob, 4)),
            "shared memory of 5 bytes is above the limit of 4"
        );
    });
}

#[cfg(not(procession_portable))]
#[test]
fn memory_that_is_not_sealed_is_not_mapped() {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let memory = |bytes: &[u8], seals: SealFlags| {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = memfd_create(c"hostile", flags).unwrap();
        rustix::io::write(&fd, bytes).unwrap();
        fcntl_add_seals(&fd, seals).unwrap();
        fd
    };
    let size = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    scene(async |_| {
        let blob = |fd| said(Blob::from_handle(envelope(BLOB, &[fd]), 100));
        let cells = |fd| said(SharedArrayBuffer::from_handle(envelope(CELLS, &[fd]), 100));
        assert_eq!(blob(memory(b"1234", size | SealFlags::WRITE)), "taken");
        assert_eq!(cells(memory(b"1234", size)), "taken");
        let unsealed =
            |against: &str| format!("shared memory that is not sealed against {against}");
        assert_eq!(blob(memory(b"1234", size)), unsealed("being written to"));
        assert_eq!(
            cells(memory(b"1234", SealFlags::empty())),
            unsealed("being shrunk")
        );
        assert_eq!(
            cells(memory(b"12345", size)),
            "shared memory of 5 bytes does not consist of cells"
        );
    });
}

#[test]
fn rubbish_ends_a_port_and_nothing_else() {
    scene(async |_| {
        for rubbish in [&b"hello\n"[..], b"[1,\n", b"\xff\xfe\n", b"\n"] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let port = DetachedPort::<u32, u32>::from_handle(ours.into()).unwrap();
            let mut port = port.start().unwrap();
            theirs.write_all(b"[1]\n").unwrap();
            theirs.write_all(rubbish).unwrap();
            assert_eq!(port.recv().await.unwrap(), Some(1), "what came before");
            let error = port.recv().await.unwrap_err();
            let is_protocol = matches!(&error, RecvError::Receive(ReceiveError::Protocol { .. }));
            assert!(is_protocol, "{error:?}");
            assert_eq!(port.recv().await.unwrap(), None);
            assert!(port.post(&1).await.is_err());
        }
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = DetachedPort::<u32, u32>::from_handle(tcp.into()).unwrap_err();
        assert_eq!(error.to_string(), "the handle is no message port");
    });
}

/// A member that writes to the bare socket.
async fn stranger(hub: &Hub) -> UnixStream {
    let handle: Handle = hub.seat().await.unwrap().into();
    let stranger = UnixStream::from(handle.into_fd());
    stranger.set_nonblocking(true).unwrap();
    stranger
}

/// Until the hub has shut the door.
async fn is_shown_out(stranger: &UnixStream) {
    let mut buffer = [0; 4096];
    loop {
        match std::io::Read::read(&mut &*stranger, &mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                tokio::task::yield_now().await;
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                return;
            }
        }
    }
}

#[test]
fn a_member_that_breaks_the_rules_is_shown_out_and_its_locks_with_it() {
    scene(async |_| {
        let hub = Hub::new().await.unwrap();
        let mut news = BroadcastChannel::<u32>::open(&hub, "news").await.unwrap();
        let honest = Hub::join(hub.seat().await.unwrap().into()).await.unwrap();
        let request = r#"[{"Request":{"id":1,"name":"a","is_shared":false,"waits":true}}]"#;
        let long_name = request.replace("\"a\"", &format!("{:?}", "x".repeat(257)));
        let breaches = [
            "hello".to_owned(),
            "[{\"Open\":1}]".to_owned(),
            "{}".to_owned(),
            "[\"Seat\"]".to_owned(),
            request.to_owned(),
            long_name,
            format!(
                "[{{\"Post\":{{\"name\":\"news\",\"from\":1,\"body\":\"{}\"}}}}]",
                "x".repeat(1 << 20)
            ),
        ];
        for breach in breaches {
            let stranger = stranger(&hub).await;
            // The rest of the last one never comes.
            let lock = format!("{request}\n{breach}\n[1");
            stranger.set_nonblocking(false).unwrap();
            let writes = {
                let mut stranger = stranger.try_clone().unwrap();
                // Longer than the socket's buffer; the hub may end it before all is written.
                tokio::task::spawn_blocking(move || stranger.write_all(lock.as_bytes()))
            };
            let _ = writes.await.unwrap();
            stranger.set_nonblocking(true).unwrap();
            is_shown_out(&stranger).await;
            drop(honest.request("a", Mode::Exclusive).await.unwrap());
        }
        BroadcastChannel::open(&honest, "news")
            .await
            .unwrap()
            .post(&1)
            .await
            .unwrap();
        assert_eq!(news.recv().await.unwrap(), 1);
    });
}

/// It is not read any more, and what waits for it has a bound.
#[test]
fn a_member_that_asks_and_never_reads_is_not_listened_to() {
    scene(async |_| {
        let hub = Hub::new().await.unwrap();
        let mut locks = Vec::new();
        for n in 0..50 {
            let name = format!("{n:0>200}");
            locks.push(hub.request(&name, Mode::Shared).await.unwrap());
        }
        let stranger = stranger(&hub).await;
        let question = b"[{\"Query\":{\"id\":1}}]\n".repeat(100);
        let (mut written, mut refused) = (0, 0);
        // The kernel's buffers and the hub's inbox take some 300 kB of questions. Each
        // answer is 12 kB: were all made, a megabyte of questions would cost 600.
        while refused < 50 && written < 1_000_000 {
            match (&stranger).write(&question) {
                Ok(count) => (written, refused) = (written + count, 0),
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                    refused += 1;
                    // Another one is answered meanwhile.
                    hub.query().await.unwrap();
                }
            }
        }
        assert!(written < 1_000_000, "it is still listened to");
        drop(stranger);
        hub.query().await.unwrap();
    });
}

#[test]
fn a_member_cannot_fill_the_hub_with_its_own() {
    scene(async |_| {
        let hub = Hub::new().await.unwrap();
        let greedy = Hub::join(hub.seat().await.unwrap().into()).await.unwrap();
        let mut seated = Vec::new();
        let error = loop {
            let seat = greedy.seat().await.unwrap();
            match Hub::join(seat.into()).await {
                Ok(member) => seated.push(member),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, HubError::Closed), "{error:?}");
        assert_eq!(seated.len(), 127);
        // Nor with its children's.
        let of_a_child = seated[5].seat().await.unwrap();
        assert!(Hub::join(of_a_child.into()).await.is_err());
        let honest = Hub::join(hub.seat().await.unwrap().into()).await.unwrap();
        honest.query().await.unwrap();
        drop(seated);
    });
}

#[test]
fn a_hub_that_is_none_is_gone() {
    scene(async |_| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"[1]\n").unwrap();
        assert!(matches!(
            Hub::join(ours.into()).await,
            Err(HubError::Closed)
        ));
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"[\"Welcome\"]\n").unwrap();
        let hub = Hub::join(ours.into()).await.unwrap();
        theirs
            .write_all(b"[{\"Done\":{\"id\":99}}]\n[\"Goodbye\"]\n")
            .unwrap();
        hub.closed().await;
        assert!(matches!(hub.query().await, Err(HubError::Closed)));
        let error = Hub::join(Handle::Pipe(pipe())).await.unwrap_err();
        assert_eq!(error.to_string(), "the handle is no seat at a hub");
    });
}
