//! A message to a thread by its number, and the certainty that it was received.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::blocking;
use super::environment::ThreadId;
use super::error::{AlreadyListening, PostToThreadError};
use super::slot::Slot;

/// How many messages wait for a thread; then the posters wait.
const ROOM: usize = 64;

/// Who listens: a `Sender<Envelope<T>>` each.
type Listeners = HashMap<ThreadId, Arc<dyn Any + Send + Sync>>;

static LISTENERS: LazyLock<Mutex<Listeners>> = LazyLock::new(Mutex::default);

fn listeners() -> MutexGuard<'static, Listeners> {
    // Whoever panicked held it for a change of one entry.
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A message on its way. Whoever takes it first has it: the receiver, or the
/// poster when its time is over.
struct Envelope<T> {
    message: Slot<T>,
    source: ThreadId,
    receipt: oneshot::Sender<()>,
}

/// A message from another thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadMessage<T> {
    /// The message.
    pub message: T,
    /// Who posted it.
    pub source: ThreadId,
}

/// What other threads post to this one by [`post_message_to_thread`].
///
/// Dropped, it stops listening; who waits for a receipt then gets the message back.
///
/// # Node
///
/// `process.on('workerMessage')`. A message counts as received when it is taken here.
pub struct ThreadMessages<T: Send + 'static> {
    thread: ThreadId,
    inbox: mpsc::Receiver<Envelope<T>>,
}

impl<T: Send + 'static> ThreadMessages<T> {
    /// Listens for what is posted to this thread; room is for 64.
    ///
    /// # Errors
    ///
    /// [`AlreadyListening`]: a thread listens once. Threads that are no workers' are one, the main thread.
    pub fn listen() -> Result<Self, AlreadyListening> {
        let thread = ThreadId::current();
        let mut listeners = listeners();
        if listeners.contains_key(&thread) {
            return Err(AlreadyListening { thread });
        }
        let (tx, inbox) = mpsc::channel::<Envelope<T>>(ROOM);
        listeners.insert(thread, Arc::new(tx));
        Ok(Self { thread, inbox })
    }

    /// Waits for the next message, for ever if none comes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped wait loses no message.
    pub async fn recv(&mut self) -> ThreadMessage<T> {
        loop {
            match self.inbox.recv().await.map(open) {
                Some(Some(message)) => return message,
                Some(None) => {}
                None => unreachable!("the list of listeners has a sender as long as we live"),
            }
        }
    }

    /// As [`recv`](Self::recv), for threads without a runtime.
    ///
    /// # Panics
    ///
    /// In async code.
    pub fn recv_blocking(&mut self) -> ThreadMessage<T> {
        blocking::wait(self.recv())
    }

    /// Takes a message that is there already.
    pub fn try_recv(&mut self) -> Option<ThreadMessage<T>> {
        while let Ok(envelope) = self.inbox.try_recv() {
            if let Some(message) = open(envelope) {
                return Some(message);
            }
        }
        None
    }
}

/// `None` for a message that was withdrawn.
fn open<T>(envelope: Envelope<T>) -> Option<ThreadMessage<T>> {
    let message = envelope.message.take()?;
    // Who no longer waits for it may have been dropped, after it was posted.
    let _ = envelope.receipt.send(());
    Some(ThreadMessage {
        message,
        source: envelope.source,
    })
}

impl<T: Send + 'static> Drop for ThreadMessages<T> {
    fn drop(&mut self) {
        let sender = listeners().remove(&self.thread);
        drop(sender);
    }
}

impl<T: Send + 'static> fmt::Debug for ThreadMessages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadMessages")
            .field("thread", &self.thread)
            .finish_non_exhaustive()
    }
}

/// Posts a message to a thread and returns when it was received.
///
/// Either it was received and this is `Ok`, or it was not, never will be, and
/// comes back.
///
/// # Errors
///
/// [`PostToThreadError`].
///
/// # Panics
///
/// On a runtime whose time is not enabled.
///
/// # Cancel safety
///
/// A dropped call withdraws the message, unless it was received.
///
/// # Node
///
/// `postMessageToThread`; its time-out is optional.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procession::worker_threads::{ThreadMessages, Worker, WorkerEvent};
/// use procession::worker_threads::post_message_to_thread_blocking;
///
/// let mut worker = Worker::<(), String>::spawn("listener", |port, _stop| {
///     let mut inbox = ThreadMessages::<String>::listen()?;
///     port.post_blocking("I listen".into())?;
///     port.post_blocking(inbox.recv_blocking().message)?;
///     Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// })?;
/// assert!(matches!(worker.next_event_blocking(), Some(WorkerEvent::Online)));
/// assert!(matches!(worker.next_event_blocking(), Some(WorkerEvent::Message(_))));
/// post_message_to_thread_blocking(worker.thread_id(), "hello".to_owned(), Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn post_message_to_thread<T: Send + 'static>(
    thread: ThreadId,
    message: T,
    limit: Duration,
) -> Result<(), PostToThreadError<T>> {
    let mut post = Post::new(thread, message)?;
    let received = tokio::time::timeout(limit, post.received()).await.ok();
    post.verdict(received, limit)
}

/// As [`post_message_to_thread`], for threads without a runtime.
///
/// # Errors
///
/// [`PostToThreadError`].
///
/// # Panics
///
/// In async code.
pub fn post_message_to_thread_blocking<T: Send + 'static>(
    thread: ThreadId,
    message: T,
    limit: Duration,
) -> Result<(), PostToThreadError<T>> {
    let mut post = Post::new(thread, message)?;
    let received = blocking::wait_until(post.received(), blocking::deadline(limit));
    post.verdict(received, limit)
}

/// The poster's side of a message. Dropped, it withdraws it.
struct Post<T> {
    thread: ThreadId,
    listener: Option<mpsc::Sender<Envelope<T>>>,
    message: Slot<T>,
}

impl<T: Send + 'static> Post<T> {
    fn new(thread: ThreadId, message: T) -> Result<Self, PostToThreadError<T>> {
        if thread == ThreadId::current() {
            return Err(PostToThreadError::SameThread { thread, message });
        }
        let Some(listener) = listeners().get(&thread).cloned() else {
            return Err(PostToThreadError::NotListening { thread, message });
        };
        let Some(sender) = listener.downcast_ref::<mpsc::Sender<Envelope<T>>>() else {
            return Err(PostToThreadError::WrongType { thread, message });
        };
        Ok(Self {
            thread,
            listener: Some(sender.clone()),
            message: Slot::new(message),
        })
    }

    /// Waits until the message was received, or cannot be.
    async fn received(&mut self) {
        let (receipt, received) = oneshot::channel();
        let envelope = Envelope {
            message: self.message.share(),
            source: ThreadId::current(),
            receipt,
        };
        // The verdict looks at the message: if it was taken, somebody has it.
        if let Some(listener) = self.listener.take()
            && listener.send(envelope).await.is_ok()
        {
            let _ = received.await;
        }
    }

    fn verdict(&self, received: Option<()>, limit: Duration) -> Result<(), PostToThreadError<T>> {
        let thread = self.thread;
        match (self.message.take(), received) {
            (None, _) => Ok(()),
            (Some(message), Some(())) => Err(PostToThreadError::NotListening { thread, message }),
            (Some(message), None) => Err(PostToThreadError::TimedOut {
                thread,
                limit,
                message,
            }),
        }
    }
}

impl<T> Drop for Post<T> {
    fn drop(&mut self) {
        let withdrawn = self.message.take();
        drop(withdrawn);
    }
}
