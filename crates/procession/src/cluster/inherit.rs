//! Sockets that workers are born with.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use procession_core::cluster::protocol::{AddressType, Query};

use super::error::StartError;
use super::event::Address;
use super::sockets::{self, Bound};
use super::spec::Listen;
use super::status::ListenerStatus;
use crate::child_process::Command;

/// The sockets of [`Spec::listen`](super::Spec::listen).
#[derive(Debug)]
pub(super) struct Inherited {
    bound: Vec<(Address, Bound)>,
}

impl Inherited {
    pub(super) fn bind(listen: &[Listen]) -> Result<Self, StartError> {
        let bound = listen.iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Self { bound })
    }

    /// For display: nothing is known of them but where they are.
    pub(super) fn statuses(&self) -> impl Iterator<Item = ListenerStatus> + '_ {
        self.bound.iter().map(|(at, _)| ListenerStatus {
            at: at.clone(),
            mode: None,
            rate: None,
            accepted: 0,
            waiting: 0,
            holders: Vec::new(),
        })
    }

    /// `LISTEN_FDS`, and `PORT` for the first that has one.
    pub(super) fn pass(&self, command: &mut Command) {
        for (_, bound) in &self.bound {
            // Out of descriptors: the start fails of the same, and says so.
            if let Ok(copy) = blocking_copy(bound) {
                command.listen_fd(copy);
            }
        }
        let mut ports = self.bound.iter().filter_map(|(_, bound)| bound.at);
        if let Some(at) = ports.next() {
            command.env("PORT", at.port());
        }
    }
}

/// Programs that know `LISTEN_FDS` expect sockets that wait, as systemd gives them.
fn blocking_copy(bound: &Bound) -> io::Result<OwnedFd> {
    procession_sys::set_nonblocking(bound.as_fd(), false)?;
    bound.fd.try_clone()
}

fn bind(listen: &Listen) -> Result<(Address, Bound), StartError> {
    let query = match listen {
        Listen::Tcp(at) => Query {
            address: Some(at.ip().to_string()),
            port: Some(at.port().into()),
            address_type: Some(if at.is_ipv6() {
                AddressType::V6
            } else {
                AddressType::V4
            }),
            ..Query::default()
        },
        Listen::Unix(path) => Query {
            address: Some(path.to_string_lossy().into_owned()),
            port: Some(-1),
            address_type: Some(AddressType::Path),
            ..Query::default()
        },
    };
    let bound = sockets::bind(&query).map_err(|source| StartError::Listen {
        address: match listen {
            Listen::Tcp(at) => at.to_string(),
            Listen::Unix(path) => path.display().to_string(),
        },
        holder: (source.kind() == io::ErrorKind::AddrInUse)
            .then(|| sockets::holder(&query))
            .flatten(),
        source,
    })?;
    Ok((Address::of(&query, bound.at), bound))
}
