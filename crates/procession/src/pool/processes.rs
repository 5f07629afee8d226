//! Workers that are processes: of one's own program, or of Node.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_core::pool::{Dispatcher, TaskId, WorkerId};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::task::JoinSet;

use super::Pool;
use super::error::TaskError;
use super::inbox::{Assignment, Bell, Mail, Post};
use super::limits::{Limits, PoolError};
use super::shared::{Force, Shared};
use super::ticket::{Link, Slip};
use super::wire::{FromWorker, SLOT, ToWorker};
use crate::child_process::{Command, MaxBuffer, Outcome, RunError, Signal, Stdio};
use crate::ipc::{Message, SendError, Sender, Serialization};

/// How much of a worker's last words an error tells.
const LAST_WORDS: usize = 4096;

/// What a worker said before it died is here, or is not.
const AFTERWARDS: Duration = Duration::from_secs(1);

const NODE_TASK: &str = include_str!("node_task.cjs");

/// Node as a worker that runs the tasks by this module, unchanged from
/// piscina: `module.exports = task => …`, a default export, or a promise of
/// either; it may be async. A second argument has `signal`, an `AbortSignal`,
/// and `progress`, a function. An argument that is added to the command picks
/// an export by name.
///
/// What it writes to standard output goes where ours does; of its standard
/// error the end is in the error when it dies.
#[must_use]
pub fn node_task(module: impl AsRef<Path>) -> Command {
    let mut command = Command::new("node");
    command
        .args(["-e", NODE_TASK])
        .arg(module.as_ref().as_os_str())
        .ipc(Serialization::Json)
        .stdin(Stdio::Ignore)
        .stdout(Stdio::Inherit)
        .stderr(Stdio::Pipe);
    command
}

impl<T, R, P> Pool<T, R, P>
where
    T: Serialize + Send + Sync + 'static,
    R: DeserializeOwned + Send + 'static,
    P: DeserializeOwned + Send + 'static,
{
    /// A pool of processes: each runs this command, which has a channel and
    /// speaks as [`Worker`](super::Worker) or [`node_task`] does.
    ///
    /// A worker that does not end a task in time is killed, with all that
    /// descends from it if the command says so. The processes live within the
    /// current runtime: when it ends, they are killed.
    ///
    /// # Errors
    ///
    /// [`PoolError`] if the limits cannot be kept, or there is no runtime.
    pub fn processes(limits: Limits, command: &Command) -> Result<Self, PoolError> {
        let runtime =
            tokio::runtime::Handle::try_current().map_err(|_no_runtime| PoolError::NoRuntime)?;
        let machine = Dispatcher::new(limits.plan())?;
        let shared = Arc::new(Shared::new(machine, Force::Kill, Bell::task()));
        let mut command = command.clone();
        command
            .max_buffer(MaxBuffer::tail(LAST_WORDS))
            .kill_signal(Signal::KILL)
            .kill_on_drop();
        let keeper = Keeper {
            shared: Arc::clone(&shared),
            command,
            is_done: false,
        };
        runtime.spawn(keeper.keep());
        Ok(Self::new(shared, &limits))
    }
}

/// Starts the workers, and sees that nobody waits when the runtime ends.
struct Keeper<T, R, P> {
    shared: Arc<Shared<T, R, P>>,
    command: Command,
    is_done: bool,
}

impl<T, R, P> Keeper<T, R, P>
where
    T: Serialize + Send + Sync + 'static,
    R: DeserializeOwned + Send + 'static,
    P: DeserializeOwned + Send + 'static,
{
    async fn keep(mut self) {
        let mut workers = JoinSet::new();
        while let Some(chores) = self.shared.next_chores().await {
            for (worker, inbox) in chores.start {
                let tended = Tended {
                    shared: Arc::clone(&self.shared),
                    worker,
                    inbox,
                    jobs: BTreeMap::new(),
                };
                let mut command = self.command.clone();
                command.env(SLOT, worker.slot);
                workers.spawn(tended.live_and_leave(command));
            }
            while workers.try_join_next().is_some() {}
        }
        while workers.join_next().await.is_some() {}
        self.is_done = true;
        self.shared.keeper_left();
    }
}

impl<T, R, P> Drop for Keeper<T, R, P> {
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.keeper_lost();
        }
    }
}

/// One worker, and the task that owns its process.
struct Tended<T, R, P> {
    shared: Arc<Shared<T, R, P>>,
    worker: WorkerId,
    inbox: Post<T, R, P>,
    jobs: BTreeMap<TaskId, Slip<T, R, P>>,
}

/// What is being written: a task, which comes back if it cannot be; or a farewell.
type Sending<T> = Pin<Box<dyn Future<Output = Option<(TaskId, T, SendError)>> + Send>>;

impl<T, R, P> Tended<T, R, P>
where
    T: Serialize + Send + Sync + 'static,
    R: DeserializeOwned + Send + 'static,
    P: DeserializeOwned + Send + 'static,
{
    async fn live_and_leave(mut self, command: Command) {
        let reason = self.live(command).await;
        self.shared.left(self.worker, Some(reason));
    }

    /// The life of a process; says how it ended.
    async fn live(&mut self, mut command: Command) -> String {
        command.cancel_on(self.inbox.kill.clone());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return chain(&error),
        };
        let Some(channel) = child.channel.take() else {
            return "its command has no channel".to_owned();
        };
        let (tx, mut rx) = (channel.tx, channel.rx);
        let mut outcome = Box::pin(child.outcome());
        let mut sending: Option<Sending<T>> = None;
        let mut mute_since = None;
        let outcome = loop {
            let give_up = mute_since.map(|since: Instant| since + AFTERWARDS);
            tokio::select! {
                biased;
                message = rx.recv(), if mute_since.is_none() => match message {
                    Ok(Some(message)) => self.hear(&message),
                    Ok(None) | Err(_) => mute_since = Some(Instant::now()),
                },
                sent = poll_some(&mut sending), if sending.is_some() => {
                    sending = None;
                    self.not_sent(sent);
                }
                mail = self.inbox.next(), if sending.is_none() => {
                    sending = self.post(mail, &tx);
                }
                // Nothing can be asked of it any more, and it stays.
                () = sleep_until(give_up), if give_up.is_some() => self.inbox.kill.cancel(),
                outcome = &mut outcome => break outcome,
            }
        };
        // Its last words may be still under way.
        let last = Instant::now() + AFTERWARDS;
        while mute_since.is_none()
            && let Ok(Ok(Some(message))) = tokio::time::timeout_at(last.into(), rx.recv()).await
        {
            self.hear(&message);
        }
        epitaph(outcome)
    }

    fn post(&mut self, mail: Mail<T, R, P>, tx: &Sender) -> Option<Sending<T>> {
        let tx = tx.clone();
        match mail {
            Mail::Run(Assignment { id, task, ticket }) => {
                self.jobs.insert(id, ticket);
                Some(Box::pin(async move {
                    let run = ToWorker::Run {
                        id: id.0,
                        task: &task,
                    };
                    let error = tx.send(&run).await.err()?;
                    Some((id, task, error))
                }))
            }
            Mail::Cancel { id } => {
                // One that takes nothing from its channel does not hear it
                // either way: its grace period ends, and so does it.
                let _ = tx.try_send(&ToWorker::<()>::Cancel { id: id.0 });
                None
            }
            Mail::Stop => Some(Box::pin(async move {
                tx.disconnect().await;
                None
            })),
        }
    }

    fn not_sent(&mut self, unsent: Option<(TaskId, T, SendError)>) {
        let Some((id, task, error)) = unsent else {
            return;
        };
        // Without a channel the worker is about to die, and the task with it.
        if matches!(error, SendError::Encode { .. })
            && let Some(ticket) = self.jobs.remove(&id)
        {
            let reason = chain(&error);
            let error = TaskError::Unsendable { task, reason };
            self.shared.finished(self.worker, id, &ticket, Err(error));
        }
    }

    fn hear(&mut self, message: &Message) {
        match message.decode::<FromWorker<R, P>>() {
            Ok(FromWorker::Ready) => {
                let worker = self.worker;
                self.shared
                    .with(None, |state, now| state.machine.started(worker, now));
            }
            Ok(FromWorker::Done { id, value }) => self.finished(id, Ok(value)),
            Ok(FromWorker::Failed { id, message }) => {
                self.finished(id, Err(TaskError::Failed { message }));
            }
            Ok(FromWorker::Panicked { id, message }) => {
                self.finished(id, Err(TaskError::Panicked { message }));
            }
            Ok(FromWorker::Progress { id, value }) => {
                if let Some(ticket) = self.jobs.get(&TaskId(id)) {
                    ticket.tell(value);
                }
            }
            Err(error) => {
                // Messages that are none of ours are the program's own affair.
                let shape = message.decode::<FromWorker<IgnoredAny, IgnoredAny>>();
                if let Ok(FromWorker::Done { id, .. }) = shape {
                    let reason = chain(&error);
                    self.finished(id, Err(TaskError::Unreadable { reason }));
                }
            }
        }
    }

    fn finished(&mut self, id: u64, result: Result<R, TaskError<T>>) {
        let id = TaskId(id);
        if let Some(ticket) = self.jobs.remove(&id) {
            self.shared.finished(self.worker, id, &ticket, result);
        }
    }
}

async fn poll_some<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// How a process ended, with its last words.
fn epitaph(outcome: Result<Outcome, RunError>) -> String {
    match outcome {
        Ok(outcome) => {
            let words = String::from_utf8_lossy(&outcome.stderr);
            let words = words.trim();
            let memory = if outcome.out_of_memory {
                " (probably out of memory)"
            } else {
                ""
            };
            if words.is_empty() {
                format!("{}{memory}", outcome.exit)
            } else {
                format!("{}{memory}\n{words}", outcome.exit)
            }
        }
        Err(error) => chain(&error),
    }
}

/// An error and its causes, in a line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
