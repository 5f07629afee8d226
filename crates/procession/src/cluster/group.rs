//! One address, a socket for each slot: the kernel chooses, and we tell it how.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use procession_core::cluster::protocol::Query;
use procession_core::cluster::spread::{Decision, Options, Selector, SlotView, Spread, When};
use procession_core::cluster::{Slot, WorkerId};
use procession_sys::{Process, Share};

use super::sockets;

/// The sockets of one address. They stay until all are closed: see
/// [`procession_core::cluster::spread`].
#[derive(Debug)]
pub(super) struct Group {
    query: Query,
    /// By slot; the primary's own is elsewhere, and the first of the group.
    slots: Vec<OwnedFd>,
    pub(super) spread: Spread,
    /// Connections at the primary's own socket since the last look.
    pub(super) arrived: u64,
    /// When to look again.
    pub(super) look_at: Option<Instant>,
}

/// What is known of the worker in a slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct InSlot<'a> {
    pub(super) worker: WorkerId,
    pub(super) process: &'a Process,
    pub(super) serves: bool,
    pub(super) cpu: Option<f32>,
    pub(super) age: Duration,
}

impl Group {
    /// Makes the primary's own socket, and the group around it.
    ///
    /// A group can be joined by any program of our user, so an address that is
    /// somebody else's is found by binding it alone first.
    pub(super) fn bind(
        query: &Query,
        when: When,
        now: Instant,
    ) -> io::Result<(OwnedFd, SocketAddr, Self)> {
        if query.port != Some(0) {
            drop(sockets::tcp(query, false)?);
        }
        let (own, at) = sockets::tcp(query, true)?;
        let mut query = query.clone();
        query.port = Some(at.port().into());
        let spread = Spread::new(when, Options::default(), now);
        select(&own, spread.selector())?;
        let group = Self {
            query,
            slots: Vec::new(),
            spread,
            arrived: 0,
            look_at: None,
        };
        Ok((own, at, group))
    }

    /// A copy of a slot's socket, for its worker.
    pub(super) fn socket(&mut self, slot: Slot) -> io::Result<OwnedFd> {
        let index = slot.0 as usize;
        // In their order, which is how the selector names them.
        while self.slots.len() <= index {
            self.slots.push(sockets::tcp(&self.query, true)?.0);
        }
        self.slots[index].as_fd().try_clone_to_owned()
    }

    /// Looks at the queues, and tells the kernel what was decided.
    pub(super) fn look<'a>(
        &mut self,
        own: &OwnedFd,
        now: Instant,
        who: impl Fn(Slot) -> Option<InSlot<'a>>,
    ) -> Vec<(Slot, u32)> {
        let views: Vec<SlotView> = (0..)
            .map(Slot)
            .zip(&self.slots)
            .map(|(slot, socket)| view(slot, socket, who(slot)))
            .collect();
        let arrived = std::mem::take(&mut self.arrived);
        let Decision {
            selector,
            steal,
            next_tick,
        } = self.spread.tick(now, &views, arrived);
        if let Some(selector) = selector {
            // It was accepted when the group was made, and is never too long.
            let _ = select(own, &selector);
        }
        self.look_at = next_tick.and_then(|wait| now.checked_add(wait));
        steal
    }

    /// Every connection to the primary from now on.
    pub(super) fn end(&self, own: &OwnedFd) {
        let _ = select(own, &Selector::primary());
    }

    /// The next connection that waits in a slot's socket.
    pub(super) fn take_from(&self, slot: Slot) -> Option<(OwnedFd, Option<SocketAddr>)> {
        let socket = self.slots.get(slot.0 as usize)?;
        accept(socket)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX)).map(Slot)
    }
}

/// The next connection that is there; one that broke off meanwhile is none.
pub(super) fn accept(socket: &OwnedFd) -> Option<(OwnedFd, Option<SocketAddr>)> {
    loop {
        match procession_sys::accept(socket) {
            Ok(accepted) => return Some(accepted),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => return None,
        }
    }
}

fn view(slot: Slot, socket: &OwnedFd, who: Option<InSlot<'_>>) -> SlotView {
    let queue = procession_sys::accept_queue(socket);
    let (queue, queue_limit) = queue.map_or((0, 0), |queue| (queue.length, queue.limit));
    SlotView {
        slot,
        worker: who.map(|who| who.worker),
        serves: who.is_some_and(|who| who.serves),
        stopped: queue > 0 && who.is_some_and(|who| who.process.is_stopped()),
        queue,
        queue_limit,
        cpu: who.and_then(|who| who.cpu),
        age: who.map_or(Duration::ZERO, |who| who.age),
    }
}

fn select(socket: &OwnedFd, selector: &Selector) -> io::Result<()> {
    let entries = selector.entries().iter();
    let shares: Vec<Share> = entries
        .map(|(index, weight)| Share {
            index: *index,
            weight: *weight,
        })
        .collect();
    procession_sys::select_by(socket, &shares)
}
