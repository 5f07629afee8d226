//! A primary, as programs hold it.

use procession_core::cluster::balance::Balance;
use tokio::sync::mpsc;

use super::control::Control;
use super::error::StartError;
use super::event::Event;
use super::owner::{Owner, Policies, seed};
use super::queue::EventSender;
use super::spec::Spec;

/// A running cluster: its events.
///
/// A task of the runtime owns it, and needs nobody's attention: when nobody
/// takes events, 256 wait; then messages wait in their workers, and other
/// events are dropped and counted. Dropping it and all its [`Control`]s kills
/// the workers and their trees.
#[derive(Debug)]
pub struct Primary {
    events: mpsc::Receiver<Event>,
    control: Control,
}

impl Primary {
    /// Starts the workers, within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`]. A worker that cannot be started is [`Event::StartFailed`].
    ///
    /// # Node
    ///
    /// `cluster.setupPrimary` and `cluster.fork`, as often as there are to be workers.
    pub fn start(spec: Spec) -> Result<Self, StartError> {
        let policy = spec.balance.clone();
        let seed = seed();
        let mut listeners = 0;
        let policies = move || {
            listeners += 1;
            policy.balance(seed ^ listeners)
        };
        Self::start_with(spec, Box::new(policies))
    }

    /// As [`Primary::start`], with a policy of one's own: `balance` makes one for each
    /// listener. [`Spec::balance`] still says whether listeners are shared or split;
    /// with [`Policy::LeastBusy`](super::Policy::LeastBusy) every connection is asked about.
    ///
    /// # Errors
    ///
    /// As [`Primary::start`].
    pub fn start_balanced_by(
        spec: Spec,
        balance: impl FnMut() -> Box<dyn Balance> + Send + 'static,
    ) -> Result<Self, StartError> {
        Self::start_with(spec, Box::new(balance))
    }

    fn start_with(spec: Spec, policies: Policies) -> Result<Self, StartError> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(StartError::NoRuntime);
        }
        if spec.workers == 0 {
            return Err(StartError::NoWorkers);
        }
        let (control, requests) = Control::new();
        let (sender, events) = EventSender::new();
        tokio::spawn(Owner::new(spec, policies, sender, requests)?.run());
        Ok(Self { events, control })
    }

    /// The next thing that happened; `None` after [`Event::Over`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// To ask for something.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }
}
