//! How a command ended.

use crate::counts::Counts;

/// How a command ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// For commands that run tests.
    pub(crate) counts: Option<Counts>,
    /// What went wrong, if anything did.
    pub(crate) failure: Option<String>,
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        Self {
            counts: None,
            failure: result.err(),
        }
    }
}
