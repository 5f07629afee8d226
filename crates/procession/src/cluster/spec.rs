//! What a cluster is to be. Plain data.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use procession_core::cluster::WorkerId;
use procession_core::cluster::balance::Policy;
use procession_core::cluster::primary::Addresses;
use procession_core::cluster::restart::Restart;
use procession_core::cluster::supervise::{Plan, Ready, StopPlan};

use crate::child_process::Command;
use crate::ipc::{Limits, Serialization};

/// What a cluster is to be: which program, how many times, and how it is kept alive.
///
/// # Node
///
/// `cluster.setupPrimary`, and what programs write around it.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The program of each worker. It gets a channel and `NODE_UNIQUE_ID`, or else what
    /// [`listen`](Self::listen) says; its standard output and error become events unless
    /// set otherwise.
    pub command: Command,
    /// Further programs: the places take turns with them, so that several versions of
    /// Node, Rust servers and others serve one port. Default: none.
    pub mixed_with: Vec<Command>,
    /// How many workers. Default: one for each CPU that we may use, also by
    /// affinity and the CPU quota of the control group.
    pub workers: u32,
    /// Who gets a connection. Default: [`Policy::Auto`].
    pub balance: Policy,
    /// What happens when a worker dies.
    pub restart: Restart,
    /// What makes a worker ready. Default: it listens.
    pub ready: Ready,
    /// How long a worker may take to become ready. Default: 30 s.
    pub ready_timeout: Duration,
    /// How workers are stopped: disconnect, 5 s, `SIGTERM`, 5 s, `SIGKILL`.
    pub stop: StopPlan,
    /// How long a worker may leave a connection unanswered, before it is killed
    /// and its connections are given to others. Default: 30 s.
    pub stuck_after: Duration,
    /// How messages are written. Default: `json`.
    pub serialization: Serialization,
    /// Sockets that every worker finds from descriptor 3 on (`LISTEN_FDS`), for
    /// programs that do not speak with us. Default: none. With any, workers get no channel.
    pub listen: Vec<Listen>,
    /// What workers may listen on. Default: anything.
    pub addresses: Addresses,
    /// Debugger ports. Default: Node's way, if the workers are started with `--inspect`.
    pub inspect: Inspect,
    /// What one worker may ask of us.
    pub quotas: Quotas,
}

/// A socket that workers inherit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// TCP. Port 0 is one free port for all.
    Tcp(SocketAddr),
    /// A Unix socket. The file is ours, and removed at the end.
    Unix(PathBuf),
}

/// Where the workers' debuggers listen.
///
/// # Node
///
/// `inspectPort` of `cluster.setupPrimary`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inspect {
    /// When the workers' own options say `--inspect`: the port there (9229) plus the
    /// worker's number.
    #[default]
    Counted,
    /// This port for all: with 0 each takes a free one.
    Port(u16),
}

/// What one worker may ask of the primary, so that a broken one harms only itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Listeners it holds at once; more are refused with `EMFILE`. Default: 64.
    pub listeners: usize,
    /// Connections that wait in the primary for a worker, for each listener;
    /// behind them those in the kernel's backlog do. Default: 128.
    pub queue: usize,
    /// Of its channel. Unlike those of other channels these never poll
    /// ([`Limits::busy_poll`] is zero): a connection is not taken that fast.
    pub ipc: Limits,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            listeners: 64,
            queue: 128,
            ipc: channel_limits(),
        }
    }
}

/// Of either end of a worker's channel.
pub(super) fn channel_limits() -> Limits {
    let mut limits = Limits::default();
    limits.busy_poll = Duration::ZERO;
    limits
}

impl Inspect {
    /// Gives a Node worker a debugger port of its own, if it is to have one.
    pub(super) fn apply(self, command: &mut Command, worker: WorkerId) {
        const FIRST: u16 = 9229;
        const LOWEST: u32 = 1024;
        let Some(asked) = command.inspect_port() else {
            return;
        };
        let port = match self {
            // Each takes a free one by itself.
            Self::Counted if asked == Some(0) => 0,
            // Workers' numbers never come again, ports do.
            Self::Counted => {
                let counted = u32::from(asked.unwrap_or(FIRST)).saturating_add(worker.0);
                LOWEST + counted.saturating_sub(LOWEST) % (u32::from(u16::MAX) + 1 - LOWEST)
            }
            Self::Port(port) => port.into(),
        };
        command.exec_args([format!("--inspect-port={port}")]);
    }
}

impl Spec {
    /// One worker for each CPU, and defaults that serve unmodified servers well.
    #[must_use]
    pub fn new(command: Command) -> Self {
        let plan = Plan::default();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            command,
            mixed_with: Vec::new(),
            workers: u32::try_from(cpus).unwrap_or(u32::MAX),
            balance: Policy::default(),
            restart: plan.restart,
            ready: plan.ready,
            ready_timeout: plan.ready_timeout,
            stop: plan.stop,
            stuck_after: Duration::from_secs(30),
            serialization: Serialization::Json,
            listen: Vec::new(),
            addresses: Addresses::default(),
            inspect: Inspect::default(),
            quotas: Quotas::default(),
        }
    }

    pub(super) fn plan(&self) -> Plan {
        Plan {
            workers: self.workers,
            restart: self.restart.clone(),
            ready: self.ready.clone(),
            ready_timeout: self.ready_timeout,
            stop: self.stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(options: &[&str], inspect: Inspect, worker: u32) -> String {
        let mut command = Command::node("server.js");
        command.exec_args(options.iter().copied());
        inspect.apply(&mut command, WorkerId(worker));
        command.to_string()
    }

    #[test]
    fn each_worker_has_a_debugger_port_of_its_own_if_any_has_one() {
        for (options, inspect, wanted) in [
            (&[][..], Inspect::Counted, "node server.js"),
            (
                &["--inspect"],
                Inspect::Counted,
                "node --inspect --inspect-port=9231 server.js",
            ),
            (
                &["--inspect-brk=127.0.0.1:9400"],
                Inspect::Counted,
                "node --inspect-brk=127.0.0.1:9400 --inspect-port=9402 server.js",
            ),
            (
                &["--inspect=5000"],
                Inspect::Counted,
                "node --inspect=5000 --inspect-port=5002 server.js",
            ),
            (
                &["--inspect=0"],
                Inspect::Counted,
                "node --inspect=0 --inspect-port=0 server.js",
            ),
            (
                &["--inspect"],
                Inspect::Port(0),
                "node --inspect --inspect-port=0 server.js",
            ),
        ] {
            assert_eq!(started(options, inspect, 2).replace('\'', ""), wanted);
        }
        let late = started(&["--inspect"], Inspect::Counted, 65_535 - 9229 + 1);
        assert!(late.contains("--inspect-port=1024"), "{late}");
    }
}
