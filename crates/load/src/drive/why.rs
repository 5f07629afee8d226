//! How a connection ended, in words.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::http1::Malformed;

/// Why requests are lost.
#[derive(Debug)]
pub(super) enum Why {
    /// What the system says.
    Io(io::Error),
    /// The server closed the connection.
    Closed,
    /// The server said with an answer that the connection ends, and others were asked for.
    NotKept,
    Malformed(Malformed),
    /// Bytes came that nobody asked for.
    Unasked,
    /// No connection for so long.
    NotConnected(Duration),
    /// No whole answer for so long.
    Overdue(Duration),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Closed => f.write_str("the server closed the connection"),
            Self::NotKept => f.write_str("the server closed the connection after another answer"),
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Unasked => f.write_str("more came than was asked for"),
            Self::NotConnected(limit) => write!(f, "no connection within {limit:?}"),
            Self::Overdue(limit) => write!(f, "no whole answer within {limit:?}"),
        }
    }
}
