//! Policies that send a client where it was before.
//!
//! A client belongs to the slot with the highest hash of the two together
//! (rendezvous hashing). When a slot has no worker its clients go to their
//! second choices and nobody else moves; its replacement gets them back.

use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;

use super::cookie::{self, Found};
use super::spare::LeastBusy;
use super::{Balance, Incoming, Load, Wants, mix};

/// The same address, the same slot. Clients without an address go to the least busy.
#[derive(Debug)]
pub(super) struct IpHash {
    seed: u64,
    otherwise: LeastBusy,
}

impl IpHash {
    pub(super) fn new(seed: u64) -> Self {
        let otherwise = LeastBusy::new(seed);
        Self { seed, otherwise }
    }

    fn of_address(&mut self, workers: &[Load], incoming: &Incoming<'_>) -> Option<usize> {
        match incoming.peer.map(|peer| peer.to_canonical()) {
            Some(IpAddr::V4(peer)) => highest(workers, self.key(&peer.octets())),
            Some(IpAddr::V6(peer)) => highest(workers, self.key(&peer.octets())),
            None => self.otherwise.choose(workers, incoming),
        }
    }

    /// Keyed, so that a client cannot pick the worker that it wants to burden.
    fn key(&self, client: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        hasher.write(client);
        hasher.finish()
    }
}

impl Balance for IpHash {
    fn choose(&mut self, workers: &[Load], incoming: &Incoming<'_>) -> Option<usize> {
        self.of_address(workers, incoming)
    }

    fn wants(&self) -> Wants {
        Wants::Address
    }
}

/// The same value of a cookie, the same slot; clients without it by their address.
#[derive(Debug)]
pub(super) struct Cookie {
    name: String,
    address: IpHash,
}

impl Cookie {
    pub(super) fn new(name: String, seed: u64) -> Self {
        let address = IpHash::new(seed);
        Self { name, address }
    }
}

impl Balance for Cookie {
    fn choose(&mut self, workers: &[Load], incoming: &Incoming<'_>) -> Option<usize> {
        match cookie::find(incoming.first_bytes.unwrap_or_default(), &self.name) {
            Found::Value(value) => highest(workers, self.address.key(value)),
            Found::Nothing | Found::NotYet => self.address.of_address(workers, incoming),
        }
    }

    fn wants(&self) -> Wants {
        Wants::FirstBytes
    }

    fn enough(&self, first_bytes: &[u8]) -> bool {
        cookie::find(first_bytes, &self.name) != Found::NotYet
    }
}

fn highest(workers: &[Load], key: u64) -> Option<usize> {
    let score = |load: &Load| mix(key ^ mix(u64::from(load.slot.0) + 1));
    (0..workers.len()).max_by_key(|at| score(&workers[*at]))
}
