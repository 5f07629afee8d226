mod connections;
mod deaths;
mod hostile;
mod listeners;
mod simulation;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::*;
use crate::cluster::balance::Policy;
use crate::cluster::protocol::AddressType;

const IN_USE: i32 = 98;
const ACCESS: i32 = 13;
const TOO_MANY: i32 = 24;
const STUCK_AFTER: Duration = Duration::from_secs(5);

fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// Any time will do.
#[expect(clippy::disallowed_methods, reason = "only a start for virtual time")]
fn start() -> Instant {
    Instant::now()
}

fn terms() -> Terms {
    Terms {
        splits: false,
        shares: false,
        addresses: Addresses::Any,
        listeners: 8,
        queue: 16,
        stuck_after: STUCK_AFTER,
        errors: Errors {
            address_in_use: IN_USE,
            access: ACCESS,
            too_many: TOO_MANY,
        },
    }
}

fn tcp(port: i32) -> Query {
    Query {
        address: Some("127.0.0.1".into()),
        port: Some(port),
        address_type: Some(AddressType::V4),
        ..Query::default()
    }
}

fn path(path: &str) -> Query {
    Query {
        address: Some(path.into()),
        port: Some(-1),
        address_type: Some(AddressType::Path),
        ..Query::default()
    }
}

fn udp(port: i32) -> Query {
    Query {
        address_type: Some(AddressType::Udp4),
        ..tcp(port)
    }
}

fn descriptor(fd: i32) -> Query {
    Query {
        fd: Some(fd),
        ..Query::default()
    }
}

/// A primary with its driver: actions are told as lines, connections are numbers.
struct Stage {
    primary: Primary<u32>,
    now: Instant,
    /// What is with a worker, by the number of its message.
    out: BTreeMap<u64, (u32, u32)>,
    next_conn: u32,
    /// Messages of all workers.
    seq: u64,
    lines: Vec<String>,
}

impl Stage {
    fn new(terms: Terms, policy: &str) -> Self {
        let policy: Policy = policy.parse().unwrap();
        Self {
            primary: Primary::new(terms, move || policy.balance(7)),
            now: start(),
            out: BTreeMap::new(),
            next_conn: 0,
            seq: 0,
            lines: Vec::new(),
        }
    }

    /// With that many workers that hold one listener, port 80.
    fn serving(terms: Terms, policy: &str, workers: u32) -> Self {
        let mut stage = Self::new(terms, policy);
        for worker in 1..=workers {
            stage.add(worker);
            stage.listen(worker, tcp(80));
        }
        stage.lines.clear();
        stage
    }

    fn round_robin(workers: u32) -> Self {
        Self::serving(terms(), "round-robin", workers)
    }

    fn add(&mut self, worker: u32) {
        self.primary.add_worker(WorkerId(worker), Slot(worker - 1));
        self.primary.ready(WorkerId(worker), self.now - ms(60_000));
    }

    fn said(&mut self, worker: u32, act: WorkerAct) {
        self.seq += 1;
        let seq = self.seq;
        let message = FromWorker { seq, act };
        self.primary.said(WorkerId(worker), message, self.now);
        self.carry_out();
    }

    fn ask(&mut self, worker: u32, query: Query) {
        self.said(worker, WorkerAct::QueryServer(Box::new(query)));
    }

    /// Asks, and the system has no objections.
    fn listen(&mut self, worker: u32, query: Query) {
        let port = query.port.unwrap_or(0).max(0);
        self.ask(worker, query);
        for id in self.unbound() {
            self.bound(id, Ok(port));
        }
    }

    fn unbound(&self) -> Vec<u64> {
        let listeners = self.primary.listeners.iter();
        let unbound = listeners.filter(|(_, one)| matches!(one.state, State::Binding(_)));
        unbound.map(|(id, _)| id.0).collect()
    }

    /// The system gives this port, or this error. For port 0 it is 50000 and up.
    fn bound(&mut self, id: u64, result: Result<i32, i32>) {
        let result = result.map(|port| {
            let port = u16::try_from(port).unwrap();
            let port = if port == 0 {
                50_000 + u16::try_from(id).unwrap()
            } else {
                port
            };
            Some(SocketAddr::from(([127, 0, 0, 1], port)))
        });
        self.primary.bound(ListenerId(id), result, self.now);
        self.carry_out();
    }

    fn close(&mut self, worker: u32, key: &str) {
        self.said(worker, WorkerAct::Close { key: key.into() });
    }

    fn exits_after_disconnect(&mut self, worker: u32) {
        self.said(worker, WorkerAct::ExitedAfterDisconnect);
    }

    fn dies(&mut self, worker: u32) {
        self.primary.disconnected(WorkerId(worker), self.now);
        self.carry_out();
    }

    fn leave(&mut self, worker: u32) {
        self.primary.leave(WorkerId(worker));
        self.carry_out();
    }

    fn arrives(&mut self, listener: u64) -> u32 {
        self.arrives_from(listener, None)
    }

    fn arrives_from(&mut self, listener: u64, peer: Option<IpAddr>) -> u32 {
        let conn = self.next_conn;
        self.next_conn += 1;
        let arrival = Arrival {
            conn,
            peer,
            first_bytes: None,
        };
        self.primary
            .arrived(ListenerId(listener), arrival, self.now);
        self.carry_out();
        conn
    }

    /// The message that gave this connection last, and to whom.
    fn of(&self, conn: u32) -> (u64, u32) {
        let mut out = self.out.iter().rev();
        let (seq, (worker, _)) = out.find(|(_, (_, one))| *one == conn).unwrap();
        (*seq, *worker)
    }

    /// Who has it, if it was given and has not come back.
    fn holder(&self, conn: u32) -> Option<u32> {
        let mut out = self.out.values();
        out.find(|(_, one)| *one == conn).map(|(worker, _)| *worker)
    }

    fn back(&mut self, conn: u32, is_taken: bool) -> (u64, u32) {
        let (seq, worker) = self.of(conn);
        self.out.remove(&seq);
        let back = Back {
            worker: WorkerId(worker),
            seq,
            is_taken,
            conn,
        };
        self.primary.settled(back, self.now);
        self.carry_out();
        (seq, worker)
    }

    fn answer(&mut self, worker: u32, ack: u64, accepted: bool) {
        let accepted = Some(accepted);
        self.said(worker, WorkerAct::Answer { ack, accepted });
    }

    /// It gets it, and serves it.
    fn accepts(&mut self, conn: u32) -> u32 {
        let (seq, worker) = self.back(conn, true);
        self.answer(worker, seq, true);
        worker
    }

    /// It gets it, and does not want it.
    fn refuses(&mut self, conn: u32) -> u32 {
        let (seq, worker) = self.back(conn, true);
        self.answer(worker, seq, false);
        worker
    }

    fn nack(&mut self, conn: u32) -> u32 {
        let (_, worker) = self.back(conn, false);
        worker
    }

    /// Lets time pass, and ticks whenever that is due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.primary.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.tick();
        }
        self.now = end;
    }

    fn tick(&mut self) {
        self.primary.tick(self.now);
        let due = self.primary.deadline();
        let is_past = due.is_some_and(|due| due <= self.now);
        assert!(!is_past, "what was due still is");
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.primary.next_action() {
            let line = line(&action);
            if let Action::Give {
                worker, seq, conn, ..
            } = action
            {
                self.out.insert(seq, (worker.0, conn));
            }
            self.lines.push(line);
        }
    }

    /// What was done since this was last asked.
    fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    fn forget(&mut self) -> &mut Self {
        self.lines.clear();
        self
    }

    fn waiting(&self, listener: u64) -> usize {
        let mut all = self.primary.listeners();
        let view = all.find(|view| view.listener.0 == listener);
        view.map_or(0, |view| view.waiting)
    }

    fn unconfirmed(&self, worker: u32) -> usize {
        self.primary.given(WorkerId(worker)).1
    }
}

fn line(action: &Action<u32>) -> String {
    match action {
        Action::Bind {
            listener,
            query,
            kind,
        } => format!("bind {} {kind:?} {}", listener.0, query.key()),
        Action::Unbind { listener } => format!("unbind {}", listener.0),
        Action::Accept { listener, on } => {
            let on = if *on { "on" } else { "off" };
            format!("accept {} {on}", listener.0)
        }
        Action::Say {
            worker, act, share, ..
        } => {
            let with = share.map_or_else(String::new, |id| format!(" with socket {}", id.0));
            format!("{worker}: {}{with}", said(act))
        }
        Action::Give { worker, conn, .. } => format!("{worker}: gets {conn}"),
        Action::Tell(told) => tell(told),
    }
}

fn said(act: &ToWorker) -> String {
    match act {
        ToWorker::NewConn { .. } => unreachable!("given, not said"),
        ToWorker::Disconnect => "disconnect".into(),
        ToWorker::ExitAllowed { ack } => format!("may go #{ack}"),
        ToWorker::Unknown { act } => act.clone(),
        ToWorker::Listener(reply) => {
            let Reply {
                ack,
                key,
                errno,
                sockname,
                data,
            } = &**reply;
            let at = sockname.map_or_else(String::new, |at| format!(" at {at}"));
            let data = data.as_ref();
            let data = data.map_or_else(String::new, |data| format!(" data {data}"));
            match errno {
                0 => format!("#{ack} has {key}{at}{data}"),
                errno => format!("#{ack} has not {key}: {errno}"),
            }
        }
    }
}

fn tell(told: &Told) -> String {
    match told {
        Told::Online(worker) => format!("{worker} is online"),
        Told::Listening {
            worker, self_bound, ..
        } => {
            let how = if *self_bound { " by itself" } else { "" };
            format!("{worker} listens{how}")
        }
        Told::ListenFailed { worker, errno, .. } => format!("{worker} failed: {errno}"),
        Told::Leaving(worker) => format!("{worker} leaves"),
        Told::Stuck { worker, waited } => format!("{worker} stuck {} ms", waited.as_millis()),
        Told::Holders(id) => format!("holders {}", id.0),
    }
}

#[test]
fn the_ends_of_a_conversation_are_as_node_has_them() {
    let mut stage = Stage::new(terms(), "round-robin");
    stage.add(1);
    stage.said(1, WorkerAct::Online);
    stage.ask(1, tcp(8000));
    assert_eq!(
        stage.lines(),
        ["1 is online", "bind 0 HandOver 127.0.0.1:8000:4:undefined"]
    );
    stage.bound(0, Ok(8000));
    assert_eq!(
        stage.lines(),
        [
            "1: #2 has 127.0.0.1:8000:4:undefined at 127.0.0.1:8000",
            "holders 0",
            "accept 0 on",
        ]
    );
    stage.said(1, WorkerAct::Listening(Box::new(tcp(8000))));
    assert_eq!(stage.lines(), ["1 listens"]);
    stage.exits_after_disconnect(1);
    assert_eq!(stage.lines(), ["holders 0", "1: may go #4", "1 leaves"]);
    stage.dies(1);
    stage.pass(ms(60_000));
    assert_eq!(stage.lines(), [""; 0]);
}
