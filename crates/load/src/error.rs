//! Why a load did not begin.

use std::io;
use std::path::PathBuf;

use crate::BadRequest;

/// Why a load did not begin. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// `targets`, `requests`, `connections`, `pipelining`, `threads`, `sample` or `timeout` is empty or 0.
    #[error("a load with no `{field}` is none")]
    Nothing {
        /// The field of the spec.
        field: &'static str,
    },
    /// A rate that is not above 0, or no number.
    #[error("{rate} requests a second is no rate")]
    Rate {
        /// The rate.
        rate: f64,
    },
    /// No address has this name.
    #[error("failed to resolve `{name}`")]
    Unresolvable {
        /// The name.
        name: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// A request that cannot be written.
    #[error(transparent)]
    Request(#[from] BadRequest),
    /// TLS cannot be spoken as the spec says.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The threads could not be started.
    #[error("failed to start the threads of a load")]
    Threads(#[source] io::Error),
}

/// Why TLS cannot be spoken as the spec says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// This build has no TLS.
    #[error("built without TLS (feature `tls`), so `https` cannot be spoken")]
    NotBuilt,
    /// A file has no PEM of the kind that is wanted, or cannot be read.
    #[error("failed to read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// `cert` without `key`, or `key` without `cert`.
    #[error("a client certificate needs both `cert` and `key`")]
    Half,
    /// No name of a server.
    #[error("`{name}` is no name of a TLS server")]
    Name {
        /// The name.
        name: String,
    },
    /// The certificates or the key are of no use.
    #[error("the TLS certificates or key cannot be used")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

#[cfg(feature = "tls")]
impl TlsError {
    pub(crate) fn unusable(error: tokio_rustls::rustls::Error) -> Self {
        Self::Unusable(Box::new(error))
    }
}

/// Why a target cannot be loaded, found out by one connection to each.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The spec itself is wrong.
    #[error(transparent)]
    Spec(#[from] StartError),
    /// Nobody listens there.
    #[error("nobody listens at {target}")]
    Refused {
        /// The target, as a URL.
        target: String,
        /// What the system says.
        source: io::Error,
    },
    /// No connection for another reason; `TimedOut` after the time-out of the spec.
    #[error("failed to connect to {target}")]
    Unreachable {
        /// The target, as a URL.
        target: String,
        /// What the system says.
        source: io::Error,
    },
    /// TLS was not agreed upon, or the server speaks none.
    #[error("failed to agree on TLS with {target}")]
    Tls {
        /// The target, as a URL.
        target: String,
        /// Why.
        source: io::Error,
    },
}
