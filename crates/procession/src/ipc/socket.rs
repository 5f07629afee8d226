//! The socket of a channel, as its owner hears it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use procession_core::ipc::outbound::Outbound;
use procession_sys::Received;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// For so many turns without a full socket it is still heard for room.
const PATIENCE: u8 = 16;

/// A socket that is heard for room only while it is full.
///
/// Each message that the peer takes from us makes room. A runtime that hears that
/// is woken for every one of them, to find that nobody waits.
#[derive(Debug)]
pub(super) struct Socket {
    fd: Arc<OwnedFd>,
    /// None once the runtime has refused one.
    registered: Option<AsyncFd<Arc<OwnedFd>>>,
    /// How many more turns it is heard for room.
    patience: u8,
}

impl Socket {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let fd = Arc::new(fd);
        let registered = procession_sys::watch(Arc::clone(&fd), Interest::READABLE)?;
        Ok(Self {
            fd,
            registered: Some(registered),
            patience: 0,
        })
    }

    /// For who writes without the owner.
    pub(super) fn share(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.fd)
    }

    fn registered(&self) -> io::Result<&AsyncFd<Arc<OwnedFd>>> {
        let refused = || io::Error::from(io::ErrorKind::NotConnected);
        self.registered.as_ref().ok_or_else(refused)
    }

    /// Reads once, when there is something.
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        handles: &mut Vec<OwnedFd>,
        takes_handles: bool,
    ) -> Poll<io::Result<Received>> {
        loop {
            let mut ready = ready!(self.registered()?.poll_read_ready(cx))?;
            let received = if takes_handles {
                procession_sys::receive(self.as_fd(), buffer, handles)
            } else {
                procession_sys::receive_plain(self.as_fd(), buffer).map(|bytes| Received {
                    bytes,
                    lost_handles: false,
                })
            };
            match received {
                Ok(received) => {
                    // Fewer bytes than there was room for: nothing is left, and nobody need
                    // try to find out. A descriptor cuts a read short too.
                    if (1..buffer.len()).contains(&received.bytes)
                        && handles.is_empty()
                        && !received.lost_handles
                    {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(received));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Whether there may be something to read; if not, whoever asks is woken then.
    pub(super) fn may_read(&self, cx: &mut Context<'_>) -> bool {
        self.registered
            .as_ref()
            .is_some_and(|registered| registered.poll_read_ready(cx).is_ready())
    }

    /// Whether the peer is gone; if not, whoever asks is woken then, and not by what it sends.
    pub(super) fn is_hung_up(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        while let Poll::Ready(ready) = self.registered()?.poll_write_ready(cx) {
            if ready?.ready().is_write_closed() {
                return Ok(true);
            }
            // It has room, for which nobody waits.
            self.patience = 0;
            self.hear(Interest::READABLE, cx)?;
        }
        Ok(false)
    }

    /// Writes what the kernel takes now; whoever asks is woken when it takes more.
    pub(super) fn write(
        &mut self,
        half: &mut Outbound<OwnedFd>,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        while let Some(write) = half.next_write() {
            let ready = if self.patience == 0 {
                None
            } else {
                match self.registered()?.poll_write_ready(cx) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(ready) => Some(ready?),
                }
            };
            let handle = write.handle.map(AsFd::as_fd);
            match procession_sys::send(self.as_fd(), write.bytes, handle) {
                Ok(bytes) => half.wrote(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match ready {
                        Some(mut ready) => ready.clear_ready(),
                        None => self.hear(Interest::READABLE | Interest::WRITABLE, cx)?,
                    }
                    self.patience = PATIENCE;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A turn in which nothing waited to be written.
    pub(super) fn rest(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.patience > 0 {
            self.patience -= 1;
            if self.patience == 0 {
                self.hear(Interest::READABLE, cx)?;
            }
        }
        Ok(())
    }

    /// What was known of the socket, and who waits for it, is forgotten: the kernel tells it anew.
    fn hear(&mut self, interest: Interest, cx: &mut Context<'_>) -> io::Result<()> {
        // The kernel has one registration for a descriptor, so the old one goes first.
        self.registered = None;
        self.registered = Some(procession_sys::watch(self.share(), interest)?);
        if self.may_read(cx) {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use procession_core::ipc::Serialization;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A socket, what is to be written, the other end, and who is woken.
    struct End {
        socket: Socket,
        half: Outbound<OwnedFd>,
        peer: UnixStream,
        woken: Arc<Count>,
        waker: Waker,
    }

    impl End {
        fn new() -> Self {
            let (ours, theirs) = procession_sys::channel_pair().unwrap();
            let peer = UnixStream::from(theirs);
            peer.set_nonblocking(true).unwrap();
            let woken = Arc::new(Count::default());
            Self {
                socket: Socket::new(ours).unwrap(),
                half: Outbound::new(Serialization::Json),
                peer,
                waker: Waker::from(Arc::clone(&woken)),
                woken,
            }
        }

        fn write(&mut self, bytes: usize) {
            self.half.send(&mut vec![b'x'; bytes]);
            self.go_on();
        }

        fn go_on(&mut self) {
            let mut cx = Context::from_waker(&self.waker);
            self.socket.write(&mut self.half, &mut cx).unwrap();
        }

        fn rest(&mut self) {
            let mut cx = Context::from_waker(&self.waker);
            self.socket.rest(&mut cx).unwrap();
        }

        fn read(&self) -> Poll<usize> {
            let mut cx = Context::from_waker(&self.waker);
            let (mut buffer, mut handles) = ([0; 64], Vec::new());
            let read = self
                .socket
                .poll_read(&mut cx, &mut buffer, &mut handles, true);
            read.map(|received| received.unwrap().bytes)
        }

        /// The peer takes all that is there; gives how much that was.
        fn taken(&mut self) -> usize {
            let mut buffer = vec![0; 1024 * 1024];
            let mut sum = 0;
            while let Ok(count) = self.peer.read(&mut buffer) {
                sum += count;
            }
            sum
        }

        /// How often somebody was woken since this was asked last.
        async fn wakes(&self) -> usize {
            // The runtime looks at the sockets when nothing else is to be done.
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            self.woken.0.swap(0, Ordering::Relaxed)
        }

        /// Whether the runtime was told of room.
        async fn has_heard_of_room(&self) -> bool {
            self.wakes().await;
            let mut nobody = Context::from_waker(Waker::noop());
            let registered = self.socket.registered().unwrap();
            registered.poll_write_ready(&mut nobody).is_ready()
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_io().build().unwrap().block_on(test);
    }

    #[test]
    fn what_the_peer_takes_is_not_heard() {
        run(async {
            let mut end = End::new();
            assert!(end.read().is_pending());
            for _ in 0..3 {
                end.write(100);
                assert_eq!(end.taken(), 100);
            }
            assert!(!end.has_heard_of_room().await);
        });
    }

    #[test]
    fn a_full_socket_is_heard_for_room_and_for_what_comes() {
        const MUCH: usize = 4 * 1024 * 1024;
        run(async {
            let mut end = End::new();
            assert!(end.read().is_pending());
            end.write(MUCH);
            end.wakes().await;
            assert!(!end.half.is_written());
            end.peer.write_all(b"heard").unwrap();
            assert_eq!(end.wakes().await, 1);
            assert_eq!(end.read(), Poll::Ready(5));
            assert!(end.read().is_pending());
            let mut taken = 0;
            while !end.half.is_written() {
                taken += end.taken();
                assert!(end.wakes().await > 0, "there is room");
                end.go_on();
            }
            assert_eq!(taken + end.taken(), MUCH);
            assert!(end.has_heard_of_room().await);
            for _ in 0..PATIENCE {
                end.rest();
            }
            end.write(100);
            assert_eq!(end.taken(), 100);
            assert!(!end.has_heard_of_room().await, "nobody waits for it");
            end.peer.write_all(b"heard").unwrap();
            assert_eq!(end.wakes().await, 1);
            assert_eq!(end.read(), Poll::Ready(5));
        });
    }
}
