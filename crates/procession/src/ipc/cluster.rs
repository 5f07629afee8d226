//! What a cluster does with a channel, beside sending messages.

use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use bytes::Bytes;
use procession_core::ipc::frame;
use procession_core::ipc::handles::Ticket;
use procession_core::ipc::internal::{HandOver, HandleKind, Internal};

use super::channel::{Sender, inherited};
use super::error::{EncodeError, FromEnvError, ReceiveError};
use super::message::{Message, internal_frame};
use super::receiver::Receiver;
use super::shared::Room;
use super::{Channel, Handle, Limits, Serialization};

/// What became of a descriptor that [`Sender::hand_over`] sent.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) ticket: Ticket,
    /// The peer has it. Otherwise it came without it, or the channel is closed.
    pub(crate) is_taken: bool,
    pub(crate) fd: OwnedFd,
}

/// What comes over a channel of a cluster.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// For the program.
    Message(Message),
    /// For the cluster.
    Cluster(Bytes, Option<Handle>),
    Settled(Settlement),
}

/// A body that the other side of the cluster is to have was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    Closed,
    Full,
}

impl Channel {
    /// As [`Channel::from_env_with`], for a worker of a cluster.
    pub(crate) fn cluster_from_env(limits: Limits) -> Result<Option<Self>, FromEnvError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(FromEnvError::NoRuntime);
        }
        let Some((fd, serialization)) = inherited()? else {
            return Ok(None);
        };
        let channel = Self::for_cluster(fd, serialization, limits, "the primary".into());
        channel.map(Some).map_err(FromEnvError::Io)
    }
}

impl Sender {
    /// Queues a body of the cluster's, however much waits before it: what the other
    /// side may cause is bounded by who calls this.
    pub(crate) fn send_cluster(&self, body: &[u8]) -> Result<(), NotTaken> {
        let mut out = Vec::with_capacity(body.len() + 4);
        let mut outbox = self.shared.outbox();
        if self.shared.room_for(&outbox, 0) == Room::Never {
            return Err(NotTaken::Closed);
        }
        if outbox.half.is_marking() {
            out.push(procession_core::ipc::outbound::BUN_MARK);
        }
        if frame::write(self.shared.serialization, body, &mut out).is_err() {
            return Err(NotTaken::Full);
        }
        outbox.send(&mut out);
        Ok(())
    }

    /// Queues a body of the cluster's with a descriptor, which comes back in a
    /// [`Settlement`] whatever happens, or at once.
    pub(crate) fn hand_over(
        &self,
        kind: &HandleKind,
        body: &[u8],
        fd: OwnedFd,
    ) -> Result<Ticket, (NotTaken, OwnedFd)> {
        let Ok(frame) = frame_of(self.shared.serialization, kind, body) else {
            return Err((NotTaken::Full, fd));
        };
        let mut outbox = self.shared.outbox();
        match self.shared.room_for(&outbox, frame.len()) {
            Room::Yes => {}
            Room::Later => return Err((NotTaken::Full, fd)),
            Room::Never => return Err((NotTaken::Closed, fd)),
        }
        let way = outbox.way_of_handle();
        let ticket = outbox.half.send_handle(kind, frame, fd);
        outbox.go(way);
        Ok(ticket)
    }
}

/// What goes over with a descriptor.
fn frame_of(
    serialization: Serialization,
    kind: &HandleKind,
    body: &[u8],
) -> Result<Vec<u8>, EncodeError> {
    match (serialization, kind) {
        (Serialization::Json, HandleKind::Native) => Ok(native(body)),
        _ => {
            let parcel = Internal::Handle(HandOver {
                kind: kind.clone(),
                message: Some(Bytes::copy_from_slice(body)),
                key: None,
                dgram_type: None,
            });
            internal_frame(serialization, &parcel)
        }
    }
}

/// By hand, as there is one for each connection; `body` is the cluster's own, and sound.
fn native(body: &[u8]) -> Vec<u8> {
    const BEFORE: &[u8] = br#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":"#;
    const AFTER: &[u8] = b"}\n";
    let mut frame = Vec::with_capacity(BEFORE.len() + body.len() + AFTER.len());
    frame.extend_from_slice(BEFORE);
    frame.extend_from_slice(body);
    frame.extend_from_slice(AFTER);
    frame
}

impl Receiver {
    /// The next thing that came; `None` when the channel is closed and all was told.
    pub(crate) fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Incoming>, ReceiveError>> {
        if let Some(settled) = self.next_settled() {
            return Poll::Ready(Ok(Some(Incoming::Settled(settled))));
        }
        let polled = self.poll_recv(cx);
        if let Some(settled) = self.next_settled() {
            // Told first: a message that came with it stays in the batch.
            if let Poll::Ready(Ok(Some(message))) = polled {
                self.put_back(message);
            }
            return Poll::Ready(Ok(Some(Incoming::Settled(settled))));
        }
        polled.map_ok(|message| {
            message.map(|mut message| {
                if message.is_cluster {
                    let handle = message.take_handle();
                    Incoming::Cluster(message.body, handle)
                } else {
                    Incoming::Message(message)
                }
            })
        })
    }

    /// As [`Receiver::poll_incoming`].
    pub(crate) async fn incoming(&mut self) -> Result<Option<Incoming>, ReceiveError> {
        std::future::poll_fn(|cx| self.poll_incoming(cx)).await
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn pair() -> (Channel, Channel) {
        let (one, other) = procession_sys::channel_pair().unwrap();
        let end = |fd| {
            Channel::for_cluster(fd, Serialization::Json, Limits::default(), "it".into()).unwrap()
        };
        (end(one), end(other))
    }

    const NEW: &[u8] = br#"{"cmd":"NODE_CLUSTER","act":"newconn","key":"k","seq":1}"#;

    #[test]
    fn what_is_written_by_hand_is_what_all_else_is_written_by() {
        let parcel = Internal::Handle(HandOver {
            kind: HandleKind::Native,
            message: Some(Bytes::from_static(NEW)),
            key: None,
            dgram_type: None,
        });
        let frame = internal_frame(Serialization::Json, &parcel).unwrap();
        assert_eq!(native(NEW), frame);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_connection_goes_over_and_what_was_ours_comes_back() {
        let (mut primary, mut worker) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ticket = primary
            .tx
            .hand_over(&HandleKind::Native, NEW, stream.into())
            .unwrap();
        primary.tx.send_cluster(NEW).unwrap();
        let came = worker.rx.incoming().await.unwrap();
        assert!(
            matches!(&came, Some(Incoming::Cluster(body, Some(Handle::TcpStream(_)))) if body == NEW),
            "{came:?}"
        );
        let came = worker.rx.incoming().await.unwrap();
        assert!(matches!(&came, Some(Incoming::Cluster(body, None)) if body == NEW));
        let back = primary.rx.incoming().await.unwrap();
        assert!(
            matches!(&back, Some(Incoming::Settled(s)) if s.ticket == ticket && s.is_taken),
            "{back:?}"
        );
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_a_dead_worker_never_confirmed_comes_back() {
        let (mut primary, worker) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(worker);
        let ticket = primary
            .tx
            .hand_over(&HandleKind::Native, NEW, stream.into())
            .unwrap();
        let back = primary.rx.incoming().await.unwrap();
        assert!(
            matches!(&back, Some(Incoming::Settled(s)) if s.ticket == ticket && !s.is_taken),
            "{back:?}"
        );
        assert!(primary.rx.incoming().await.unwrap().is_none());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_program_never_sees_the_clusters_messages() {
        let (mut one, other) = Channel::pair(Serialization::Json).unwrap();
        other.tx.send_cluster(NEW).unwrap();
        other.tx.send("hello").await.unwrap();
        let message = one.rx.recv().await.unwrap().unwrap();
        assert_eq!(message.decode::<String>().unwrap(), "hello");
    }
}
