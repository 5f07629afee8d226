//! Many workers under a primary that does what Node's does, message by message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::cluster::protocol::{
    decode_from_primary, decode_from_worker, encode_to_primary, encode_to_worker,
};
use crate::ipc::Serialization;

type Client = usize;
type Id = usize;

/// Node's `RoundRobinHandle` for one key, and the part of `primary.js` that
/// feeds it; with one cure: what a dead worker did not answer goes to others.
#[derive(Default)]
struct Primary {
    seq: u64,
    all: BTreeSet<Id>,
    free: VecDeque<Id>,
    queue: VecDeque<Client>,
    given: BTreeMap<u64, (Id, Client)>,
    leaving: BTreeSet<Id>,
    out: Vec<(Id, FromPrimary, Option<Client>)>,
}

impl Primary {
    fn say(&mut self, to: Id, act: ToWorker, client: Option<Client>) -> u64 {
        let seq = self.seq;
        self.seq += 1;
        self.out.push((to, FromPrimary { seq, act }, client));
        seq
    }

    fn hear(&mut self, from: Id, said: FromWorker) {
        match said.act {
            WorkerAct::QueryServer(query) => {
                if self.leaving.contains(&from) {
                    return;
                }
                let is_new = self.all.insert(from);
                assert!(is_new, "Node's primary ends itself here");
                let reply = Listener {
                    ack: said.seq,
                    key: query.key().into(),
                    errno: 0,
                    sockname: None,
                    data: None,
                };
                self.say(from, ToWorker::Listener(reply.into()), None);
                self.hand_off(from);
            }
            WorkerAct::Close { .. } => self.remove(from),
            WorkerAct::ExitedAfterDisconnect => {
                self.leaving.insert(from);
                let ack = said.seq;
                self.say(from, ToWorker::ExitAllowed { ack }, None);
            }
            WorkerAct::Answer { ack, accepted } => {
                let (worker, client) = self.given.remove(&ack).expect("it was asked");
                assert_eq!(worker, from);
                if accepted != Some(true) {
                    self.distribute(client);
                }
                self.hand_off(from);
            }
            WorkerAct::Online | WorkerAct::Listening(_) => {}
            WorkerAct::Unknown { act } => panic!("{act}"),
        }
    }

    fn distribute(&mut self, client: Client) {
        self.queue.push_back(client);
        if let Some(worker) = self.free.pop_front() {
            self.hand_off(worker);
        }
    }

    fn hand_off(&mut self, worker: Id) {
        if !self.all.contains(&worker) || self.free.contains(&worker) {
            return;
        }
        let Some(client) = self.queue.pop_front() else {
            return self.free.push_back(worker);
        };
        let key = query().key().into();
        let seq = self.say(worker, ToWorker::NewConn { key }, Some(client));
        self.given.insert(seq, (worker, client));
    }

    fn disconnect(&mut self, worker: Id) {
        self.leaving.insert(worker);
        self.say(worker, ToWorker::Disconnect, None);
        self.remove(worker);
    }

    fn remove(&mut self, worker: Id) {
        self.all.remove(&worker);
        self.free.retain(|free| *free != worker);
    }

    fn lost(&mut self, worker: Id) {
        self.remove(worker);
        let lost = self.given.extract_if(.., |_, (to, _)| *to == worker);
        let clients: Vec<_> = lost.map(|(_, (_, client))| client).collect();
        for client in clients {
            self.distribute(client);
        }
    }
}

/// A worker's program: one listener, which it asks for again whenever it has closed it.
struct Program {
    machine: Worker,
    serialization: Serialization,
    to_worker: VecDeque<(Vec<u8>, Option<Client>)>,
    to_primary: VecDeque<Vec<u8>>,
    listener: Option<ListenerId>,
    offers: Vec<(Connection, Client)>,
    finish: bool,
    gone: bool,
    left: Option<Leave>,
}

impl Program {
    fn new(serialization: Serialization) -> Self {
        let mut program = Self {
            machine: Worker::new(),
            serialization,
            to_worker: VecDeque::new(),
            to_primary: VecDeque::new(),
            listener: None,
            offers: Vec::new(),
            finish: false,
            gone: false,
            left: None,
        };
        program.listener = program.machine.listen(query()).ok();
        program.act(None);
        program
    }

    fn act(&mut self, mut handle: Option<Client>) {
        while let Some(action) = self.machine.next_action() {
            match action {
                Action::Send(said) => {
                    let mut body = Vec::new();
                    encode_to_primary(self.serialization, said.seq, &said.act, &mut body);
                    self.to_primary.push_back(body);
                }
                Action::Offer { connection, .. } => {
                    let client = handle.take().expect("an offer comes with a connection");
                    self.offers.push((connection, client));
                }
                Action::Close { .. } | Action::Fail { .. } => self.listener = None,
                Action::Finish => self.finish = true,
                Action::Leave(why) => {
                    assert_eq!(self.left.replace(why), None, "it leaves once");
                    self.gone = true;
                }
                Action::Open { .. } => {}
            }
        }
    }
}

struct World {
    primary: Primary,
    programs: Vec<Program>,
    clients: Client,
    served: BTreeMap<Client, Id>,
    now: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Arrive,
    ToPrimary,
    ToWorker,
    Take,
    Reopen,
    Disconnect,
    Leave,
    Kill,
    PrimaryDisconnects,
    Dies,
}

impl World {
    fn new(workers: usize) -> Self {
        let of = [Serialization::Json, Serialization::Advanced];
        Self {
            primary: Primary::default(),
            programs: (0..workers).map(|id| Program::new(of[id % 2])).collect(),
            clients: 0,
            served: BTreeMap::new(),
            now: now(),
        }
    }

    fn step(&mut self, step: Step, id: Id) {
        match step {
            Step::Arrive => {
                self.primary.distribute(self.clients);
                self.clients += 1;
            }
            Step::ToPrimary => self.primary_hears(id),
            Step::PrimaryDisconnects if !self.programs[id].gone => self.primary.disconnect(id),
            _ if self.programs[id].gone => {}
            Step::ToWorker => self.worker_hears(id),
            Step::Take => self.take(id),
            Step::Dies => self.programs[id].gone = true,
            Step::Reopen => {
                let program = &mut self.programs[id];
                if let Some(listener) = program.listener.take() {
                    program.machine.close(listener);
                }
                // Waits for what is on its way, as Node asserts that nobody asks for a held key.
                program.act(None);
                while self.has_words(id) {
                    self.primary_hears(id);
                    self.worker_hears(id);
                }
                let program = &mut self.programs[id];
                program.listener = program.machine.listen(query()).ok();
            }
            Step::Disconnect => self.programs[id].machine.disconnect(),
            Step::Leave => self.programs[id].machine.leave(self.now),
            Step::Kill => self.programs[id].machine.kill(self.now),
            Step::PrimaryDisconnects => {}
        }
        if !self.programs[id].gone {
            self.programs[id].act(None);
        }
        self.carry();
    }

    fn has_words(&self, id: Id) -> bool {
        let program = &self.programs[id];
        let words = program.to_primary.len() + program.to_worker.len();
        words > 0 && !program.gone
    }

    fn carry(&mut self) {
        for (to, said, client) in std::mem::take(&mut self.primary.out) {
            let program = &mut self.programs[to];
            let mut body = Vec::new();
            encode_to_worker(program.serialization, said.seq, &said.act, &mut body);
            program.to_worker.push_back((body, client));
        }
    }

    fn primary_hears(&mut self, id: Id) {
        let program = &mut self.programs[id];
        if let Some(body) = program.to_primary.pop_front() {
            let said = decode_from_worker(program.serialization, &body).unwrap();
            self.primary.hear(id, said);
        } else if program.gone {
            // Its channel is read to the end.
            self.primary.lost(id);
        }
        self.carry();
    }

    fn worker_hears(&mut self, id: Id) {
        let program = &mut self.programs[id];
        if let Some((body, client)) = program.to_worker.pop_front() {
            let said = decode_from_primary(program.serialization, &body).unwrap();
            let came = match client {
                Some(_) => Came::WithHandle,
                None => Came::Alone,
            };
            program.machine.hear(said, came);
            program.act(client);
        }
    }

    fn take(&mut self, id: Id) {
        let program = &mut self.programs[id];
        if program.offers.is_empty() {
            return;
        }
        let (connection, client) = program.offers.remove(0);
        if program.machine.take(connection) {
            let before = self.served.insert(client, id);
            assert_eq!(before, None, "client {client} is served twice");
        }
    }

    /// All go on until nothing is left to be done; whoever is to finish, does.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            let mut is_quiet = self.primary.given.is_empty() && self.primary.queue.is_empty();
            for id in 0..self.programs.len() {
                let program = &self.programs[id];
                let mut left = program.to_primary.len();
                if !program.gone {
                    left += program.to_worker.len() + program.offers.len();
                }
                is_quiet &= left == 0;
                for step in [Step::ToPrimary, Step::ToWorker, Step::Take] {
                    self.step(step, id);
                }
                if self.programs[id].finish && !self.programs[id].gone {
                    self.step(Step::Leave, id);
                }
            }
            if is_quiet {
                return;
            }
        }
        panic!("it never ends");
    }
}

fn steps() -> impl Strategy<Value = Vec<(Step, prop::sample::Index)>> {
    let step = prop_oneof![
        30 => Just(Step::Arrive),
        60 => Just(Step::ToPrimary),
        60 => Just(Step::ToWorker),
        40 => Just(Step::Take),
        3 => Just(Step::Reopen),
        1 => Just(Step::Disconnect),
        1 => Just(Step::Leave),
        1 => Just(Step::Kill),
        2 => Just(Step::PrimaryDisconnects),
        1 => Just(Step::Dies),
    ];
    prop::collection::vec((step, any::<prop::sample::Index>()), 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Every client is served, once, whoever leaves or dies in the middle of
    /// what; and everybody who wants to leave, leaves.
    #[test]
    fn every_client_is_served_once(workers in 1_usize..6, steps in steps()) {
        let mut world = World::new(workers);
        for (step, id) in steps {
            world.step(step, id.index(workers));
        }
        // One that stays.
        world.programs.push(Program::new(Serialization::Json));
        world.settle();
        prop_assert_eq!(world.served.len(), world.clients);
        prop_assert!(world.primary.given.is_empty() && world.primary.queue.is_empty());
        for program in &world.programs {
            prop_assert!(!program.finish || program.gone);
            prop_assert_ne!(program.left, Some(Leave::Unanswered));
            prop_assert!(program.gone || program.machine.offered.is_empty());
        }
    }
}

/// Hundreds of workers in one program, as fast as they can.
#[test]
fn three_hundred_workers_share_evenly() {
    let mut world = World::new(300);
    world.settle();
    for _ in 0..30 {
        for _ in 0..300 {
            world.step(Step::Arrive, 0);
        }
        world.settle();
    }
    let mut each = vec![0; 300];
    for worker in world.served.values() {
        each[*worker] += 1;
    }
    assert_eq!(each, vec![30; 300]);
}
