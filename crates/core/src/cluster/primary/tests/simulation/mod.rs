//! Whole clusters in virtual time (µs): this primary, and workers that are the
//! real [`worker`](crate::cluster::worker) machine. Everything that crosses a
//! channel takes a random time; whatever can die, does so at any step.

mod properties;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use super::*;
use crate::cluster::protocol::FromPrimary;
use crate::cluster::worker::{self, Came, Connection};

const MS: u64 = 1_000;
const S: u64 = 1_000_000;
const QUEUE: usize = 32;
/// The longest rest of a worker that refused something.
const REST: u64 = S;

type Client = usize;

/// The primary's copy of a connection.
#[derive(Debug)]
struct Conn {
    client: Client,
    ledger: Rc<RefCell<Ledger>>,
}

impl Drop for Conn {
    fn drop(&mut self) {
        let mut ledger = self.ledger.borrow_mut();
        if ledger.taken[self.client].is_none() && !ledger.is_stopping {
            let lost = format!("{} was closed and nobody had it", self.client);
            ledger.wrong.push(lost);
        }
    }
}

#[derive(Debug, Default)]
struct Ledger {
    /// Who serves a client, or did when it died.
    taken: Vec<Option<u32>>,
    is_stopping: bool,
    wrong: Vec<String>,
}

/// What happens, besides connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Dies,
    /// It takes nothing any more.
    Hangs,
    /// Its primary wants it to leave.
    Leaves,
    /// It wants to leave itself.
    Quits,
    /// It refuses all that comes, for a while.
    IsFull,
    /// It loses all that comes, for a while.
    HasNoDescriptors,
    /// One more is started.
    Joins,
}

#[derive(Debug)]
enum Event {
    Arrives(i32),
    ToWorker(u32, FromPrimary),
    ToPrimary(u32, FromWorker),
    Back(u32, u64, bool),
    Takes(u32, u64, Connection),
    Listens(u32, i32),
    Bound(ListenerId, bool),
    Finishes(u32),
    Gone(u32),
    Trouble(Trouble),
}

struct Program {
    machine: worker::Worker,
    ports: BTreeMap<worker::ListenerId, i32>,
    is_alive: bool,
    hangs: bool,
    full_until: u64,
    no_descriptors_until: u64,
    /// When the last message arrives that is on its way.
    to_worker: u64,
    to_primary: u64,
    /// What it holds and has not taken, by the number of the message.
    offers: BTreeMap<u64, Client>,
    /// As the primary must see it: what was given and is not over; whether
    /// it was answered, whether it came back.
    pending: BTreeMap<u64, (bool, bool)>,
    open: bool,
    trouble_at: Option<u64>,
    served: u64,
}

struct Setup {
    seed: u64,
    workers: u32,
    clients: usize,
    ports: i32,
    policy: &'static str,
    /// One of them every so often.
    troubles: &'static [Trouble],
    every: u64,
    /// Mean time between two clients.
    pause: u64,
}

struct World {
    primary: Primary<Conn>,
    ledger: Rc<RefCell<Ledger>>,
    start: Instant,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    what: BTreeMap<u64, Event>,
    number: u64,
    random: u64,
    programs: BTreeMap<u32, Program>,
    /// By the number of the message, what is with a channel.
    out: BTreeMap<u64, Conn>,
    /// The same, for ever.
    given: BTreeMap<u64, Client>,
    /// Who has a client's socket, or will get it.
    hands: BTreeMap<Client, u32>,
    accepting: BTreeSet<ListenerId>,
    /// The listener of each port, and what the system holds for it.
    listeners: BTreeMap<i32, ListenerId>,
    backlog: BTreeMap<i32, usize>,
    depth: usize,
    ports: i32,
    to_come: usize,
    waited_most: usize,
    gives: u64,
}

impl World {
    fn new(setup: &Setup) -> Self {
        let policy: Policy = setup.policy.parse().unwrap();
        let depth = usize::try_from(policy.balance(0).depth()).unwrap();
        let terms = Terms {
            queue: QUEUE,
            ..terms()
        };
        let mut world = Self {
            primary: Primary::new(terms, move || policy.balance(3)),
            ledger: Rc::default(),
            start: start(),
            now: 0,
            events: BinaryHeap::new(),
            what: BTreeMap::new(),
            number: 0,
            random: setup.seed,
            programs: BTreeMap::new(),
            out: BTreeMap::new(),
            given: BTreeMap::new(),
            hands: BTreeMap::new(),
            accepting: BTreeSet::new(),
            listeners: BTreeMap::new(),
            backlog: BTreeMap::new(),
            depth,
            ports: setup.ports,
            to_come: setup.clients,
            waited_most: 0,
            gives: 0,
        };
        for _ in 0..setup.workers {
            world.fork();
        }
        world.schedule(setup);
        world
    }

    fn schedule(&mut self, setup: &Setup) {
        let mut at = 100 * MS;
        for _ in 0..setup.clients {
            at += self.below(2 * setup.pause);
            let port = self.below(u64::try_from(setup.ports).unwrap());
            self.at(at, Event::Arrives(80 + i32::try_from(port).unwrap()));
        }
        let mut when = 50 * MS;
        while when < at && !setup.troubles.is_empty() {
            let which = self.below(setup.troubles.len() as u64);
            let which = setup.troubles[usize::try_from(which).unwrap()];
            self.at(when, Event::Trouble(which));
            when += self.below(2 * setup.every);
        }
        // In case that all have trouble at the end.
        self.at(at + S, Event::Trouble(Trouble::Joins));
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % end.max(1)
    }

    fn at(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((at, self.number)));
        self.what.insert(self.number, event);
    }

    fn later(&mut self, most: u64, event: Event) {
        let at = self.now + 1 + self.below(most);
        self.at(at, event);
    }

    fn time(&self) -> Instant {
        self.start + Duration::from_micros(self.now)
    }

    fn wrong(&self, what: String) {
        self.ledger.borrow_mut().wrong.push(what);
    }

    fn fork(&mut self) {
        let id = u32::try_from(self.programs.len() + 1).unwrap();
        let program = Program {
            machine: worker::Worker::new(),
            ports: BTreeMap::new(),
            is_alive: true,
            hangs: false,
            full_until: 0,
            no_descriptors_until: 0,
            to_worker: 0,
            to_primary: 0,
            offers: BTreeMap::new(),
            pending: BTreeMap::new(),
            open: true,
            trouble_at: None,
            served: 0,
        };
        self.programs.insert(id, program);
        self.primary.add_worker(WorkerId(id), Slot(id - 1));
        self.primary.ready(WorkerId(id), self.time());
        for port in 0..self.ports {
            self.later(10 * MS, Event::Listens(id, 80 + port));
        }
    }

    fn program(&mut self, id: u32) -> &mut Program {
        self.programs.get_mut(&id).unwrap()
    }

    fn run(&mut self) {
        loop {
            let due = self.primary.deadline();
            let due = due.map(|due| due.saturating_duration_since(self.start));
            let due = due.map(|due| u64::try_from(due.as_micros()).unwrap());
            let next = self.events.peek().map(|Reverse((at, _))| *at);
            match (due, next) {
                (Some(due), next) if next.is_none_or(|next| due <= next) => {
                    self.now = self.now.max(due);
                    self.primary.tick(self.time());
                    let late = self.primary.deadline();
                    assert!(late.is_none_or(|late| late > self.time()), "it spins");
                }
                (_, Some(at)) => {
                    let Reverse((_, number)) = self.events.pop().unwrap();
                    self.now = at;
                    let event = self.what.remove(&number).unwrap();
                    self.on(event);
                }
                (_, None) => break,
            }
            self.carry_out();
            self.accept();
            self.look();
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Arrives(port) => *self.backlog.entry(port).or_default() += 1,
            Event::ToWorker(id, message) => self.reaches(id, message),
            Event::ToPrimary(id, message) => self.is_heard(id, message),
            Event::Back(id, seq, is_taken) => self.back(id, seq, is_taken),
            Event::Takes(id, seq, connection) => self.takes(id, seq, connection),
            Event::Listens(id, port) => self.listens(id, port),
            Event::Bound(id, is_ok) => {
                let at = SocketAddr::from(([127, 0, 0, 1], 80));
                let result = if is_ok { Ok(Some(at)) } else { Err(IN_USE) };
                self.primary.bound(id, result, self.time());
            }
            Event::Finishes(id) => {
                let now = self.time();
                if self.program(id).is_alive {
                    self.program(id).machine.leave(now);
                    self.act(id, 0);
                }
            }
            Event::Gone(id) => {
                self.program(id).open = false;
                self.primary.disconnected(WorkerId(id), self.time());
            }
            Event::Trouble(trouble) => self.trouble(trouble),
        }
    }

    /// At least one worker stays that has no trouble.
    fn trouble(&mut self, trouble: Trouble) {
        let well =
            |(id, one): (&u32, &Program)| (one.is_alive && one.open && !one.hangs).then_some(*id);
        let well: Vec<u32> = self.programs.iter().filter_map(well).collect();
        if trouble == Trouble::Joins || well.len() < 2 {
            return self.fork();
        }
        let id = well[usize::try_from(self.below(well.len() as u64)).unwrap()];
        let until = self.now + self.below(300 * MS);
        match trouble {
            Trouble::Dies => self.dies(id),
            Trouble::Hangs => self.program(id).hangs = true,
            Trouble::Leaves => {
                self.program(id).open = false;
                self.primary.leave(WorkerId(id));
            }
            Trouble::Quits => {
                self.program(id).machine.disconnect();
                self.act(id, 0);
            }
            Trouble::IsFull => self.program(id).full_until = until,
            Trouble::HasNoDescriptors => self.program(id).no_descriptors_until = until,
            Trouble::Joins => {}
        }
    }

    fn dies(&mut self, id: u32) {
        let program = self.programs.get_mut(&id).unwrap();
        if !std::mem::take(&mut program.is_alive) {
            return;
        }
        for client in std::mem::take(&mut program.offers).into_values() {
            self.hands.remove(&client);
        }
        // What it has said is heard first.
        let last = program.to_primary.max(self.now);
        let at = last + 1 + self.below(5 * MS);
        self.at(at, Event::Gone(id));
    }

    fn listens(&mut self, id: u32, port: i32) {
        let program = self.program(id);
        if !program.is_alive {
            return;
        }
        if let Ok(listener) = program.machine.listen(tcp(port)) {
            program.ports.insert(listener, port);
        }
        self.act(id, 0);
    }

    fn reaches(&mut self, id: u32, message: FromPrimary) {
        let now = self.now;
        let seq = message.seq;
        let program = self.program(id);
        let (is_alive, is_full) = (program.is_alive, program.full_until > now);
        if !matches!(message.act, ToWorker::NewConn { .. }) {
            if is_alive {
                self.program(id).machine.hear(message, Came::Alone);
                self.act(id, seq);
            }
            return;
        }
        let loses = !is_alive || program.no_descriptors_until > now;
        self.later(3 * MS, Event::Back(id, seq, !loses));
        if loses {
            self.hands.remove(&self.given[&seq]);
        } else if is_full {
            let accepted = Some(false);
            self.answers(id, seq, false);
            let act = WorkerAct::Answer { ack: seq, accepted };
            self.send(id, FromWorker { seq: 0, act });
        } else {
            self.program(id).machine.hear(message, Came::WithHandle);
            self.act(id, seq);
        }
    }

    /// Does what the worker's machine wants, which may be about what it has just heard.
    fn act(&mut self, id: u32, heard: u64) {
        while let Some(action) = self.program(id).machine.next_action() {
            match action {
                worker::Action::Send(message) => {
                    if let WorkerAct::Answer { ack, accepted } = message.act {
                        self.answers(id, ack, accepted.unwrap());
                    }
                    self.send(id, message);
                }
                worker::Action::Fail { listener, why } => {
                    let port = self.program(id).ports.remove(&listener);
                    if why != worker::Failure::Leaving {
                        self.later(30 * MS, Event::Listens(id, port.unwrap()));
                    }
                }
                worker::Action::Offer { connection, .. } => {
                    let client = self.given[&heard];
                    self.program(id).offers.insert(heard, client);
                    if !self.program(id).hangs {
                        self.later(4 * MS, Event::Takes(id, heard, connection));
                    }
                }
                worker::Action::Finish => self.later(50 * MS, Event::Finishes(id)),
                worker::Action::Leave(_) => self.dies(id),
                worker::Action::Open { .. } | worker::Action::Close { .. } => {}
            }
        }
    }

    fn takes(&mut self, id: u32, seq: u64, connection: Connection) {
        if self.program(id).is_alive && self.program(id).machine.take(connection) {
            self.act(id, seq);
        }
    }

    fn answers(&mut self, id: u32, seq: u64, accepted: bool) {
        let client = self.given[&seq];
        self.program(id).offers.remove(&seq);
        if !accepted {
            self.hands.remove(&client);
            return;
        }
        self.program(id).served += 1;
        let before = self.ledger.borrow_mut().taken[client].replace(id);
        if let Some(before) = before {
            self.wrong(format!("{client} is served by {before} and by {id}"));
        }
    }

    fn send(&mut self, id: u32, message: FromWorker) {
        let at = self.program(id).to_primary.max(self.now) + 1 + self.below(4 * MS);
        self.program(id).to_primary = at;
        self.at(at, Event::ToPrimary(id, message));
    }

    fn say(&mut self, id: u32, message: FromPrimary) {
        let at = self.program(id).to_worker.max(self.now) + 1 + self.below(4 * MS);
        self.program(id).to_worker = at;
        self.at(at, Event::ToWorker(id, message));
    }

    fn is_heard(&mut self, id: u32, message: FromWorker) {
        if let WorkerAct::Answer { ack, accepted } = message.act {
            let now = self.now;
            let program = self.program(id);
            if accepted != Some(true) {
                program.trouble_at = Some(now);
            }
            if let Some((is_answered, _)) = program.pending.get_mut(&ack) {
                *is_answered = true;
            }
            program.is_over(ack);
        }
        self.primary.said(WorkerId(id), message, self.time());
    }

    fn back(&mut self, id: u32, seq: u64, is_taken: bool) {
        let now = self.now;
        let program = self.program(id);
        if is_taken {
            if let Some((_, is_back)) = program.pending.get_mut(&seq) {
                *is_back = true;
            }
            program.is_over(seq);
        } else {
            program.trouble_at = Some(now);
            program.pending.remove(&seq);
        }
        let back = Back {
            worker: WorkerId(id),
            seq,
            is_taken,
            conn: self.out.remove(&seq).unwrap(),
        };
        self.primary.settled(back, self.time());
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.primary.next_action() {
            match action {
                Action::Bind {
                    listener, query, ..
                } => {
                    self.listeners.insert(query.port.unwrap(), listener);
                    let is_free = self.below(8) > 0;
                    self.later(5 * MS, Event::Bound(listener, is_free));
                }
                Action::Unbind { listener } => self.wrong(format!("{listener:?} was closed")),
                Action::Accept { listener, on } => {
                    let was = self.accepting.contains(&listener);
                    assert_ne!(was, on, "it was told before");
                    if on {
                        self.accepting.insert(listener);
                    } else {
                        self.accepting.remove(&listener);
                    }
                }
                Action::Say {
                    worker, seq, act, ..
                } => self.say(worker.0, FromPrimary { seq, act }),
                Action::Give {
                    worker,
                    seq,
                    key,
                    conn,
                } => {
                    self.may_be_given(worker, &key, &conn);
                    self.gives += 1;
                    self.hands.insert(conn.client, worker.0);
                    self.given.insert(seq, conn.client);
                    self.out.insert(seq, conn);
                    let program = self.program(worker.0);
                    program.pending.insert(seq, (false, false));
                    let act = ToWorker::NewConn { key };
                    self.say(worker.0, FromPrimary { seq, act });
                }
                Action::Tell(Told::Stuck { worker, .. }) => self.dies(worker.0),
                Action::Tell(Told::Leaving(worker)) => self.program(worker.0).open = false,
                Action::Tell(_) => {}
            }
        }
    }

    fn may_be_given(&mut self, worker: WorkerId, key: &str, conn: &Conn) {
        let client = conn.client;
        if let Some(holder) = self.hands.get(&client) {
            self.wrong(format!(
                "{client} is given to {worker}, and {holder} has it"
            ));
        }
        let program = &self.programs[&worker.0];
        if !program.open {
            self.wrong(format!("{client} is given to {worker}, which leaves"));
        }
        let unconfirmed = program.pending.len();
        if unconfirmed >= self.depth {
            self.wrong(format!("{worker} has {unconfirmed} already"));
        }
        let port = key.split(':').nth(1).unwrap().parse().unwrap();
        let listener = self.listeners[&port];
        let is_idle = |(id, one): (&u32, &Program)| {
            let rests = one.trouble_at.is_some_and(|at| at + REST >= self.now);
            one.pending.is_empty() && !rests && self.primary.serves(listener, WorkerId(*id))
        };
        if unconfirmed > 0 && self.programs.iter().any(is_idle) {
            self.wrong(format!("{worker} gets a second one, and another has none"));
        }
    }

    /// Whoever can be accepted, is.
    fn accept(&mut self) {
        let ports: Vec<i32> = self.backlog.keys().copied().collect();
        for port in ports {
            while self.backlog[&port] > 0 {
                let listener = self.listeners.get(&port).copied();
                let accepting = listener.filter(|id| self.accepting.contains(id));
                let Some(listener) = accepting else {
                    break;
                };
                assert!(self.primary.room(listener) > 0, "it accepts without room");
                let mut ledger = self.ledger.borrow_mut();
                let client = ledger.taken.len();
                ledger.taken.push(None);
                drop(ledger);
                let ledger = self.ledger.clone();
                let arrival = Arrival {
                    conn: Conn { client, ledger },
                    peer: Some(IpAddr::from([127, 0, 0, 1])),
                    first_bytes: None,
                };
                *self.backlog.get_mut(&port).unwrap() -= 1;
                self.primary.arrived(listener, arrival, self.time());
                self.carry_out();
            }
        }
    }

    fn look(&mut self) {
        let listeners = self.primary.listeners.values();
        let most = listeners.map(|listener| listener.queue.len()).max();
        self.waited_most = self.waited_most.max(most.unwrap_or(0));
    }

    /// When nothing happens any more, everybody was served once.
    fn settle_up(&self) {
        let ledger = self.ledger.borrow();
        assert_eq!(ledger.wrong, [""; 0]);
        assert_eq!(ledger.taken.len(), self.to_come, "all were accepted");
        let unserved = ledger.taken.iter().filter(|by| by.is_none()).count();
        assert_eq!(unserved, 0, "all were served");
        assert!(self.out.is_empty());
        assert!(self.primary.stranded.is_empty());
        let queues = self.primary.listeners.values();
        assert_eq!(queues.map(|one| one.queue.len()).sum::<usize>(), 0);
        let most = QUEUE + self.depth * self.programs.len();
        assert!(self.waited_most <= most, "{} waited", self.waited_most);
    }

    fn served(&self) -> Vec<u64> {
        self.programs.values().map(|one| one.served).collect()
    }
}

impl Program {
    fn is_over(&mut self, seq: u64) {
        if self.pending.get(&seq) == Some(&(true, true)) {
            self.pending.remove(&seq);
        }
    }
}
