//! What a person, a script and a container see of `procession run`.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failing test is a panic")]

mod run {
    pub(crate) mod bad_input;
    pub(crate) mod forms;
    pub(crate) mod languages;
    pub(crate) mod messages;
    pub(crate) mod signals;
    pub(crate) mod stage;
    pub(crate) mod status;
    pub(crate) mod terminal;
}
