//! A process's place at a hub.

use std::collections::HashMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use procession_core::ipc::json;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::broadcast::Inbox;
use super::error::{HubError, NotAHandle};
use super::host::Host;
use super::wire::{self, Asked, FromHub, MOST_BYTES, MOST_NAME, MOST_PLACES, ToHub};
use crate::ipc::post::Frame;
use crate::ipc::{Channel, Handle, Receiver, SendError, Sender, Serialization};

/// Where the processes of a tree meet: for [broadcasts](super::BroadcastChannel)
/// and for [locks](Hub::request).
///
/// The root makes one with [`Hub::new`]; whoever is at it can offer a
/// [`Seat`] to a process that it has a channel with, and that one to its own
/// children in turn. Every member has its own connection to the root, so a
/// process between the two may end. A member that dies, however it does, loses its locks
/// and listeners at once.
///
/// A clone is the same place. It is left when the last clone, [`Lock`](super::Lock)
/// and [`BroadcastChannel`](super::BroadcastChannel) of it is dropped; the hub
/// itself ends with its last member, or with the root process. Of a hub that is
/// gone every call says [`HubError::Closed`].
///
/// A hub has places for 1024 members: 128 for each one that the root seated, itself
/// and those below it. Each has 1024 locks and 1024 names; names have up to 256
/// bytes, messages 1 MiB.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use procession::worker_threads::locks::Mode;
/// use procession::worker_threads::process::{BroadcastChannel, Hub};
///
/// let hub = Hub::new().await?;
/// let seat = hub.seat().await?; // sent to a child: `channel.tx.send_with_handle(&"a seat", seat)`
/// let childs = Hub::join(seat.into()).await?; // there, of the handle that came
///
/// let mut news = BroadcastChannel::<String>::open(&childs, "news").await?;
/// BroadcastChannel::open(&hub, "news").await?.post(&"it rains".to_owned()).await?;
/// assert_eq!(news.recv().await?, "it rains");
///
/// let lock = childs.request("database", Mode::Exclusive).await?;
/// assert!(hub.request_if_available("database", Mode::Exclusive).await?.is_none());
/// drop(lock);
/// hub.request("database", Mode::Exclusive).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Hub {
    pub(super) place: Arc<Place>,
}

/// A place at a hub for another process; it is `Into<Handle>`.
pub struct Seat {
    socket: OwnedFd,
}

/// To be sent to another process.
impl From<Seat> for Handle {
    fn from(seat: Seat) -> Self {
        Self::UnixStream(UnixStream::from(seat.socket))
    }
}

/// What all of a process share of its place. Left when it is dropped.
pub(super) struct Place {
    tx: Sender,
    desk: Arc<Desk>,
    pub(super) closed: CancellationToken,
}

/// Who waits for what. The reader has it too.
#[derive(Default)]
struct Desk(Mutex<Expected>);

#[derive(Default)]
struct Expected {
    next: u64,
    answers: HashMap<u64, oneshot::Sender<Answer>>,
    /// By name; numbers as answers have them.
    listeners: HashMap<String, Vec<(u64, Arc<Inbox>)>>,
    /// Locks that are held or asked for.
    locks: usize,
}

/// What the hub says to a question.
pub(super) enum Answer {
    Done,
    NotAvailable,
    Locks(Vec<Asked>),
}

impl Hub {
    /// A hub in this process, the root, and its own place at it.
    ///
    /// # Errors
    ///
    /// [`HubError::Seat`]: `EMFILE`, `ENFILE`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped call leaves no hub behind.
    pub async fn new() -> Result<Self, HubError> {
        let (ours, hubs) = procession_sys::channel_pair().map_err(HubError::Seat)?;
        Host::start(hubs).map_err(HubError::Seat)?;
        Self::sit(ours).await
    }

    /// Takes the seat that came as a handle. Whoever does not trust its sender wraps
    /// it in `tokio::time::timeout`: what is no hub may say nothing at all.
    ///
    /// # Errors
    ///
    /// [`HubError::Closed`] when the hub is gone, full, or none.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O.
    ///
    /// # Cancel safety
    ///
    /// A dropped call gives the seat up.
    pub async fn join(handle: Handle) -> Result<Self, HubError> {
        match handle {
            Handle::UnixStream(socket) => Self::sit(socket.into()).await,
            handle @ (Handle::TcpStream(_)
            | Handle::TcpListener(_)
            | Handle::TcpBound(_)
            | Handle::UdpSocket(_)
            | Handle::UnixListener(_)
            | Handle::Pipe(_)) => Err(HubError::NotASeat(NotAHandle {
                wanted: "seat at a hub",
                handle,
            })),
        }
    }

    async fn sit(socket: OwnedFd) -> Result<Self, HubError> {
        let peer = "the hub".to_owned();
        let limits = wire::member_limits();
        let Channel { tx, mut rx } =
            Channel::new(socket, Serialization::Json, limits, peer).map_err(HubError::Seat)?;
        let welcome = rx.recv().await.ok().flatten();
        let welcome = welcome.and_then(|message| message.decode::<(FromHub,)>().ok());
        let Some((FromHub::Welcome,)) = welcome else {
            return Err(HubError::Closed);
        };
        let (desk, closed) = (Arc::<Desk>::default(), CancellationToken::new());
        let reader = Reader {
            desk: Arc::downgrade(&desk),
            closed: closed.clone(),
        };
        tokio::spawn(reader.read(rx));
        let place = Arc::new(Place { tx, desk, closed });
        place.say_at_once(&ToHub::Hello {
            pid: std::process::id(),
        });
        Ok(Self { place })
    }

    /// A place for another process, to be sent to it as a handle.
    ///
    /// # Errors
    ///
    /// [`HubError::Closed`], [`HubError::Seat`]. Whether the hub has a place
    /// left, the other process sees when it joins.
    ///
    /// # Cancel safety
    ///
    /// A dropped call makes no seat.
    pub async fn seat(&self) -> Result<Seat, HubError> {
        let (socket, hubs) = procession_sys::channel_pair().map_err(HubError::Seat)?;
        let hubs = Handle::UnixStream(UnixStream::from(hubs));
        let sent = self.place.tx.send_with_handle(&(ToHub::Seat,), hubs).await;
        sent.map_err(HubError::of)?;
        Ok(Seat { socket })
    }

    /// Waits until the hub is gone: locks by it exclude nobody any more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) {
        self.place.closed.cancelled().await;
    }
}

impl Place {
    /// Waits for room.
    pub(super) async fn say(&self, message: &ToHub) -> Result<(), HubError> {
        let frame = self.frame(message).map_err(HubError::of)?;
        self.tx.post(frame).await.map_err(HubError::of)
    }

    pub(super) fn try_say(&self, message: &ToHub) -> Result<(), HubError> {
        let frame = self.frame(message).map_err(HubError::of)?;
        self.tx.try_post(frame).map_err(HubError::of)
    }

    fn frame(&self, message: &ToHub) -> Result<Frame, SendError> {
        self.tx.frame_within(&(message,), MOST_BYTES)
    }

    /// For what ends something that was [said](Self::say) before, so that there is a bound.
    pub(super) fn say_at_once(&self, message: &ToHub) {
        // All of these can be written.
        if let Ok(frame) = self.frame(message) {
            self.tx.post_at_once(frame);
        }
    }

    /// A number for a question, and who waits for its answer.
    pub(super) fn ask(&self) -> Question<'_> {
        let (told, answer) = oneshot::channel();
        let mut expected = self.desk.lock();
        let id = expected.take_number();
        // After the end nobody would take it out again; dropped here, it says so.
        if !self.closed.is_cancelled() {
            expected.answers.insert(id, told);
        }
        drop(expected);
        let place = self;
        Question { place, id, answer }
    }

    pub(super) fn cannot_encode(&self, error: json::EncodeError) -> HubError {
        HubError::Message(self.tx.cannot_encode_json(error))
    }

    /// One lock more, unless the hub would show us the door for it.
    pub(super) fn take_lock(&self) -> Result<(), HubError> {
        let mut expected = self.desk.lock();
        if expected.locks >= MOST_PLACES {
            return Err(HubError::TooMany { most: MOST_PLACES });
        }
        expected.locks += 1;
        Ok(())
    }

    pub(super) fn give_lock_back(&self) {
        self.desk.lock().locks -= 1;
    }

    pub(super) fn add_listener(&self, name: &str, inbox: &Arc<Inbox>) -> Result<u64, HubError> {
        let mut expected = self.desk.lock();
        let is_new = !expected.listeners.contains_key(name);
        if is_new && expected.listeners.len() >= MOST_PLACES {
            return Err(HubError::TooMany { most: MOST_PLACES });
        }
        let id = expected.take_number();
        let listeners = expected.listeners.entry(name.to_owned()).or_default();
        listeners.push((id, Arc::clone(inbox)));
        if self.closed.is_cancelled() {
            inbox.close();
        }
        Ok(id)
    }

    pub(super) fn remove_listener(&self, name: &str, id: u64) {
        let mut expected = self.desk.lock();
        let Some(listeners) = expected.listeners.get_mut(name) else {
            return;
        };
        listeners.retain(|(own, _)| *own != id);
        if listeners.is_empty() {
            expected.listeners.remove(name);
            // Under the lock: whoever begins to listen to it again says so after this.
            let name = name.to_owned();
            self.say_at_once(&ToHub::Leave { name });
        }
    }
}

/// A question under way. Dropped, it forgets that it was asked.
pub(super) struct Question<'a> {
    place: &'a Place,
    pub(super) id: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Question<'_> {
    pub(super) async fn answer(&mut self) -> Result<Answer, HubError> {
        (&mut self.answer).await.map_err(|_| HubError::Closed)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let forgotten = self.place.desk.lock().answers.remove(&self.id);
        drop(forgotten);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tx.close();
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Expected> {
        // Nothing panics between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, id: u64, answer: Answer) {
        let asked = self.lock().answers.remove(&id);
        if let Some(asked) = asked {
            // Who asked may have given up just now, and says so to the hub.
            let _ = asked.send(answer);
        }
    }

    /// The listeners of a name but one.
    fn listeners(&self, name: &str, but: Option<u64>) -> Vec<Arc<Inbox>> {
        let expected = self.lock();
        let listeners = expected.listeners.get(name).into_iter().flatten();
        let others = listeners.filter(|(id, _)| Some(*id) != but);
        others.map(|(_, inbox)| Arc::clone(inbox)).collect()
    }
}

impl Expected {
    fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// Passes on what the hub says.
struct Reader {
    desk: Weak<Desk>,
    closed: CancellationToken,
}

impl Reader {
    async fn read(self, mut rx: Receiver) {
        while let Ok(Some(message)) = rx.recv().await
            && let Ok((said,)) = message.decode::<(FromHub,)>()
            && let Some(desk) = self.desk.upgrade()
        {
            match said {
                FromHub::Welcome => {}
                FromHub::Done { id } => desk.answer(id, Answer::Done),
                FromHub::NotAvailable { id } => desk.answer(id, Answer::NotAvailable),
                FromHub::Locks { id, all } => desk.answer(id, Answer::Locks(all)),
                FromHub::Told { name, from, body } => {
                    let body: Arc<str> = body.into();
                    for inbox in desk.listeners(&name, from) {
                        inbox.push(Arc::clone(&body));
                    }
                }
                FromHub::Missed { name, count } => {
                    for inbox in desk.listeners(&name, None) {
                        inbox.miss(count);
                    }
                }
            }
        }
    }
}

/// However the reading ended, nobody waits for ever.
impl Drop for Reader {
    fn drop(&mut self) {
        self.closed.cancel();
        let Some(desk) = self.desk.upgrade() else {
            return;
        };
        let mut expected = desk.lock();
        let answers = std::mem::take(&mut expected.answers);
        let listeners: Vec<_> = expected.listeners.values().flatten().cloned().collect();
        drop(expected);
        drop(answers);
        for (_, inbox) in listeners {
            inbox.close();
        }
    }
}

/// A name that the hub takes.
pub(super) fn check_name(name: &str) -> Result<(), HubError> {
    let bytes = name.len();
    let most = MOST_NAME;
    if bytes > most {
        return Err(HubError::Name { bytes, most });
    }
    Ok(())
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("closed", &self.place.closed.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").finish_non_exhaustive()
    }
}
