//! HTTP/1.1 as a client speaks it, without I/O: requests ready to be sent, answers
//! taken from whatever came off the wire.

mod body;
mod head;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use read::{Answer, Expect, ReadOptions, Reader};
pub use write::BadRequest;
pub(crate) use write::Writer;

/// What came is no HTTP/1 answer. The connection cannot be used any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// Not even the first word is right: it begins so.
    #[error("no HTTP: {0}")]
    NoHttp(String),
    /// A head that breaks the rules.
    #[error("bad head: {0}")]
    Head(httparse::Error),
    /// More than 64 KiB or 128 headers.
    #[error("endless headers")]
    EndlessHeaders,
    /// No number, two numbers, or one beside a `Transfer-Encoding`.
    #[error("contradictory content-length")]
    ContentLength,
    /// The frame of a chunk breaks the rules.
    #[error("bad chunk")]
    Chunk,
}
