//! What is asked of the cluster.

use std::time::Instant;

use procession_core::cluster::WorkerId;
use procession_core::cluster::supervise::Phase;

use super::super::control::Request;
use super::super::status::{ListenerStatus, Status, WorkerStatus};
use super::Owner;

impl Owner {
    pub(super) fn asked(&mut self, request: Request, now: Instant) {
        match request {
            Request::Scale(workers) => self.supervisor.scale(workers, now),
            Request::Add(more) => {
                let wanted = i64::from(self.supervisor.wanted()).saturating_add(more);
                let wanted = u32::try_from(wanted.max(1)).unwrap_or(u32::MAX);
                self.supervisor.scale(wanted, now);
            }
            Request::Stop => {
                self.sweep(now);
                // What was given away goes first over each channel.
                while let Some(action) = self.machine.next_action() {
                    self.act(action, now);
                }
                self.supervisor.stop(now);
            }
            Request::Kill => self.supervisor.kill_now(now),
            Request::Retire(worker) => self.supervisor.retire(worker, now),
            Request::Restart(worker) => self.supervisor.restart_worker(worker, now),
            // Whoever asked may be gone.
            Request::Signal(worker, signal, answer) => {
                let _ = answer.send(self.signal(worker, signal));
            }
            Request::Channel(worker, answer) => {
                let running = self.running.get(&worker);
                let _ = answer.send(running.and_then(|running| running.channel.clone()));
            }
            Request::Status(answer) => {
                let _ = answer.send(self.status(now));
            }
        }
    }

    fn status(&self, now: Instant) -> Status {
        let workers = self.supervisor.workers();
        Status {
            wanted: self.supervisor.wanted(),
            workers: workers
                .filter_map(|(worker, _, phase)| self.worker_status(worker, phase, now))
                .collect(),
            listeners: self.listener_statuses(),
            up: now.saturating_duration_since(self.started_at),
            restarts: self.restarts,
            gave_up: self.gave_up,
            dropped_events: self.events.dropped(),
        }
    }

    fn worker_status(&self, worker: WorkerId, phase: Phase, now: Instant) -> Option<WorkerStatus> {
        let running = self.running.get(&worker)?;
        let (given, in_flight) = self.machine.given(worker);
        let load = procession_sys::process_load(running.pid).ok();
        Some(WorkerStatus {
            worker,
            slot: running.slot,
            pid: running.pid,
            phase,
            up: now.saturating_duration_since(running.born),
            restarts: running.restarts,
            given,
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            cpu: load.as_ref().map(|load| load.cpu),
            rss: load.map(|load| load.rss),
        })
    }

    fn listener_statuses(&self) -> Vec<ListenerStatus> {
        self.machine
            .listeners()
            .filter_map(|view| {
                let listening = self.listeners.get(&view.listener)?;
                let spread = listening.group().map(|group| &group.spread);
                Some(ListenerStatus {
                    at: listening.at.clone(),
                    mode: spread.map(|spread| spread.mode()),
                    rate: spread.map(|spread| spread.rate()),
                    accepted: view.accepted,
                    waiting: view.waiting,
                    holders: view.holders,
                })
            })
            .chain(self.inherited.statuses())
            .collect()
    }
}
