//! A listener and its sockets.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use procession_core::cluster::primary::{Arrival, Kind, ListenerId};
use procession_core::cluster::protocol::Query;
use procession_core::cluster::spread::{Queue, When};
use procession_core::cluster::{Slot, WorkerId};
use procession_core::errno;
use procession_core::ipc::internal::HandleKind;
use tokio::io::unix::AsyncFd;

use super::super::event::{Address, Event};
use super::super::group::{AtQueue, Group};
use super::super::sockets::{self, Bound, SocketFile};
use super::Owner;
use super::hearing::Hearing;
use procession_core::cluster::balance::Wants;

/// How long to leave connections alone when we have no descriptor for one.
const SHORT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);

/// Connections of one listener that are accepted before reports are heard again.
const CONNECTIONS: u32 = 32;

/// The most that is taken from a queue in one go, when a cluster stops.
const LAST_SWEEP: usize = 4096;

#[derive(Debug)]
pub(super) struct Listening {
    pub(super) at: Address,
    sockets: Sockets,
    travels_as: HandleKind,
    on: bool,
    paused_until: Option<Instant>,
    /// Connections whose first bytes are waited for.
    pub(super) listened_to: usize,
    most: usize,
    /// Goes last.
    _file: Option<SocketFile>,
}

#[derive(Debug)]
enum Sockets {
    /// We accept.
    Own(AsyncFd<OwnedFd>, Option<Box<Group>>),
    /// The workers do.
    Shared(OwnedFd),
}

impl Listening {
    pub(super) fn bind(
        query: &Query,
        kind: Kind,
        when: Option<When>,
        most: usize,
    ) -> io::Result<(Self, Option<std::net::SocketAddr>)> {
        let (bound, group) = match (kind, when) {
            (Kind::Group, Some(when)) => {
                let (fd, at, group) = Group::bind(query, when, Instant::now())?;
                let bound = Bound {
                    fd,
                    at: Some(at),
                    file: None,
                    travels_as: HandleKind::Native,
                };
                (bound, Some(Box::new(group)))
            }
            _ => (sockets::bind(query)?, None),
        };
        let at = bound.at;
        let sockets = match kind {
            Kind::Shared => Sockets::Shared(bound.fd),
            Kind::HandOver | Kind::Group => {
                Sockets::Own(procession_sys::watch_readable(bound.fd)?, group)
            }
        };
        let listening = Self {
            at: Address::of(query, at),
            sockets,
            travels_as: bound.travels_as,
            on: false,
            paused_until: None,
            listened_to: 0,
            most,
            _file: bound.file,
        };
        Ok((listening, at.filter(|_| !query.is_udp())))
    }

    /// Accept, or leave connections in the backlog.
    pub(super) fn accept(&mut self, on: bool) {
        self.on = on;
    }

    /// The next connection at our own socket; none if there is a pause from now on.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<(OwnedFd, Option<IpAddr>)>> {
        let Sockets::Own(own, _) = &self.sockets else {
            return Poll::Pending;
        };
        if !self.on || self.paused_until.is_some() || self.listened_to >= self.most {
            return Poll::Pending;
        }
        loop {
            let Poll::Ready(Ok(mut ready)) = own.poll_read_ready(cx) else {
                return Poll::Pending;
            };
            match procession_sys::accept(ready.get_inner()) {
                Ok((fd, peer)) => {
                    return Poll::Ready(Some((fd, peer.map(|peer| peer.ip()))));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // No descriptor is free, or no memory: they wait in the backlog.
                Err(_) => {
                    self.paused_until = Instant::now().checked_add(SHORT_OF_DESCRIPTORS);
                    return Poll::Ready(None);
                }
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let look_at = self.group().and_then(|group| group.look_at);
        look_at.into_iter().chain(self.paused_until).min()
    }

    /// Whether its group is to be looked at; ends a pause that is over.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        self.group()
            .and_then(|group| group.look_at)
            .is_some_and(|at| at <= now)
    }

    pub(super) fn group(&self) -> Option<&Group> {
        match &self.sockets {
            Sockets::Own(_, group) => group.as_deref(),
            Sockets::Shared(_) => None,
        }
    }

    fn group_mut(&mut self) -> Option<(&OwnedFd, &mut Group)> {
        match &mut self.sockets {
            Sockets::Own(own, Some(group)) => Some((own.get_ref(), group)),
            Sockets::Own(_, None) | Sockets::Shared(_) => None,
        }
    }

    /// The socket for a worker in that slot; `None` if it gets connections one by one.
    pub(super) fn share(&mut self, slot: Slot) -> Option<(HandleKind, OwnedFd)> {
        let travels_as = self.travels_as.clone();
        let fd = match &mut self.sockets {
            Sockets::Own(_, Some(group)) => group.socket(slot),
            Sockets::Own(_, None) => return None,
            Sockets::Shared(fd) => fd.try_clone(),
        };
        // Without a descriptor to spare it is served one by one.
        Some((travels_as, fd.ok()?))
    }

    /// What waits in all of its queues.
    fn sweep(&mut self) -> Vec<(OwnedFd, Option<IpAddr>)> {
        let Sockets::Own(own, group) = &self.sockets else {
            return Vec::new();
        };
        if let Some(group) = group {
            group.end(own.get_ref());
        }
        let queues = group.iter().flat_map(|group| {
            group
                .queues()
                .flat_map(move |queue| std::iter::from_fn(move || group.take_from(queue)))
        });
        let ours = std::iter::from_fn(|| super::super::group::accept(own.get_ref()));
        queues
            .chain(ours)
            .take(LAST_SWEEP)
            .map(|(fd, peer)| (fd, peer.map(|peer| peer.ip())))
            .collect()
    }
}

impl Owner {
    pub(super) fn bind(&mut self, id: ListenerId, query: &Query, kind: Kind, now: Instant) {
        let when = self.spec.balance.spreads();
        let bound = match Listening::bind(query, kind, when, self.spec.quotas.queue) {
            Ok((listening, at)) => {
                self.listeners.insert(id, listening);
                Ok(at)
            }
            Err(error) => Err(error.raw_os_error().unwrap_or_else(|| {
                // Only an address that is none has no number.
                errno::number("EINVAL").unwrap_or(1)
            })),
        };
        self.machine.bound(id, bound, now);
    }

    /// Takes the connections that are there, and gives each away at once; says whether
    /// there may be more.
    pub(super) fn accept(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        self.has_opened = false;
        let mut is_spent = false;
        let mut next = ListenerId(0);
        while let Some((&id, _)) = self.listeners.range(next..).next() {
            is_spent |= self.accept_at(id, cx, now);
            next = ListenerId(id.0 + 1);
        }
        is_spent
    }

    fn accept_at(&mut self, id: ListenerId, cx: &mut Context<'_>, now: Instant) -> bool {
        for _ in 0..CONNECTIONS {
            let listener = self.listeners.get_mut(&id);
            match listener.map_or(Poll::Pending, |it| it.poll_accept(cx)) {
                Poll::Ready(Some((fd, peer))) => {
                    self.accepted(id, fd, peer, now);
                    self.carry_out(now);
                }
                Poll::Ready(None) => {
                    // The end of the pause is to be waited for.
                    self.is_rushed = true;
                    return false;
                }
                Poll::Pending => return false,
            }
        }
        true
    }

    /// A connection at our own socket.
    fn accepted(&mut self, id: ListenerId, fd: OwnedFd, peer: Option<IpAddr>, now: Instant) {
        if let Some(listener) = self.listeners.get_mut(&id)
            && let Some((_, group)) = listener.group_mut()
        {
            group.arrived += 1;
            if group.look_at.is_none() {
                group.look_at = Some(now);
                self.armed = None;
            }
        }
        self.observe_if_idle(now);
        self.came(id, fd, peer, now);
    }

    /// A connection, wherever it waited.
    fn came(&mut self, id: ListenerId, fd: OwnedFd, peer: Option<IpAddr>, now: Instant) {
        if self.machine.wants(id) == Wants::FirstBytes
            && let Some(listener) = self.listeners.get_mut(&id)
        {
            // Without memory to watch it the client is sent away.
            if let Ok(client) = procession_sys::watch_readable(fd) {
                listener.listened_to += 1;
                let hearing = Hearing::new(id, client, peer, now);
                tokio::spawn(hearing.go_on(self.note.clone()));
            }
            return;
        }
        let arrival = Arrival {
            conn: fd,
            peer,
            first_bytes: None,
        };
        self.machine.arrived(id, arrival, now);
    }

    /// Looks at the sockets of a group, and takes what cannot be served there.
    pub(super) fn look_at(&mut self, id: ListenerId, now: Instant) {
        let (machine, running) = (&self.machine, &self.running);
        let Some((own, group)) = self.listeners.get_mut(&id).and_then(Listening::group_mut) else {
            return;
        };
        let who = |queue| {
            let at_queue = running.iter().filter(|(_, it)| Queue::of(it.slot) == queue);
            at_queue
                .map(|(worker, it)| at_queue_of(*worker, it, machine.serves(id, *worker), now))
                .collect()
        };
        let steal = group.look(own, now, who);
        self.pass_on_what_is_seen(now);
        for (queue, most) in steal {
            for _ in 0..most {
                let room = self.machine.room(id);
                let listener = self.listeners.get(&id).and_then(Listening::group);
                let Some((fd, peer)) = listener
                    .filter(|_| room > 0)
                    .and_then(|group| group.take_from(queue))
                else {
                    break;
                };
                self.came(id, fd, peer.map(|peer| peer.ip()), now);
            }
        }
    }

    /// Gives what waits anywhere to the workers, before the listeners close.
    pub(super) fn sweep(&mut self, now: Instant) {
        let all: Vec<ListenerId> = self.listeners.keys().copied().collect();
        for id in all {
            let swept = self.listeners.get_mut(&id).map(Listening::sweep);
            for (fd, peer) in swept.unwrap_or_default() {
                let arrival = Arrival {
                    conn: fd,
                    peer,
                    first_bytes: None,
                };
                self.machine.arrived(id, arrival, now);
            }
        }
        self.machine.stop_listening(now);
    }

    /// A worker could not have what it asked for.
    pub(super) fn listen_failed(&mut self, worker: WorkerId, query: &Query, errno: i32) {
        let error = io::Error::from_raw_os_error(errno);
        let code = errno::node_code(&error).unwrap_or("UNKNOWN");
        let holder = (code == "EADDRINUSE").then(|| sockets::holder(query));
        self.tell(Event::ListenFailed {
            worker,
            at: Address::of(query, None),
            code,
            holder: holder.flatten(),
        });
    }
}

fn at_queue_of(worker: WorkerId, it: &super::Running, serves: bool, now: Instant) -> AtQueue<'_> {
    AtQueue {
        worker,
        process: &it.process,
        serves: serves && !it.cannot_accept,
        cpu: it.cpu,
        age: it
            .ready_at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
    }
}
