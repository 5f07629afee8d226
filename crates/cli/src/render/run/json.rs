//! What happens, and how things stand, for programs.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use procession::cluster::{
    Address, End, Event, GaveUp, ListenerStatus, Mode, Output, Phase, Status, WorkerExit, WorkerId,
    WorkerStatus,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::one_line;

/// A line; members are in the order of their names.
fn line(mut members: Value) -> Vec<u8> {
    if let Some(members) = members.as_object_mut() {
        members.insert("time".into(), json!(now()));
    }
    let mut line = members.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// Seconds since 1970, to the millisecond.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    to_millisecond(since.unwrap_or_default())
}

fn to_millisecond(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

fn stream(output: Output) -> &'static str {
    match output {
        Output::Stdout => "stdout",
        Output::Stderr => "stderr",
    }
}

/// A line that a worker has written.
pub(super) fn output(worker: WorkerId, output: Output, text: &[u8]) -> Vec<u8> {
    line(json!({
        "kind": "output",
        "worker": worker.0,
        "stream": stream(output),
        "text": String::from_utf8_lossy(text),
    }))
}

/// Lines that are missing.
pub(crate) fn dropped(lines: u64) -> Vec<u8> {
    line(json!({"kind": "dropped", "lines": lines}))
}

/// Bytes of a worker that are missing.
pub(super) fn dropped_of(worker: WorkerId, bytes: u64) -> Vec<u8> {
    line(json!({"kind": "dropped", "worker": worker.0, "bytes": bytes}))
}

/// A signal that we got, and what follows from it.
pub(crate) fn signal(name: &str) -> Vec<u8> {
    line(json!({"kind": "signal", "signal": name}))
}

/// What happened; output is [`output`]'s.
pub(super) fn event(event: &Event) -> Option<Vec<u8>> {
    members(event).map(line)
}

fn members(event: &Event) -> Option<Value> {
    let of = |kind: &str, worker: &WorkerId| json!({"kind": kind, "worker": worker.0});
    Some(match event {
        Event::Fork {
            worker,
            slot,
            pid,
            restarts,
        } => json!({
            "kind": "fork", "worker": worker.0, "slot": slot.0, "pid": pid, "restarts": restarts,
        }),
        Event::StartFailed { worker, error } => json!({
            "kind": "start_failed", "worker": worker.0, "code": error.node_code(),
            "error": one_line(error),
        }),
        Event::Online { worker } => of("online", worker),
        Event::Listening {
            worker,
            at,
            self_bound,
        } => json!({
            "kind": "listening", "worker": worker.0, "at": place(at), "self_bound": self_bound,
        }),
        Event::ListenFailed {
            worker,
            at,
            code,
            holder,
        } => json!({
            "kind": "listen_failed", "worker": worker.0, "at": place(at), "code": code,
            "holder": holder.as_ref().map(|(pid, name)| json!({"pid": pid, "name": name})),
        }),
        Event::Ready { worker } => of("ready", worker),
        Event::AllReady => json!({"kind": "all_ready"}),
        Event::NotReady { worker, waited } => timed("not_ready", *worker, *waited),
        Event::Message { worker, message } => json!({
            "kind": "message", "worker": worker.0,
            "message": message.decode::<Value>().ok(),
            "handle": message.handle().is_some(),
        }),
        Event::ChannelError { worker, error } => wrong("channel_error", *worker, error),
        Event::ClusterError { worker, error } => wrong("cluster_error", *worker, error),
        Event::Stuck { worker, waited } => timed("stuck", *worker, *waited),
        Event::Disconnect { worker } => of("disconnect", worker),
        Event::Exit { worker, exit } => exited(*worker, exit),
        Event::Restarting { slot, after } => json!({
            "kind": "restarting", "slot": slot.0, "after": to_millisecond(*after),
        }),
        Event::GaveUp(why) => gave_up(*why),
        Event::Over {
            end,
            signalled,
            killed,
        } => json!({
            "kind": "over", "end": name(*end), "signalled": signalled, "killed": killed,
        }),
        // The library may tell more one day.
        Event::Output { .. } | _ => return None,
    })
}

fn wrong(kind: &str, worker: WorkerId, error: &dyn Error) -> Value {
    json!({"kind": kind, "worker": worker.0, "error": one_line(error)})
}

fn exited(worker: WorkerId, exit: &WorkerExit) -> Value {
    json!({
        "kind": "exit", "worker": worker.0, "pid": exit.pid,
        "code": exit.exit.code(),
        "signal": exit.exit.signal().map(|signal| signal.to_string()),
        "expected": exit.expected, "out_of_memory": exit.out_of_memory,
        "lived": to_millisecond(exit.lived), "last_lines": exit.last_lines,
    })
}

fn name(end: End) -> &'static str {
    match end {
        End::Stopped => "stopped",
        End::GaveUp => "gave_up",
        End::Finished => "finished",
    }
}

fn timed(kind: &str, worker: WorkerId, waited: Duration) -> Value {
    json!({"kind": kind, "worker": worker.0, "waited": to_millisecond(waited)})
}

fn gave_up(why: GaveUp) -> Value {
    match why {
        GaveUp::TooManyRestarts { starts, within } => json!({
            "kind": "gave_up", "why": "too_many_restarts", "restarts": starts,
            "within": to_millisecond(within),
        }),
        GaveUp::NeverReady { starts } => json!({
            "kind": "gave_up", "why": "never_ready", "starts": starts,
        }),
        GaveUp::CannotStart { slot } => json!({
            "kind": "gave_up", "why": "cannot_start", "slot": slot.0,
        }),
    }
}

#[derive(Serialize)]
struct Place<'a> {
    text: String,
    address: Option<&'a str>,
    port: Option<u16>,
}

fn place(at: &Address) -> Place<'_> {
    Place {
        text: at.to_string(),
        address: at.address.as_deref(),
        port: at.port,
    }
}

#[derive(Serialize)]
struct Standing<'a> {
    name: Option<&'a str>,
    pid: u32,
    up: f64,
    wanted: u32,
    ready: usize,
    restarts: u64,
    gave_up: bool,
    workers: Vec<Worker>,
    listeners: Vec<Listener<'a>>,
}

#[derive(Serialize)]
struct Worker {
    worker: u32,
    slot: u32,
    pid: u32,
    phase: &'static str,
    up: f64,
    restarts: u32,
    given: u64,
    in_flight: u32,
    /// Seconds.
    cpu: Option<f64>,
    /// Bytes.
    rss: Option<u64>,
}

#[derive(Serialize)]
struct Listener<'a> {
    at: Place<'a>,
    mode: Option<&'static str>,
    rate: Option<f64>,
    accepted: u64,
    waiting: usize,
    holders: Vec<u32>,
}

/// How things stand, in one line.
pub(crate) fn status(name: Option<&str>, status: &Status) -> Vec<u8> {
    let is_ready = |worker: &&WorkerStatus| worker.phase == Phase::Ready;
    let standing = Standing {
        name,
        pid: std::process::id(),
        up: to_millisecond(status.up),
        wanted: status.wanted,
        ready: status.workers.iter().filter(is_ready).count(),
        restarts: status.restarts,
        gave_up: status.gave_up,
        workers: status.workers.iter().map(worker).collect(),
        listeners: status.listeners.iter().map(listener).collect(),
    };
    let mut line = serde_json::to_vec(&standing).unwrap_or_default();
    line.push(b'\n');
    line
}

fn worker(worker: &WorkerStatus) -> Worker {
    Worker {
        worker: worker.worker.0,
        slot: worker.slot.0,
        pid: worker.pid,
        phase: match worker.phase {
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::Leaving => "leaving",
        },
        up: to_millisecond(worker.up),
        restarts: worker.restarts,
        given: worker.given,
        in_flight: worker.in_flight,
        cpu: worker.cpu.map(to_millisecond),
        rss: worker.rss,
    }
}

fn listener(listener: &ListenerStatus) -> Listener<'_> {
    Listener {
        at: place(&listener.at),
        mode: listener.mode.map(|mode| match mode {
            Mode::HandOver => "hand-over",
            Mode::Spread => "spread",
        }),
        rate: listener.rate,
        accepted: listener.accepted,
        waiting: listener.waiting,
        holders: listener.holders.iter().map(|worker| worker.0).collect(),
    }
}
