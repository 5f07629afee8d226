//! What the cluster's machine wants done.

use std::os::fd::OwnedFd;
use std::time::Instant;

use procession_core::cluster::WorkerId;
use procession_core::cluster::primary::{Action, Back, ListenerId, Told};
use procession_core::cluster::protocol::{Query, ToWorker, encode_to_worker};
use procession_core::cluster::supervise::Ready;
use procession_core::ipc::internal::HandleKind;

use super::super::event::{Address, Event};
use super::Owner;

impl Owner {
    pub(super) fn act(&mut self, action: Action<OwnedFd>, now: Instant) {
        match action {
            Action::Bind {
                listener,
                query,
                kind,
            } => self.bind(listener, &query, kind, now),
            Action::Unbind { listener } => drop(self.listeners.remove(&listener)),
            Action::Accept { listener, on } => {
                self.has_opened |= on;
                if let Some(listener) = self.listeners.get_mut(&listener) {
                    listener.accept(on);
                }
            }
            Action::Say {
                worker,
                seq,
                act,
                share,
            } => self.say(worker, seq, &act, share),
            Action::Give {
                worker,
                seq,
                key,
                conn,
            } => {
                let given = if self.has_stopped(worker, now) {
                    Err(conn)
                } else {
                    self.give(worker, seq, &ToWorker::NewConn { key }, conn)
                };
                if let Err(conn) = given {
                    let back = Back {
                        worker,
                        seq,
                        is_taken: false,
                        conn,
                    };
                    self.is_rushed = true;
                    self.machine.settled(back, now);
                }
            }
            Action::Tell(told) => self.told(told, now),
        }
    }

    /// Writes it down in our own memory: nothing is allocated for a connection.
    fn write(&mut self, seq: u64, act: &ToWorker) {
        self.body.clear();
        encode_to_worker(self.spec.serialization, seq, act, &mut self.body);
    }

    fn say(&mut self, worker: WorkerId, seq: u64, act: &ToWorker, share: Option<ListenerId>) {
        self.write(seq, act);
        let Some(running) = self.running.get(&worker) else {
            return;
        };
        let Some(channel) = &running.channel else {
            return;
        };
        let listener = share.and_then(|id| self.listeners.get_mut(&id));
        // What is one of a group can be served without a socket, too.
        let listener = listener.filter(|it| !(running.cannot_accept && it.group().is_some()));
        let shared = listener.and_then(|listener| listener.share(running.slot));
        // One whose channel is closed or full of what it does not read is told nothing.
        let _ = match shared {
            Some((kind, fd)) => channel
                .hand_over(&kind, &self.body, fd)
                .map(drop)
                .map_err(drop),
            None => channel.send_cluster(&self.body).map_err(drop),
        };
    }

    fn give(
        &mut self,
        worker: WorkerId,
        seq: u64,
        act: &ToWorker,
        conn: OwnedFd,
    ) -> Result<(), OwnedFd> {
        self.write(seq, act);
        let Some(running) = self.running.get_mut(&worker) else {
            return Err(conn);
        };
        let Some(channel) = &running.channel else {
            return Err(conn);
        };
        match channel.hand_over(&HandleKind::Native, &self.body, conn) {
            Ok(ticket) => {
                running.tickets.push_back((ticket, seq));
                Ok(())
            }
            Err((_, conn)) => Err(conn),
        }
    }

    fn told(&mut self, told: Told, now: Instant) {
        match told {
            Told::Online(worker) => self.tell(Event::Online { worker }),
            Told::Listening {
                worker,
                query,
                self_bound,
            } => self.listening(worker, &query, self_bound, now),
            Told::ListenFailed {
                worker,
                query,
                errno,
            } => self.listen_failed(worker, &query, errno),
            Told::Leaving(worker) => {
                if let Some(running) = self.running.get_mut(&worker) {
                    running.is_expected = true;
                }
                self.supervisor.leaving(worker, now);
            }
            Told::Stuck { worker, waited } => {
                self.tell(Event::Stuck { worker, waited });
                self.kill(worker);
            }
            Told::Holders(id) => self.look_at(id, now),
        }
    }

    fn listening(&mut self, worker: WorkerId, query: &Query, self_bound: bool, now: Instant) {
        self.tell(Event::Listening {
            worker,
            at: Address::of(query, None),
            self_bound,
        });
        if self.spec.ready == Ready::Listening {
            self.supervisor.ready(worker, now);
        }
    }
}
