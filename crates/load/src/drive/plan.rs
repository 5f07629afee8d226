//! A spec that was found to make sense, with names resolved and files read.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::stream::{Place, Way};
use crate::error::{StartError, TlsError};
use crate::http1::{ReadOptions, Writer};
use crate::{BadRequest, Class, Keep, Protocol, Rate, Spec, Target, Until, Via};

/// How many connections are begun in a millisecond at the start: the queue of a listener is
/// short (Node's holds 511), and who finds it full is answered a second later.
const BEGUN_IN_1_MS: u32 = 32;

/// What the threads of a load need to know.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) spec: Spec,
    pub(super) ways: Arc<[Way]>,
    pub(super) reading: Arc<ReadOptions>,
    /// When the first request is due under a rate: the connections are there then.
    pub(super) lead: Duration,
}

impl Plan {
    /// Checks the spec, resolves names and reads certificates; blocks for that.
    pub(crate) fn new(spec: Spec) -> Result<Self, StartError> {
        check(&spec)?;
        let ways = ways(&spec)?;
        let plan = Self {
            reading: Arc::new(ReadOptions {
                expect_body: spec.expect_body.clone(),
                watch_pids: spec.watch_pids,
            }),
            lead: match spec.rate {
                Rate::Free => Duration::ZERO,
                Rate::PerConnection(_) | Rate::Overall(_) => {
                    begun_at(spec.connections) + Duration::from_millis(1)
                }
            },
            ways: ways.into(),
            spec,
        };
        plan.writers()?;
        Ok(plan)
    }

    /// The same for the load that goes before and is not counted.
    pub(crate) fn warmup(&self) -> Option<Self> {
        let warmup = self.spec.warmup?;
        let mut plan = self.clone();
        plan.spec.connections = warmup.connections;
        plan.spec.until = Until::Elapsed(warmup.lasts);
        plan.spec.bailout = None;
        plan.spec.most_requests = None;
        plan.spec.most_per_connection = None;
        Some(plan)
    }

    /// What writes the requests: for each target, for each request.
    pub(super) fn writers(&self) -> Result<Vec<Vec<Writer>>, BadRequest> {
        let writer = |request, target| Writer::new(request, target, self.spec.keep);
        let of_target = |target| {
            let requests = self.spec.requests.iter();
            requests.map(|request| writer(request, target)).collect()
        };
        match self.spec.protocol {
            Protocol::Http1 => self.spec.targets.iter().map(of_target).collect(),
            Protocol::Echo => Ok(Vec::new()),
        }
    }

    /// How many connections there are at most, the warm-up's included.
    pub(crate) fn connections(&self) -> usize {
        let warmup = self.spec.warmup.map_or(0, |warmup| warmup.connections);
        self.spec.connections.max(warmup)
    }

    pub(crate) fn threads(&self) -> usize {
        self.spec.threads
    }

    /// Connects once to one of the targets.
    pub(crate) async fn connect(&self, target: usize) -> Result<(), (Class, io::Error)> {
        let stream = self.ways[target].connect().await;
        stream.map(drop).map_err(|none| (none.class, none.error))
    }

    /// For how many requests a connection is used.
    pub(super) fn uses(&self) -> u64 {
        match self.spec.keep {
            Keep::Alive => u64::MAX,
            Keep::For(requests) => requests.get(),
            Keep::Close => 1,
        }
    }

    /// How many requests one of the connections makes, with all that follow it.
    pub(super) fn most_each(&self) -> u64 {
        self.spec.most_per_connection.map_or(u64::MAX, u64::from)
    }
}

/// When a connection is begun, so that they do not all come at once.
pub(super) fn begun_at(number: usize) -> Duration {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    Duration::from_millis(u64::from(number / BEGUN_IN_1_MS))
}

fn check(spec: &Spec) -> Result<(), StartError> {
    let no_body = |request: &crate::Request| request.body.is_empty();
    let nothing = [
        ("targets", spec.targets.is_empty()),
        ("requests", spec.requests.is_empty()),
        ("connections", spec.connections == 0),
        ("pipelining", spec.pipelining == 0),
        ("threads", spec.threads == 0),
        ("sample", spec.sample.is_zero()),
        ("timeout", spec.timeout.is_zero()),
        (
            "warmup",
            spec.warmup.is_some_and(|warmup| warmup.connections == 0),
        ),
        (
            "body",
            spec.protocol == Protocol::Echo && spec.requests.iter().any(no_body),
        ),
    ];
    if let Some((field, _)) = nothing.into_iter().find(|(_, is_nothing)| *is_nothing) {
        return Err(StartError::Nothing { field });
    }
    match spec.rate {
        Rate::Free => Ok(()),
        Rate::PerConnection(rate) | Rate::Overall(rate) if rate > 0.0 && rate.is_finite() => Ok(()),
        Rate::PerConnection(rate) | Rate::Overall(rate) => Err(StartError::Rate { rate }),
    }
}

#[cfg(feature = "tls")]
pub(super) fn ways(spec: &Spec) -> Result<Vec<Way>, StartError> {
    use super::stream::TlsWay;
    let is_needed = spec.targets.iter().any(|target| target.tls);
    let config = is_needed.then(|| crate::tls::config(&spec.tls));
    let config = config.transpose()?;
    let tls = |target: &Target| -> Result<Option<TlsWay>, TlsError> {
        let Some(config) = config.as_ref().filter(|_| target.tls) else {
            return Ok(None);
        };
        Ok(Some(TlsWay {
            connector: Arc::clone(config).into(),
            name: crate::tls::server_name(&spec.tls, target)?,
        }))
    };
    let way = |target| {
        Ok(Way {
            tls: tls(target)?,
            place: place(target)?,
        })
    };
    spec.targets.iter().map(way).collect()
}

#[cfg(not(feature = "tls"))]
pub(super) fn ways(spec: &Spec) -> Result<Vec<Way>, StartError> {
    if spec.targets.iter().any(|target| target.tls) {
        return Err(TlsError::NotBuilt.into());
    }
    let way = |target| place(target).map(|place| Way { place });
    spec.targets.iter().map(way).collect()
}

fn place(target: &Target) -> Result<Place, StartError> {
    let addresses = match &target.via {
        Via::Unix(path) => return Ok(Place::Unix(path.clone())),
        Via::Ip(ip, port) => vec![SocketAddr::new(*ip, *port)],
        Via::Name(name, port) => {
            resolve(name, *port).map_err(|source| StartError::Unresolvable {
                name: name.clone(),
                source,
            })?
        }
    };
    Ok(Place::Tcp(addresses, AtomicUsize::new(0)))
}

fn resolve(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = (name, port).to_socket_addrs()?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"));
    }
    Ok(addresses)
}
