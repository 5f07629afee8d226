//! What must hold, whatever happens.

use proptest::prelude::*;

use super::*;

const ALL: &[Trouble] = &[
    Trouble::Dies,
    Trouble::Dies,
    Trouble::Hangs,
    Trouble::Leaves,
    Trouble::Quits,
    Trouble::IsFull,
    Trouble::HasNoDescriptors,
    Trouble::Joins,
    Trouble::Joins,
    Trouble::Joins,
];

fn policies() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "least-busy",
        "round-robin",
        "random-two",
        "weighted=3,1,2",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_client_is_served_once_whatever_happens_to_workers(
        seed: u64,
        workers in 1..8_u32,
        ports in 1..4_i32,
        every in MS..50 * MS,
        pause in 50..5 * MS,
        policy in policies(),
    ) {
        let clients = 400;
        let troubles = ALL;
        let setup = Setup { seed, workers, clients, ports, policy, troubles, every, pause };
        let mut world = World::new(&setup);
        world.run();
        world.settle_up();
    }
}

#[test]
fn hundreds_of_workers_come_and_go_and_nobody_is_lost() {
    let setup = Setup {
        seed: 1,
        workers: 300,
        clients: 4_000,
        ports: 2,
        policy: "least-busy",
        troubles: ALL,
        every: 2 * MS,
        pause: 500,
    };
    let mut world = World::new(&setup);
    world.run();
    world.settle_up();
    let dead = world.programs.values().filter(|one| !one.is_alive);
    assert!(dead.count() > 300);
    assert!(
        world.gives > 4_200,
        "{} gives: some had to go twice",
        world.gives
    );
}

/// With more clients than there is room for, the backlog holds them.
#[test]
fn a_flood_waits_outside() {
    let setup = Setup {
        seed: 2,
        workers: 2,
        clients: 3_000,
        ports: 1,
        policy: "least-busy",
        troubles: &[],
        every: S,
        pause: 50,
    };
    let mut world = World::new(&setup);
    world.run();
    world.settle_up();
    assert_eq!(world.waited_most, QUEUE);
}

#[test]
fn equal_workers_get_equal_shares() {
    for policy in ["least-busy", "round-robin", "random-two", "weighted=1"] {
        let setup = Setup {
            seed: 3,
            workers: 16,
            clients: 6_000,
            ports: 1,
            policy,
            troubles: &[],
            every: S,
            pause: 400,
        };
        let mut world = World::new(&setup);
        world.run();
        world.settle_up();
        let served = &world.served()[..16];
        let (most, least) = (served.iter().max().unwrap(), served.iter().min().unwrap());
        assert!(most * 10 <= least * 12, "{policy}: {served:?}");
    }
}

/// Node's `RoundRobinHandle`.
#[derive(Default)]
struct Node {
    all: BTreeSet<u32>,
    free: VecDeque<u32>,
    waiting: VecDeque<u32>,
    gives: Vec<(u32, u32)>,
}

impl Node {
    fn hand_off(&mut self, worker: u32) {
        if !self.all.contains(&worker) {
            return;
        }
        match self.waiting.pop_front() {
            None => self.free.push_back(worker),
            Some(conn) => self.gives.push((worker, conn)),
        }
    }

    fn distribute(&mut self, conn: u32) {
        self.waiting.push_back(conn);
        if let Some(worker) = self.free.pop_front() {
            self.hand_off(worker);
        }
    }
}

proptest! {
    #[test]
    fn round_robin_gives_in_the_order_of_node(steps in prop::collection::vec((0..5_u8, any::<usize>()), 1..200)) {
        let queue = 1_000;
        let mut stage = Stage::serving(Terms { queue, ..terms() }, "round-robin", 2);
        let mut node = Node { all: [1, 2].into(), free: [1, 2].into(), ..Node::default() };
        let mut workers = 2;
        let mut gives = Vec::new();
        for (step, which) in steps {
            let out: Vec<u32> = stage.out.values().map(|(_, conn)| *conn).collect();
            match step {
                0 | 1 => {
                    let conn = stage.arrives(0);
                    node.distribute(conn);
                }
                2 | 3 if !out.is_empty() => {
                    let worker = stage.accepts(out[which % out.len()]);
                    node.hand_off(worker);
                }
                4 if which % 3 == 0 => {
                    workers += 1;
                    stage.add(workers);
                    stage.listen(workers, tcp(80));
                    node.all.insert(workers);
                    node.hand_off(workers);
                }
                4 if node.all.len() > 1 => {
                    let worker = *node.all.iter().nth(which % node.all.len()).unwrap();
                    stage.leave(worker);
                    node.all.remove(&worker);
                    node.free.retain(|free| *free != worker);
                }
                _ => {}
            }
            for line in stage.lines() {
                if let Some((worker, conn)) = line.split_once(": gets ") {
                    gives.push((worker.parse().unwrap(), conn.parse().unwrap()));
                }
            }
            prop_assert_eq!(&gives, &node.gives);
        }
    }
}
