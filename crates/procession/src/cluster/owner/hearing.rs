//! A client whose first bytes are waited for.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use bytes::Bytes;
use procession_core::cluster::balance::FIRST_BYTES;
use procession_core::cluster::primary::{Arrival, ListenerId};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::Note;

/// How long a client may take to say enough, where the policy wants to hear it.
const FIRST_WORDS: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(in crate::cluster) struct Hearing {
    listener: ListenerId,
    client: AsyncFd<OwnedFd>,
    peer: Option<IpAddr>,
    began: Instant,
    /// What it has said so far. That stays in the socket too.
    head: Vec<u8>,
    /// It says no more, or nobody waits for more.
    is_over: bool,
}

impl Hearing {
    pub(super) fn new(
        listener: ListenerId,
        client: AsyncFd<OwnedFd>,
        peer: Option<IpAddr>,
        now: Instant,
    ) -> Self {
        Self {
            listener,
            client,
            peer,
            began: now,
            head: Vec::new(),
            is_over: false,
        }
    }

    /// Waits until the client says more, and tells.
    pub(super) async fn go_on(mut self, note: mpsc::Sender<Note>) {
        let left = FIRST_WORDS.saturating_sub(self.began.elapsed());
        let heard = tokio::time::timeout(left, self.hear_more()).await;
        // Whatever broke off: by what there is.
        self.is_over |= !matches!(heard, Ok(Ok(())));
        // Without an owner there is nobody to serve it.
        let _ = note.send(Note::Heard(self)).await;
    }

    async fn hear_more(&mut self) -> io::Result<()> {
        let before = self.head.len();
        loop {
            let mut ready = self.client.readable().await?;
            // Asked first: who has ended says no more than can be seen after that.
            let has_ended = ready.ready().is_read_closed();
            // What was seen stays in the socket; only what comes from now on wakes us.
            ready.clear_ready();
            self.head.resize(FIRST_BYTES, 0);
            let seen = procession_sys::peek(self.client.get_ref(), &mut self.head);
            self.head
                .truncate(seen.as_ref().map_or(before, |count| *count));
            match seen {
                Ok(count) if has_ended || count == 0 || count == FIRST_BYTES => {
                    self.is_over = true;
                    return Ok(());
                }
                Ok(count) if count > before => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn listener(&self) -> ListenerId {
        self.listener
    }

    /// What it has said, while it may say more.
    pub(super) fn unfinished(&self) -> Option<&[u8]> {
        (!self.is_over).then_some(&self.head)
    }

    pub(super) fn arrival(self) -> Arrival<OwnedFd> {
        Arrival {
            conn: self.client.into_inner(),
            peer: self.peer,
            first_bytes: Some(Bytes::from(self.head)),
        }
    }
}
