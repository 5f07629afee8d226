//! Who stands between a parent and its child and reads along?
//!
//! A program that was started with a channel calls [`insert`] and then becomes
//! the program that was meant. From there on a process of its own carries
//! every message from the one to the other, and tells what it [saw](Seen). It
//! runs [`carry`]. Both sides notice nothing: the child keeps its process id,
//! its standard streams and the number of its channel, and has no child that
//! it did not start.
//!
//! Every message is read into a value and written again by this library, and
//! what comes out is compared with what came in ([`Recoded`]). What goes on is
//! always what the sender sent.
//!
//! `procession trace` and `procession relay` are made of this.

mod foreground;
mod insert;
mod json;
mod link;
mod reader;
mod recode;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use procession_core::ipc::BadMessage;

pub use foreground::{Foreground, screen_width};
pub use insert::{Place, insert};
pub use link::carry;
pub use recode::{document, recode};

/// Which side sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The parent, to its child.
    Parent,
    /// The child, to its parent.
    Child,
}

/// What passed a relay.
#[derive(Clone, Debug)]
pub enum Seen {
    /// A whole message.
    Message {
        /// Without its newline or length.
        body: Bytes,
        /// The kind of descriptor that went along with it, for people.
        handle: Option<String>,
        /// What became of it when it was read and written again.
        recoded: Recoded,
    },
    /// Bytes that are no message. From here on this side's bytes are passed as they come.
    Malformed {
        /// The bytes, with what frames them.
        bytes: Bytes,
        /// What is wrong with them.
        problem: String,
    },
    /// Bytes after a malformed message.
    Raw {
        /// The bytes.
        bytes: Bytes,
    },
    /// This side sends no more.
    End {
        /// How many bytes of a message came that was not finished. They were passed on.
        partial: usize,
    },
}

/// A message that was read into a value and written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recoded {
    /// It came out as it went in.
    Same,
    /// It says the same in other bytes: the sender writes otherwise than Node does.
    Differs(Bytes),
    /// It is no value that we can hold, and why.
    Impossible(String),
}

/// What is wrong with a message, on one line.
fn problem(bad: &BadMessage) -> String {
    bad.to_string()
}
