//! How is a Rust server a worker of a cluster? Under our primary or Node's own.

mod shared;
mod task;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use procession_core::cluster::WorkerId;
use procession_core::cluster::protocol::{AddressType, Query};
use procession_core::cluster::worker::{Failure, Leave};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::listener::{Listener, Member};
use super::spec::channel_limits;
use super::{Listen, ListenError};
use crate::ipc::{Channel, FromEnvError, Message, ReceiveError, SendError, Sender};
pub(super) use shared::{Offer, Opened, Shared};

/// We, as a worker of a cluster.
///
/// A worker that is dropped, or whose program just ends, has died as far as its
/// primary knows, which starts another one. To go for good, [`leave`](Self::leave).
///
/// # Node
///
/// `cluster.worker`, from within. Here no signal and no lost primary ends the
/// process: watch [`disconnecting`](Self::disconnecting).
///
/// # Examples
///
/// ```no_run
/// # async fn serve(stream: procession::cluster::Stream) {}
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use procession::cluster::{Listen, Listener, Worker};
///
/// let at: Listen = "127.0.0.1:8000".parse()?;
/// let worker = Worker::from_env()?;
/// let mut listener = match &worker {
///     Some(worker) => worker.listen(at).await?,
///     None => Listener::bind(at)?,
/// };
/// // Ends when the primary wants us to leave.
/// while let Some((stream, _peer)) = listener.accept().await? {
///     tokio::spawn(serve(stream));
/// }
/// if let Some(worker) = worker {
///     worker.leave().await;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Worker {
    id: WorkerId,
    shared: Arc<Shared>,
}

impl Worker {
    /// Takes the place that a primary has given us; `None` when we run alone.
    ///
    /// The channel is taken as [`Channel::from_env`] does: call it once, early.
    ///
    /// # Errors
    ///
    /// [`FromEnvError`].
    ///
    /// # Node
    ///
    /// `cluster.isWorker`. A `NODE_UNIQUE_ID` that is no number is worker 0.
    pub fn from_env() -> Result<Option<Self>, FromEnvError> {
        let Some(id) = std::env::var_os("NODE_UNIQUE_ID").filter(|id| !id.is_empty()) else {
            return Ok(None);
        };
        let Some(channel) = Channel::cluster_from_env(channel_limits())? else {
            return Ok(None);
        };
        let id = id.to_str().and_then(|id| id.parse().ok()).unwrap_or(0);
        Ok(Some(Self::over(channel, WorkerId(id))))
    }

    fn over(channel: Channel, id: WorkerId) -> Self {
        let shared = Arc::new(Shared::new(channel.tx));
        tokio::spawn(task::run(channel.rx, Arc::clone(&shared)));
        Self { id, shared }
    }

    /// Our number, from 1.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// Listens where all workers of the cluster do that ask for the same address.
    ///
    /// The primary listens and offers connections, or gives us its socket, or
    /// one of our own: the [`Listener`] takes what comes. `[::]` is all
    /// addresses, of IPv4 too, as when a Node worker names none. A path is made absolute.
    ///
    /// # Errors
    ///
    /// [`ListenError`]: what the primary's system said, or we are leaving.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a listener that comes later is closed again.
    pub async fn listen(&self, at: impl Into<Listen>) -> Result<Listener, ListenError> {
        let at = at.into();
        let query = query(&at).map_err(|source| ListenError::io(&at, source))?;
        let asked = self.shared.ask(query);
        let (id, answer) = asked.map_err(|why| ListenError::of(&at, why))?;
        // Dropping it from here on takes the wish back.
        let member = Member::new(&self.shared, id);
        match answer.await.unwrap_or(Err(Failure::Leaving)) {
            Ok(opened) => Listener::of_worker(member, opened, at),
            Err(why) => Err(ListenError::of(&at, why)),
        }
    }

    /// Sends a message to the primary's program. See [`Sender::send`].
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    ///
    /// # Cancel safety
    ///
    /// As [`Sender::send`].
    ///
    /// # Node
    ///
    /// `process.send` and `cluster.worker.send`.
    pub async fn send<T: Serialize + ?Sized>(&self, message: &T) -> Result<(), SendError> {
        self.shared.tx.send(message).await
    }

    /// The sending half of the channel to the primary: for handles and questions.
    #[must_use]
    pub fn sender(&self) -> &Sender {
        &self.shared.tx
    }

    /// Waits for the next message of the primary's program; `None` when the channel is closed.
    ///
    /// Messages that nobody asks for are kept, 1 MiB of them; then the oldest
    /// go, for connections come over the same channel and must not wait.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`], once.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Node
    ///
    /// `process.on('message')`.
    pub async fn recv(&mut self) -> Result<Option<Message>, ReceiveError> {
        std::future::poll_fn(|cx| self.shared.poll_message(cx)).await
    }

    /// Cancelled when we are to leave, or do: no listener accepts any more, and
    /// what has begun is to be finished. Then [`leave`](Self::leave).
    ///
    /// # Node
    ///
    /// What `cluster.worker.disconnect()` of the primary does to a worker; and
    /// `'disconnect'`, when the primary is gone.
    #[must_use]
    pub fn disconnecting(&self) -> CancellationToken {
        self.shared.finishing.child_token()
    }

    /// Begins to leave: closes all listeners. [`leave`](Self::leave) when all is finished.
    ///
    /// # Node
    ///
    /// `cluster.worker.disconnect()`, which goes on by itself.
    pub fn disconnect(&self) {
        self.shared.with(|machine| machine.disconnect());
    }

    /// Leaves, now that all is finished, and closes the channel. The primary
    /// knows that it is on purpose (`exitedAfterDisconnect`).
    ///
    /// # Cancel safety
    ///
    /// Once polled, it goes on by itself.
    pub async fn leave(&self) -> Leave {
        self.shared.with_now(|machine, now| machine.leave(now));
        self.shared.left().await
    }

    /// As [`leave`](Self::leave), for when nothing will be finished: says so to the primary.
    ///
    /// # Cancel safety
    ///
    /// Once polled, it goes on by itself.
    ///
    /// # Node
    ///
    /// `cluster.worker.kill()`, which also ends the process.
    pub async fn kill(&self) -> Leave {
        self.shared.with_now(|machine, now| machine.kill(now));
        self.shared.left().await
    }
}

/// As Node's workers would ask for it, so that all find the same listener.
fn query(at: &Listen) -> std::io::Result<Query> {
    Ok(match at {
        Listen::Tcp(at) => {
            let (ip, any) = (at.ip(), at.is_ipv6() && at.ip().is_unspecified());
            Query {
                address: (!any).then(|| ip.to_string()),
                port: Some(i32::from(at.port())),
                address_type: Some(if any || ip.is_ipv4() {
                    AddressType::V4
                } else {
                    AddressType::V6
                }),
                ..Query::default()
            }
        }
        Listen::Unix(path) => Query {
            address: Some(text(&std::path::absolute(path)?)?),
            port: Some(-1),
            address_type: Some(AddressType::Path),
            ..Query::default()
        },
    })
}

fn text(path: &Path) -> std::io::Result<String> {
    let text = path.to_str().map(String::from);
    text.ok_or_else(|| {
        std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path is no UTF-8")
    })
}
