//! What the storm asks of its workers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The variable that names the ledger.
pub(crate) const LEDGER: &str = "STORM_LEDGER";

/// One task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) deed: Deed,
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Deed {
    /// Returns its number.
    Return,
    Panic,
    /// For longer than a deaf one lives, unless it is asked to end: it is there when that is killed.
    Slow,
    /// Until it is asked to end.
    Wait,
    /// Does not hear that it is to end.
    Deaf,
    /// Ends its process.
    Exit,
    /// The same, by SIGKILL.
    Kill,
}

/// What a busy machine may take to let a task hear; each deaf one costs as much.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
