//! Workers that are processes: of one's own program, or of Node.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use procession_core::pool::{Balance, Dispatcher, Rank};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::Pool;
use super::claims;
use super::inbox::Bell;
use super::limits::{Limits, PoolError};
use super::places;
use super::rules::Rules;
use super::shared::Shared;
use super::state::Force;
use super::tended::Tended;
use super::wire::{CLAIMS, CONCURRENCY, NAME, SHARES, SLOT};
use crate::child_process::{Command, MaxBuffer, Signal, Stdio};
use crate::ipc::{self, Serialization};

/// How much of a worker's last words an error tells.
const LAST_WORDS: usize = 4096;

/// Tasks that a busy worker is sent.
const AHEAD: u32 = 8;

/// In the place of an export's name.
const ALL_EXPORTS: &str = "*";

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
        .ipc_limits(limits_of_node())
        .stdin(Stdio::Ignore)
        .stdout(Stdio::Inherit)
        .stderr(Stdio::Pipe);
    command
}

/// A Node that is awake answers a small task in some 30 µs, and one that need not
/// be woken takes half of the processor's time for it.
fn limits_of_node() -> ipc::Limits {
    let mut limits = ipc::Limits::default();
    limits.busy_poll = Duration::from_micros(50);
    limits
}

/// Node as a worker whose tasks are [calls](super::Call) of this module's
/// exports by their names, as workerpool has it: `exports.add = (a, b) => a + b`,
/// with `signal` and `progress` in one argument more. See [`node_task`] for the rest.
#[must_use]
pub fn node_methods(module: impl AsRef<Path>) -> Command {
    let mut command = node_task(module);
    command.arg(ALL_EXPORTS);
    command
}

impl<T, R, P> Pool<T, R, P>
where
    T: Serialize + Send + Sync + 'static,
    R: DeserializeOwned + Send + 'static,
    P: DeserializeOwned + Send + 'static,
{
    /// A pool of processes: each runs this command, and speaks as
    /// [`Worker`](super::Worker) or [`node_task`] does. A command without a
    /// channel gets one in JSON, as [`Command::fork`] gives it. See
    /// [`Processes`] for more.
    ///
    /// # Errors
    ///
    /// As [`Processes::start`].
    ///
    /// # Examples
    ///
    /// What is said on the channel is plain enough for any program. This is
    /// `worker.js`, without a library (docs/pool.md has all the messages):
    ///
    /// ```js
    /// const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2));
    /// process.on('message', async ({ run }) => {
    ///   if (!run) return; // { cancel: { id } }: this work cannot hear it
    ///   try {
    ///     process.send({ done: { id: run.id, value: await fib(run.task) } });
    ///   } catch (error) {
    ///     process.send({ failed: { id: run.id, message: error.message } });
    ///   }
    /// });
    /// process.send('ready');
    /// ```
    ///
    /// ```no_run
    /// use procession::child_process::Command;
    /// use procession::pool::{Limits, Pool};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::<u64, u64>::processes(Limits::new(1..=4), &Command::node("worker.js"))?;
    /// assert_eq!(pool.run(20).await?, 6765);
    /// # Ok(())
    /// # }
    /// ```
    pub fn processes(limits: Limits, command: &Command) -> Result<Self, PoolError> {
        Processes::new(limits, command).start()
    }
}

/// A pool over processes, with all that can be chosen about it.
///
/// What the processes may use is the command's affair:
/// [`limit`](Command::limit), [`memory_max`](Command::memory_max),
/// [`nice`](Command::nice), [`tree`](Command::tree), [`uid`](Command::uid).
///
/// ```no_run
/// use procession::child_process::{Command, Resource};
/// use procession::ipc::Serialization;
/// use procession::pool::{Limits, Pool, Processes};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut command = Command::new("thumbnailer");
/// command
///     .ipc(Serialization::Advanced)
///     .limit(Resource::AddressSpace, 1 << 30, 1 << 30);
/// let pool: Pool<String, u64> = Processes::new(Limits::new(1..=4), &command)
///     .name("thumbnails")
///     .rank(|path: &String, _priority: i32| i64::from(path.ends_with(".raw")))
///     .start()?;
/// let bytes = pool.run("cat.png".to_owned()).await?;
/// # Ok(())
/// # }
/// ```
pub struct Processes<T> {
    limits: Limits,
    command: Command,
    name: String,
    ahead: u32,
    rules: Rules<T>,
}

impl<T: Serialize + Send + Sync + 'static> Processes<T> {
    /// A pool with these limits, named `pool`, of processes that run this command.
    #[must_use]
    pub fn new(limits: Limits, command: &Command) -> Self {
        Self {
            limits,
            command: command.clone(),
            name: "pool".to_owned(),
            ahead: AHEAD,
            rules: Rules::none(),
        }
    }

    /// What the threads that run its tasks are called, before a hyphen and the
    /// number of their place: where the program is a [`Worker`](super::Worker).
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// How many tasks a busy [`Worker`](super::Worker) is sent, so that it goes on
    /// with the next without being told: 8 by default, 15 at most, 0 for none.
    ///
    /// They wait as others do: cancelled, they never begin; when their worker
    /// dies, or takes longer and another is free, they go to another. Only of
    /// two that were sent to two workers, the later one may begin a moment
    /// earlier. None are sent where tasks take a millisecond or more, or are
    /// longer than 8 KiB; nor with a rank, a balance, another discipline than
    /// first come first served, a concurrency above 1, or a limit of memory for
    /// a worker; nor one that has a time limit in the queue, and
    /// what came after it. Linux only.
    #[must_use]
    pub fn ahead(mut self, tasks: u32) -> Self {
        self.ahead = tasks.min(places::MOST);
        self
    }

    /// Orders the queue by one's own rule. It runs under the pool's lock, so it
    /// has to be quick; if it panics, the rank is 0.
    #[must_use]
    pub fn rank(mut self, rank: impl Rank<T> + 'static) -> Self {
        self.rules.rank = Some(Box::new(rank));
        self
    }

    /// Chooses workers by one's own rule. It runs under the pool's lock, so it
    /// has to be quick; if it panics, the first worker gets the task.
    #[must_use]
    pub fn balance(mut self, balance: impl Balance<T> + 'static) -> Self {
        self.rules.balance = Some(Box::new(balance));
        self
    }

    /// Makes the pool.
    ///
    /// A worker that does not end a task in time is killed, with all that
    /// descends from it if the command says so. The processes live within the
    /// current runtime: when it ends, they are killed.
    ///
    /// # Errors
    ///
    /// [`PoolError`] if the limits cannot be kept, or there is no runtime. A
    /// program that cannot be started is met by the tasks:
    /// [`TaskError::NoWorker`](super::TaskError::NoWorker).
    pub fn start<R, P>(self) -> Result<Pool<T, R, P>, PoolError>
    where
        R: DeserializeOwned + Send + 'static,
        P: DeserializeOwned + Send + 'static,
    {
        let runtime =
            tokio::runtime::Handle::try_current().map_err(|_no_runtime| PoolError::NoRuntime)?;
        let limits = self.limits;
        let mut plan = limits.plan();
        if claims::CAN_BE_SHARED {
            plan.ahead = self.ahead;
        }
        let takes_ahead = plan.ahead > 0 && plan.concurrency == 1;
        let machine = self.rules.rule(Dispatcher::new(plan)?);
        let is_weighed = limits.max_memory.is_some();
        if is_weighed {
            procession_sys::process_load(std::process::id()).map_err(PoolError::Weigh)?;
        }
        let shared = Arc::new(Shared::new(machine, Force::Kill, Bell::task()));
        let mut command = self.command;
        command
            .ipc_by_default()
            .max_buffer(MaxBuffer::tail(LAST_WORDS))
            .kill_signal(Signal::KILL)
            .kill_on_drop()
            .env(NAME, &self.name)
            .env(SHARES, 1)
            .env(CLAIMS, u8::from(takes_ahead))
            .env(CONCURRENCY, limits.concurrency);
        let keeper = Keeper {
            shared: Arc::clone(&shared),
            command,
            is_weighed,
            is_done: false,
        };
        runtime.spawn(keeper.keep());
        Ok(Pool::new(shared, &limits))
    }
}

impl<T> fmt::Debug for Processes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processes")
            .field("name", &self.name)
            .field("command", &self.command)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Starts the workers, and sees that nobody waits when the runtime ends.
struct Keeper<T, R, P> {
    shared: Arc<Shared<T, R, P>>,
    command: Command,
    is_weighed: bool,
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
            for start in chores.start {
                let mut command = self.command.clone();
                command.env(SLOT, start.0.slot);
                let shared = Arc::clone(&self.shared);
                let tended = Tended::new(shared, start, self.is_weighed);
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
