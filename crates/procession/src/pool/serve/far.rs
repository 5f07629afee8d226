//! What a running task sees of a pool that is in another process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, Scope};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::Desk;
use crate::pool::line::Letter;
use crate::pool::ticket::Link;
use crate::pool::wire::FromWorker;

/// How often a task that asks whether it is cancelled looks at the channel.
const LOOK: Duration = Duration::from_millis(1);

/// Whether a task is to end.
#[derive(Debug, Default)]
pub(super) struct Asked {
    is_asked: AtomicBool,
    token: OnceLock<CancellationToken>,
}

impl Asked {
    pub(super) fn ask(&self) {
        self.is_asked.store(true, Ordering::SeqCst);
        if let Some(token) = self.token.get() {
            token.cancel();
        }
    }

    /// Whether somebody has to listen for it.
    pub(super) fn has_token(&self) -> bool {
        self.token.get().is_some()
    }
}

/// The link of a task whose pool is in another process.
pub(super) struct Far<'job, 'scope, 'env, T> {
    id: u64,
    asked: &'job Asked,
    desk: &'scope Desk<T>,
    scope: &'scope Scope<'scope, 'env>,
    /// When it last looked at the channel, in nanoseconds of the worker's life.
    looked: AtomicU64,
}

impl<'job, 'scope, 'env, T> Far<'job, 'scope, 'env, T> {
    pub(super) fn new(
        id: u64,
        asked: &'job Asked,
        desk: &'scope Desk<T>,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Self {
        Self {
            id,
            asked,
            desk,
            scope,
            looked: AtomicU64::new(0),
        }
    }
}

impl<T: DeserializeOwned + Send> Far<'_, '_, '_, T> {
    /// Has a thread that hears what this one cannot.
    fn have_listener(&self) {
        let mut state = self.desk.lock();
        state.tokens += 1;
        let is_new = !std::mem::replace(&mut state.has_listener, true);
        self.desk.wake(&state);
        drop(state);
        if is_new {
            let desk = self.desk;
            let thread = Builder::new().name("pool-listener".to_owned());
            // Without one, the task hears of it when it asks.
            let _ = thread.spawn_scoped(self.scope, move || desk.listen());
        }
    }
}

impl<T, P> Link<P> for Far<'_, '_, '_, T>
where
    T: DeserializeOwned + Send,
    P: Serialize + Send,
{
    fn is_canceled(&self) -> bool {
        if self.asked.is_asked.load(Ordering::SeqCst) {
            return true;
        }
        let now = u64::try_from(self.desk.born.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let last = self.looked.load(Ordering::Relaxed);
        if last != 0 && Duration::from_nanos(now.saturating_sub(last)) < LOOK {
            return false;
        }
        self.looked.store(now, Ordering::Relaxed);
        self.desk.look();
        self.asked.is_asked.load(Ordering::SeqCst)
    }

    fn token(&self) -> CancellationToken {
        let mut is_new = false;
        let token = self.asked.token.get_or_init(|| {
            is_new = true;
            CancellationToken::new()
        });
        if is_new {
            self.have_listener();
        }
        // Either we see that it was asked, or who asks sees the token.
        if self.asked.is_asked.load(Ordering::SeqCst) {
            token.cancel();
        }
        token.clone()
    }

    /// While the pool does not read, only the newest is kept.
    fn tell(&self, value: P) {
        let mut letter = Letter::default();
        let progress = FromWorker::<(), P>::Progress { id: self.id, value };
        // Progress that cannot be written is not worth the task.
        if self.desk.line.encode(&progress, &mut letter).is_ok() {
            self.desk.line.tell(self.id, &mut letter);
        }
    }
}
