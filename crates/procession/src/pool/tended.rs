//! One worker that is a process, and the task that owns it.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_core::pool::{TaskId, WorkerId};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::ahead::{Ahead, is_small};
use super::death::Death;
use super::error::TaskError;
use super::events::Event;
use super::inbox::{Assignment, Mail, Post};
use super::payload;
use super::processes::chain;
use super::shared::Shared;
use super::threads::words;
use super::ticket::{Link, Slip};
use super::trace;
use super::wire::{FromWorker, ToWorker};
use crate::child_process::Command;
use crate::ipc::{Blob, Message, SendError, Sender};

/// What a worker said before it died is here, or is not.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// How often a worker is weighed at most: it costs more than a small task.
const WEIGH: Duration = Duration::from_millis(100);

/// One worker, and the task that owns its process.
pub(super) struct Tended<T, R, P> {
    shared: Arc<Shared<T, R, P>>,
    worker: WorkerId,
    inbox: Post<T, R, P>,
    jobs: BTreeMap<TaskId, Slip<T, R, P>>,
    ahead: Ahead<T, R, P>,
    pid: u32,
    /// Whether it takes blobs.
    shares: bool,
    /// It was asked to leave, and has its grace period for that.
    is_dismissed: bool,
    scales: Option<Scales>,
}

/// When a process is weighed.
struct Scales {
    /// It has done something since.
    is_due: bool,
    next: Instant,
}

/// What the channel has no room for: a task, which comes back if it cannot be
/// written at all; or a farewell.
type Sending<T> = Pin<Box<dyn Future<Output = Option<(TaskId, T, SendError)>> + Send>>;

/// Whether a message went into the channel, unless writing it panicked.
type Written = std::thread::Result<Result<(), SendError>>;

impl<T, R, P> Tended<T, R, P>
where
    T: Serialize + Send + Sync + 'static,
    R: DeserializeOwned + Send + 'static,
    P: DeserializeOwned + Send + 'static,
{
    pub(super) fn new(
        shared: Arc<Shared<T, R, P>>,
        (worker, inbox): (WorkerId, Post<T, R, P>),
        is_weighed: bool,
    ) -> Self {
        let scales = is_weighed.then(|| Scales {
            is_due: false,
            next: Instant::now(),
        });
        Self {
            ahead: Ahead::new(Arc::clone(&shared), worker),
            shared,
            worker,
            inbox,
            jobs: BTreeMap::new(),
            pid: 0,
            shares: false,
            is_dismissed: false,
            scales,
        }
    }

    pub(super) async fn live_and_leave(mut self, command: Command) {
        let death = self.live(command).await;
        self.shared.left(self.worker, Some(death));
    }

    /// The life of a process; says how it ended.
    async fn live(&mut self, mut command: Command) -> Death {
        command.cancel_on(self.inbox.kill.clone());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Death::from(chain(&error)),
        };
        let channel = child.channel.take();
        let channel = channel.expect("a pool gives its command a channel");
        self.pid = child.id();
        let (tx, mut rx) = (channel.tx, channel.rx);
        // On its own: it need not be looked at with every message.
        let mut outcome = tokio::task::JoinSet::new();
        outcome.spawn(child.outcome());
        let mut sending: Option<Sending<T>> = None;
        let mut mute_since = None;
        let outcome = loop {
            let give_up = mute_since
                .filter(|_| !self.is_dismissed)
                .map(|since: Instant| since + AFTERWARDS);
            let weigh_at = self.scales.as_ref().and_then(Scales::at);
            tokio::select! {
                biased;
                message = rx.recv(), if mute_since.is_none() => match message {
                    Ok(Some(message)) => self.hear(message),
                    Ok(None) | Err(_) => mute_since = Some(Instant::now()),
                },
                sent = poll_some(&mut sending), if sending.is_some() => {
                    sending = None;
                    self.not_sent(sent);
                }
                mail = self.inbox.next(), if sending.is_none() => {
                    sending = self.post(mail, &tx);
                }
                () = sleep_until(weigh_at), if weigh_at.is_some() => self.weigh(),
                // Nothing can be asked of it any more, and it stays.
                () = sleep_until(give_up), if give_up.is_some() => self.inbox.kill.cancel(),
                Some(outcome) = outcome.join_next() => break outcome,
            }
        };
        self.ahead.close();
        // Its last words may be still under way.
        let last = Instant::now() + AFTERWARDS;
        while mute_since.is_none()
            && let Ok(Ok(Some(message))) = tokio::time::timeout_at(last.into(), rx.recv()).await
        {
            self.hear(message);
        }
        self.bury();
        match outcome {
            Ok(outcome) => Death::of(outcome),
            Err(error) => Death::from(chain(&error)),
        }
    }

    /// What the worker has not begun is not lost.
    fn bury(&mut self) {
        self.ahead.recall_all();
        while let Some(mail) = self.inbox.try_next() {
            if let Mail::Ahead(Assignment { id, task, .. }) = mail {
                self.ahead.unsent(id, task);
            }
        }
    }

    fn post(&mut self, mail: Mail<T, R, P>, tx: &Sender) -> Option<Sending<T>> {
        match mail {
            Mail::Run(Assignment { id, task, ticket }) => {
                ticket.in_span(|| trace::given(id, self.pid));
                self.jobs.insert(id, ticket);
                self.give(id, task, tx)
            }
            // Its turn has come on the way here: the pool counts its time already.
            Mail::Ahead(next) if self.jobs.is_empty() => self.post(Mail::Run(next), tx),
            Mail::Ahead(Assignment { id, task, ticket }) => {
                let Some(claim) = self.ahead.offer() else {
                    self.ahead.unsent(id, task);
                    return None;
                };
                ticket.in_span(|| trace::given(id, self.pid));
                self.jobs.insert(id, ticket);
                self.give_ahead(id, task, claim, tx);
                None
            }
            Mail::Recall { id } => {
                if self.ahead.recall(id) {
                    self.jobs.remove(&id);
                } else if self.jobs.contains_key(&id) {
                    self.shared.begun(self.worker, id);
                }
                None
            }
            Mail::Claims => self.share_claims(tx),
            Mail::Cancel { id } => {
                // One that takes nothing from its channel does not hear it
                // either way: its grace period ends, and so does it.
                let _ = tx.try_send(&ToWorker::<()>::Cancel { id: id.0 });
                None
            }
            Mail::Stop => {
                self.is_dismissed = true;
                let tx = tx.clone();
                Some(Box::pin(async move {
                    tx.disconnect().await;
                    None
                }))
            }
        }
    }

    /// Sends a task now, or else when there is room.
    fn give(&mut self, id: TaskId, task: T, tx: &Sender) -> Option<Sending<T>> {
        let mut is_short = false;
        let (sent, blob) = self.write(run(id, &task, None), tx, |length| {
            is_short = is_small(length);
            true
        });
        self.ahead.learn(is_short);
        match sent {
            Ok(Ok(())) => blob.map(|blob| share(id, blob, tx.clone())),
            Ok(Err(SendError::Full { .. })) => {
                let tx = tx.clone();
                Some(Box::pin(async move {
                    let error = tx.send(&run(id, &task, None)).await.err()?;
                    Some((id, task, error))
                }))
            }
            Ok(Err(error)) => {
                self.not_sent(Some((id, task, error)));
                None
            }
            Err(panic) => {
                self.unsendable(id, task, words(&*panic));
                None
            }
        }
    }

    /// Sends a task behind the one that the worker has, now or not at all.
    fn give_ahead(&mut self, id: TaskId, task: T, claim: u32, tx: &Sender) {
        let (sent, blob) = self.write(run(id, &task, Some(claim)), tx, is_small);
        if let Ok(Ok(())) = sent
            && blob.is_none()
        {
            return self.ahead.sent(id, claim, task);
        }
        self.ahead.leave(claim);
        match sent {
            Ok(Ok(()) | Err(SendError::Full { .. } | SendError::Closed { .. })) => {
                self.jobs.remove(&id);
                self.ahead.unsent(id, task);
            }
            Ok(Err(error)) => self.not_sent(Some((id, task, error))),
            Err(panic) => self.unsendable(id, task, words(&*panic)),
        }
    }

    /// Writes a message into the channel, and says what its large payloads are in, which is to
    /// follow. An error there: nothing will.
    fn write(
        &self,
        message: ToWorker<&T>,
        tx: &Sender,
        has_room: impl FnOnce(usize) -> bool,
    ) -> (Written, Option<io::Result<Blob>>) {
        // A user's code may panic, and the task is to fail for it, not the worker.
        let send = AssertUnwindSafe(|| tx.try_send_within_limits(&message, has_room));
        if !self.shares {
            return (catch_unwind(send), None);
        }
        match payload::write(tx.serialization(), || catch_unwind(send)) {
            Ok((sent, blob)) => (sent, blob.map(Ok)),
            Err(error) => (Ok(Ok(())), Some(Err(error))),
        }
    }

    /// Gives a worker that can have tasks ahead the places for them.
    fn share_claims(&mut self, tx: &Sender) -> Option<Sending<T>> {
        let handle = self.ahead.claims()?;
        let tx = tx.clone();
        Some(Box::pin(async move {
            // Who is gone is met elsewhere.
            let _ = tx.send_with_handle(&ToWorker::<()>::Claims, handle).await;
            None
        }))
    }

    fn not_sent(&mut self, unsent: Option<(TaskId, T, SendError)>) {
        // Without a channel the worker is about to die, and the task with it.
        if let Some((id, task, error @ SendError::Encode { .. })) = unsent {
            self.unsendable(id, task, chain(&error));
        }
    }

    fn unsendable(&mut self, id: TaskId, task: T, reason: String) {
        if let Some(ticket) = self.jobs.remove(&id) {
            let error = TaskError::Unsendable { task, reason };
            self.shared.finished(self.worker, id, &ticket, Err(error));
        }
    }

    fn hear(&mut self, mut message: Message) {
        let decode = |message: &Message, blob| {
            let decode = AssertUnwindSafe(|| message.decode::<FromWorker<R, P>>());
            payload::read(blob, || catch_unwind(decode))
        };
        let (mut said, is_missing) = decode(&message, None);
        if is_missing && let Ok(Some(blob)) = message.take_blob(payload::MOST) {
            (said, _) = decode(&message, Some(blob));
        }
        let reason = match said {
            Ok(Ok(said)) => return self.heard(said),
            Ok(Err(error)) => chain(&error),
            Err(panic) => words(&*panic),
        };
        match message.decode::<FromWorker<IgnoredAny, IgnoredAny>>() {
            Ok(FromWorker::Done { id, .. }) => {
                self.finished(id, Err(TaskError::Unreadable { reason }));
            }
            // News that nobody can read is no reason to end a task.
            Ok(_) => {}
            Err(_) => {
                let (worker, message) = (self.worker, Arc::new(message));
                self.shared.feed.tell(|| Event::Message { worker, message });
            }
        }
    }

    fn heard(&mut self, said: FromWorker<R, P>) {
        match said {
            FromWorker::Ready => self.shared.started(self.worker, Some(self.pid)),
            FromWorker::Shares => self.shares = true,
            FromWorker::HasClaims => self.ahead.ready(),
            FromWorker::Claims => {
                if self.ahead.asked() {
                    // It is we who look there next.
                    let _is_awaited = self.inbox.put(Mail::Claims);
                }
            }
            FromWorker::Done { id, value } => self.finished(id, Ok(value)),
            FromWorker::Failed { id, message } => {
                self.finished(id, Err(TaskError::Failed { message }));
            }
            FromWorker::Panicked { id, message } => {
                self.finished(id, Err(TaskError::Panicked { message }));
            }
            FromWorker::Progress { id, value } => {
                if let Some(ticket) = self.jobs.get(&TaskId(id)) {
                    ticket.tell(value);
                }
            }
        }
    }

    fn finished(&mut self, id: u64, result: Result<R, TaskError<T>>) {
        let id = TaskId(id);
        self.ahead.ended(id);
        if let Some(ticket) = self.jobs.remove(&id) {
            // Before it gets another task, if it is time.
            if let Some(scales) = &mut self.scales {
                scales.is_due = true;
                if scales.next <= Instant::now() {
                    self.weigh();
                }
            }
            self.shared.finished(self.worker, id, &ticket, result);
        }
    }

    /// Tells the pool how much memory the process has.
    fn weigh(&mut self) {
        let Some(scales) = &mut self.scales else {
            return;
        };
        scales.is_due = false;
        scales.next = Instant::now() + WEIGH;
        // One that is not there any more weighs nothing.
        if let Ok(load) = procession_sys::process_load(self.pid) {
            let worker = self.worker;
            self.shared.with(None, |state, now| {
                state.machine.weighed(worker, load.rss, now);
            });
        }
    }
}

impl Scales {
    fn at(&self) -> Option<Instant> {
        self.is_due.then_some(self.next)
    }
}

fn run<T>(id: TaskId, task: &T, claim: Option<u32>) -> ToWorker<&T> {
    let TaskId(id) = id;
    ToWorker::Run { id, task, claim }
}

/// Sends what the large payloads of a task are in, after the task.
fn share<T: 'static>(id: TaskId, blob: io::Result<Blob>, tx: Sender) -> Sending<T> {
    let TaskId(id) = id;
    Box::pin(async move {
        let blobs = ToWorker::<()>::Blob { id };
        let is_shared = match blob {
            Ok(blob) => tx.send_with_blob(&blobs, &blob).await.is_ok(),
            Err(_) => false,
        };
        if !is_shared {
            // The task fails for want of it. Who is gone is met elsewhere.
            let _ = tx.send(&blobs).await;
        }
        None
    })
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
