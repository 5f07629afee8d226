//! A program that is a pool's worker.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use procession_core::pool::TaskId;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::processes::chain;
use super::threads::{Running, words};
use super::ticket::{Link, PROGRESS};
use super::wire::{FromWorker, SLOT, ToWorker};
use crate::ipc::{Channel, FromEnvError, Message, ReceiveError, SendError, Sender};

/// This program as a worker of [`Pool::processes`](super::Pool::processes).
///
/// ```no_run
/// use procession::pool::{Running, Worker};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let worker = Worker::from_env()?.ok_or("start me from a pool")?;
/// worker.serve(|n: u64, _: &mut Running<'_, (), ()>| n * n).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Worker {
    channel: Channel,
    slot: u32,
}

/// The pool could not be served any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The channel broke.
    #[error("failed to hear the pool")]
    Receive(#[from] ReceiveError),
    /// An answer could not be sent.
    #[error("failed to answer the pool")]
    Send(#[from] SendError),
}

impl Worker {
    /// The worker that this program is; `None` if nobody gave it a channel.
    /// Has to be called within a tokio runtime, and once.
    ///
    /// # Errors
    ///
    /// [`FromEnvError`]: what the environment names is no channel.
    pub fn from_env() -> Result<Option<Self>, FromEnvError> {
        let slot = std::env::var(SLOT).ok().and_then(|slot| slot.parse().ok());
        let slot = slot.unwrap_or(0);
        Ok(Channel::from_env()?.map(|channel| Self { channel, slot }))
    }

    /// Runs tasks, each on a thread of the runtime's, until the pool wants no
    /// more. A panic fails its task, and the pool replaces this worker.
    ///
    /// A task that is deaf keeps this program alive until the pool kills it.
    ///
    /// # Errors
    ///
    /// [`ServeError`]: the pool is gone, or does not speak as one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the pool.
    pub async fn serve<T, R, P>(
        self,
        run: impl Fn(T, &mut Running<'_, (), P>) -> R + Send + Sync + 'static,
    ) -> Result<(), ServeError>
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + Send + 'static,
        P: Serialize + Send + 'static,
    {
        let (progress, mut told) = mpsc::channel(PROGRESS);
        let mut desk = Desk {
            tx: self.channel.tx,
            slot: self.slot,
            run: Arc::new(run),
            tokens: BTreeMap::new(),
            tasks: JoinSet::new(),
            progress,
        };
        let mut rx = self.channel.rx;
        desk.tx.send(&FromWorker::<(), ()>::Ready).await?;
        let mut is_wanted = true;
        while is_wanted || !desk.tasks.is_empty() {
            tokio::select! {
                message = rx.recv(), if is_wanted => match message? {
                    Some(message) => desk.hear(&message).await?,
                    None => {
                        is_wanted = false;
                        desk.tokens.values().for_each(CancellationToken::cancel);
                    }
                },
                Some(news) = told.recv() => desk.tell(&news, is_wanted).await?,
                Some(done) = desk.tasks.join_next(), if !desk.tasks.is_empty() => {
                    while let Ok(news) = told.try_recv() {
                        desk.tell(&news, is_wanted).await?;
                    }
                    if let Ok(done) = done {
                        desk.answer(done, is_wanted).await?;
                    }
                }
            }
        }
        Ok(())
    }
}

struct Desk<F, R, P> {
    tx: Sender,
    slot: u32,
    run: Arc<F>,
    tokens: BTreeMap<u64, CancellationToken>,
    tasks: JoinSet<FromWorker<R, P>>,
    progress: mpsc::Sender<FromWorker<(), P>>,
}

impl<F, R, P> Desk<F, R, P> {
    async fn hear<T>(&mut self, message: &Message) -> Result<(), SendError>
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + Send + 'static,
        P: Serialize + Send + 'static,
        F: Fn(T, &mut Running<'_, (), P>) -> R + Send + Sync + 'static,
    {
        match message.decode::<ToWorker<T>>() {
            Ok(ToWorker::Run { id, task }) => self.start(id, task),
            Ok(ToWorker::Cancel { id }) => {
                if let Some(token) = self.tokens.get(&id) {
                    token.cancel();
                }
            }
            Err(error) => {
                let shape = message.decode::<ToWorker<IgnoredAny>>();
                if let Ok(ToWorker::Run { id, .. }) = shape {
                    let message = format!("the task cannot be read: {}", chain(&error));
                    let failed = FromWorker::<(), ()>::Failed { id, message };
                    self.tx.send(&failed).await?;
                }
            }
        }
        Ok(())
    }

    fn start<T>(&mut self, id: u64, task: T)
    where
        T: Send + 'static,
        R: Send + 'static,
        P: Send + 'static,
        F: Fn(T, &mut Running<'_, (), P>) -> R + Send + Sync + 'static,
    {
        let (run, slot) = (Arc::clone(&self.run), self.slot);
        let link = Far {
            id,
            token: CancellationToken::new(),
            progress: self.progress.clone(),
        };
        self.tokens.insert(id, link.token.clone());
        self.tasks.spawn_blocking(move || {
            let mut running = Running {
                state: &mut (),
                link: &link,
                slot,
                id: TaskId(id),
            };
            // What a panic leaves half changed is not seen again: the pool
            // replaces this worker.
            match catch_unwind(AssertUnwindSafe(|| run(task, &mut running))) {
                Ok(value) => FromWorker::Done { id, value },
                Err(panic) => FromWorker::Panicked {
                    id,
                    message: words(&*panic),
                },
            }
        });
    }

    async fn answer(&mut self, done: FromWorker<R, P>, heard: bool) -> Result<(), SendError>
    where
        R: Serialize,
        P: Serialize,
    {
        let id = match &done {
            FromWorker::Done { id, .. }
            | FromWorker::Failed { id, .. }
            | FromWorker::Panicked { id, .. }
            | FromWorker::Progress { id, .. } => *id,
            FromWorker::Ready => return Ok(()),
        };
        self.tokens.remove(&id);
        if !heard {
            return Ok(());
        }
        match self.tx.send(&done).await {
            Err(error @ SendError::Encode { .. }) => {
                let message = format!("its result cannot be sent: {}", chain(&error));
                let failed = FromWorker::<(), ()>::Failed { id, message };
                self.tx.send(&failed).await
            }
            sent => sent,
        }
    }

    async fn tell(&mut self, news: &FromWorker<(), P>, heard: bool) -> Result<(), SendError>
    where
        P: Serialize,
    {
        match self.tx.send(news).await {
            // Progress that cannot be sent is not worth the task.
            Err(SendError::Encode { .. }) => Ok(()),
            Err(_) if !heard => Ok(()),
            sent => sent,
        }
    }
}

/// The link of a task whose pool is in another process.
struct Far<P> {
    id: u64,
    token: CancellationToken,
    progress: mpsc::Sender<FromWorker<(), P>>,
}

impl<P: Send> Link<P> for Far<P> {
    fn is_canceled(&self) -> bool {
        self.token.is_cancelled()
    }

    fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// What does not fit is dropped: the pool has not yet read what is older.
    fn tell(&self, value: P) {
        let _ = self
            .progress
            .try_send(FromWorker::Progress { id: self.id, value });
    }
}
