//! One address, a socket for each two slots: the kernel chooses, and we tell it how.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use procession_core::cluster::protocol::Query;
use procession_core::cluster::spread::{
    Decision, Options, Queue, QueueView, Selector, Spread, When,
};
use procession_core::cluster::{Slot, WorkerId};
use procession_sys::{Process, Share};

use super::sockets;

/// The sockets of one address. They stay until all are closed: see
/// [`procession_core::cluster::spread`].
#[derive(Debug)]
pub(super) struct Group {
    query: Query,
    /// In their order; the primary's own is elsewhere, and the first of the group.
    queues: Vec<OwnedFd>,
    pub(super) spread: Spread,
    /// Connections at the primary's own socket since the last look.
    pub(super) arrived: u64,
    /// When to look again.
    pub(super) look_at: Option<Instant>,
}

/// What is known of a worker that has a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtQueue<'a> {
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
            queues: Vec::new(),
            spread,
            arrived: 0,
            look_at: None,
        };
        Ok((own, at, group))
    }

    /// A copy of the socket of a slot's queue, for its worker.
    pub(super) fn socket(&mut self, slot: Slot) -> io::Result<OwnedFd> {
        let index = Queue::of(slot).0 as usize;
        // In their order, which is how the selector names them.
        while self.queues.len() <= index {
            self.queues.push(sockets::tcp(&self.query, true)?.0);
        }
        self.queues[index].as_fd().try_clone_to_owned()
    }

    /// Looks at the queues, and tells the kernel what was decided.
    pub(super) fn look<'a>(
        &mut self,
        own: &OwnedFd,
        now: Instant,
        who: impl Fn(Queue) -> Vec<AtQueue<'a>>,
    ) -> Vec<(Queue, u32)> {
        let views: Vec<QueueView> = (0..)
            .map(Queue)
            .zip(&self.queues)
            .map(|(queue, socket)| view(queue, socket, &who(queue)))
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

    /// The next connection that waits in a queue.
    pub(super) fn take_from(&self, queue: Queue) -> Option<(OwnedFd, Option<SocketAddr>)> {
        let socket = self.queues.get(queue.0 as usize)?;
        accept(socket)
    }

    pub(super) fn queues(&self) -> impl Iterator<Item = Queue> + use<> {
        (0..u32::try_from(self.queues.len()).unwrap_or(u32::MAX)).map(Queue)
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

fn view(queue: Queue, socket: &OwnedFd, who: &[AtQueue<'_>]) -> QueueView {
    let seen = procession_sys::accept_queue(socket);
    let (length, limit) = seen.map_or((0, 0), |seen| (seen.length, seen.limit));
    let mut serving: Vec<_> = who.iter().filter(|it| it.serves).collect();
    let runs = |it: &&AtQueue<'_>| length == 0 || !it.process.is_stopped();
    let stopped = !serving.is_empty() && !serving.iter().any(runs);
    if !stopped {
        serving.retain(runs);
    }
    let cpus = serving.iter().filter_map(|it| it.cpu);
    QueueView {
        queue,
        youngest: who.iter().map(|it| it.worker).max(),
        serving: u16::try_from(serving.len()).unwrap_or(u16::MAX),
        stopped,
        length,
        limit,
        cpu: cpus.reduce(f32::max),
        age: serving.iter().map(|it| it.age).max().unwrap_or_default(),
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
