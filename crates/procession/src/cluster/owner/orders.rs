//! What the supervisor orders.

use std::time::Instant;

use procession_core::cluster::supervise::{Notice, Order, StartFailure};
use procession_core::cluster::{Slot, WorkerId};

use procession_sys::Platform;
use tokio_util::sync::CancellationToken;

use super::super::event::Event;
use super::super::process;
use super::{Owner, Running};
use crate::child_process::{Child, Command, Signal, SpawnError, Tree, TreeLevel, send};

impl Owner {
    /// Does everything that is to be done now.
    pub(super) fn carry_out(&mut self, now: Instant) {
        loop {
            while let Some(action) = self.machine.next_action() {
                self.act(action, now);
            }
            let Some(order) = self.supervisor.poll(now) else {
                return;
            };
            self.obey(order, now);
        }
    }

    fn obey(&mut self, order: Order, now: Instant) {
        match order {
            Order::Start {
                worker,
                slot,
                restarts,
            } => self.start(worker, slot, restarts, now),
            Order::Disconnect { worker } => {
                self.expect(worker);
                self.machine.leave(worker);
            }
            Order::Signal { worker, signal } => {
                self.expect(worker);
                self.signal(worker, signal);
            }
            Order::Kill { worker } => {
                self.expect(worker);
                self.kill(worker);
            }
            Order::Tell(notice) => self.notice(notice),
        }
    }

    fn expect(&mut self, worker: WorkerId) {
        if let Some(running) = self.running.get_mut(&worker) {
            running.is_expected = true;
        }
    }

    /// Says whether there was somebody to signal.
    pub(super) fn signal(&self, worker: WorkerId, signal: Signal) -> bool {
        let running = self.running.get(&worker);
        running.is_some_and(|running| send(&running.process, signal).unwrap_or(false))
    }

    pub(super) fn kill(&self, worker: WorkerId) {
        if let Some(running) = self.running.get(&worker) {
            running.kill.cancel();
        }
    }

    fn notice(&mut self, notice: Notice) {
        let event = match notice {
            Notice::Ready { worker, .. } => {
                let now = Instant::now();
                self.machine.ready(worker, now);
                if let Some(running) = self.running.get_mut(&worker) {
                    running.ready_at = Some(now);
                }
                Event::Ready { worker }
            }
            Notice::AllReady => Event::AllReady,
            Notice::NotReady { worker, waited } => Event::NotReady { worker, waited },
            Notice::Restarting { slot, after } => Event::Restarting { slot, after },
            Notice::GaveUp(why) => {
                self.gave_up = true;
                Event::GaveUp(why)
            }
            Notice::Over {
                end,
                signalled,
                killed,
            } => {
                self.over = Some(Event::Over {
                    end,
                    signalled,
                    killed,
                });
                return;
            }
        };
        self.tell(event);
    }

    fn start(&mut self, worker: WorkerId, slot: Slot, restarts: u32, now: Instant) {
        let command = self.command(worker, slot);
        match Child::spawn_for_cluster(&command) {
            Ok(child) => {
                let mut running = Running::new(slot, restarts, child.process(), now);
                if let Some(token) = command.cancel_token() {
                    running.kill = token;
                }
                running.channel = child.channel.as_ref().map(|channel| channel.tx.clone());
                let pid = running.pid;
                self.restarts += u64::from(restarts > 0);
                self.running.insert(worker, running);
                self.machine.add_worker(worker, slot);
                self.tell(Event::Fork {
                    worker,
                    slot,
                    pid,
                    restarts,
                });
                process::tend(
                    worker,
                    child,
                    &self.spec.ready,
                    self.events.clone(),
                    self.note.clone(),
                );
                self.supervisor.started(worker, now);
            }
            Err(error) => {
                let failure = failure(&error);
                self.tell(Event::StartFailed { worker, error });
                self.supervisor.start_failed(worker, failure, now);
            }
        }
    }

    /// The program of one worker.
    fn command(&self, worker: WorkerId, slot: Slot) -> Command {
        let programs = self.spec.mixed_with.len() + 1;
        let mut command = match slot.0 as usize % programs {
            0 => self.spec.command.clone(),
            other => self.spec.mixed_with[other - 1].clone(),
        };
        command
            .tree(tree(&self.platform))
            .kill_signal(Signal::KILL)
            .cancel_on(CancellationToken::new())
            .kill_on_drop();
        if self.platform.parent_death_signal {
            command.dies_with_us();
        }
        if self.spec.listen.is_empty() {
            command.env("NODE_UNIQUE_ID", worker.0);
            command.ipc_cluster(self.spec.serialization, self.spec.quotas.ipc);
            self.spec.inspect.apply(&mut command, worker);
        } else {
            // And no `NODE_UNIQUE_ID`: a Node that takes itself for a worker asks its primary
            // for sockets, and waits for ever.
            self.inherited.pass(&mut command);
        }
        command
    }
}

/// What ends with a worker. Without control groups a contained worker would have to be
/// the subreaper of its descendants, and a Node reaps none that it does not know.
fn tree(platform: &Platform) -> Tree {
    match platform.tree_level {
        TreeLevel::Cgroup => Tree::Contain,
        TreeLevel::Subreaper | TreeLevel::Walk | TreeLevel::Group | TreeLevel::Process => {
            Tree::Walk
        }
    }
}

/// Whether another try can help.
fn failure(error: &SpawnError) -> StartFailure {
    match error.node_code() {
        Some(
            "ENOENT"
            | "EACCES"
            | "ENOEXEC"
            | "ENOTDIR"
            | "E2BIG"
            | "EPERM"
            | "ERR_INVALID_ARG_VALUE",
        ) => StartFailure::Permanent,
        _ => StartFailure::Passing,
    }
}
