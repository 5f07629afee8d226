//! What a person and a script see of `procession bench`.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

mod bench {
    pub(crate) mod bad_input;
    pub(crate) mod cluster;
    pub(crate) mod programs;
    pub(crate) mod results;
    pub(crate) mod server;
    pub(crate) mod signals;
    pub(crate) mod stage;
    pub(crate) mod terminal;
}
