//! What is heard of the workers.

use std::time::Instant;

use procession_core::cluster::WorkerId;
use procession_core::cluster::primary::{Back, ListenerId};
use procession_core::cluster::protocol::WorkerAct;
use procession_core::cluster::supervise::Death;

use super::super::event::{Event, WorkerExit};
use super::super::process::{Ended, Report};
use super::{Owner, Running};
use crate::child_process::{Exit, RunError};
use crate::ipc::ReceiveError;
use crate::ipc::cluster::Settlement;

impl Owner {
    pub(super) fn reported(&mut self, worker: WorkerId, report: Report, now: Instant) {
        if let Some(running) = self.running.get_mut(&worker) {
            running.heard_at = now;
        }
        match report {
            Report::Said(message) => {
                if let WorkerAct::QueryServer(_) = &message.act
                    && let Some(running) = self.running.get_mut(&worker)
                {
                    running.look_at_program();
                    if running.cannot_accept {
                        self.machine.hold_back(worker);
                    }
                }
                self.machine.said(worker, message, now);
            }
            Report::Nonsense(error) => self.tell(Event::ClusterError { worker, error }),
            Report::Settled(settlement) => self.settled(worker, settlement, now),
            Report::SaysReady => self.supervisor.ready(worker, now),
            Report::Next(told) => {
                self.carry_out(now);
                // It may have ended meanwhile.
                let _ = told.send(());
            }
            Report::ChannelEnded(error) => self.channel_ended(worker, error, now),
            Report::Ended(ended) => self.ended(worker, *ended, now),
        }
    }

    fn settled(&mut self, worker: WorkerId, settlement: Settlement, now: Instant) {
        let running = self.running.get_mut(&worker);
        let Some(seq) = running.and_then(|it| it.number_of(settlement.ticket)) else {
            return;
        };
        let back = Back {
            worker,
            seq,
            is_taken: settlement.is_taken,
            conn: settlement.fd,
        };
        self.machine.settled(back, now);
    }

    fn channel_ended(&mut self, worker: WorkerId, error: Option<ReceiveError>, now: Instant) {
        if let Some(running) = self.running.get_mut(&worker) {
            running.channel = None;
            running.tickets.clear();
        }
        if let Some(error) = error {
            self.tell(Event::ChannelError { worker, error });
        }
        self.machine.disconnected(worker, now);
        self.supervisor.disconnected(worker, now);
        self.tell(Event::Disconnect { worker });
    }

    fn ended(&mut self, worker: WorkerId, ended: Ended, now: Instant) {
        self.machine.disconnected(worker, now);
        let Some(running) = self.running.remove(&worker) else {
            return;
        };
        let exit = worker_exit(&running, ended, now);
        let death = match exit.exit {
            Exit::Code(code) => Death::Code(code),
            Exit::Signal { signal, .. } => Death::Signal(signal),
        };
        self.tell(Event::Exit { worker, exit });
        self.supervisor.exited(worker, death, now);
        // Its place in each group is empty now.
        let groups: Vec<ListenerId> = self.listeners.keys().copied().collect();
        for id in groups {
            self.look_at(id, now);
        }
    }
}

fn worker_exit(running: &Running, ended: Ended, now: Instant) -> WorkerExit {
    let outcome = match ended.outcome {
        Ok(outcome) => Some(outcome),
        Err(
            RunError::Failed { outcome }
            | RunError::Canceled { outcome }
            | RunError::TimedOut { outcome, .. }
            | RunError::OutputTooLong { outcome, .. },
        ) => Some(*outcome),
        Err(_) => None,
    };
    WorkerExit {
        pid: running.pid,
        exit: outcome.as_ref().map_or(Exit::Code(-1), |it| it.exit),
        expected: running.is_expected,
        out_of_memory: outcome.as_ref().is_some_and(|it| it.out_of_memory),
        lived: now.saturating_duration_since(running.born),
        usage: outcome.map(|it| it.usage),
        last_lines: ended.last_lines,
    }
}
