//! The policies against simulated workers.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;

/// Workers that confirm in their own time; one step of time is one arrival.
struct Cluster {
    workers: Vec<Load>,
    /// Steps that each needs for one connection, and when its next is done.
    pace: Vec<(u64, u64)>,
    now: u64,
    freed: u64,
    waited: u64,
}

impl Cluster {
    fn new(pace: &[u64]) -> Self {
        let number = u32::try_from(pace.len()).unwrap();
        Self {
            workers: (0..number)
                .map(|at| Load::new(WorkerId(at + 1), Slot(at)))
                .collect(),
            pace: pace.iter().map(|steps| (*steps, 0)).collect(),
            now: 0,
            freed: u64::from(number),
            waited: 0,
        }
    }

    /// One connection comes, and is given to somebody at once if somebody has room.
    fn arrival(&mut self, balance: &mut dyn Balance) -> Option<usize> {
        self.now += 1;
        self.confirm();
        let room = |at: &usize| self.workers[*at].in_flight < balance.depth();
        let able: Vec<usize> = (0..self.workers.len()).filter(room).collect();
        let loads: Vec<Load> = able.iter().map(|at| self.workers[*at].clone()).collect();
        let Some(chosen) = balance.choose(&loads, &Incoming::default()) else {
            assert!(loads.is_empty(), "nobody was chosen among {loads:?}");
            self.waited += 1;
            return None;
        };
        let at = able[chosen];
        let (steps, done_at) = &mut self.pace[at];
        if self.workers[at].in_flight == 0 {
            *done_at = self.now + *steps;
        }
        self.workers[at].in_flight += 1;
        self.workers[at].given += 1;
        Some(at)
    }

    fn confirm(&mut self) {
        for (load, (steps, done_at)) in self.workers.iter_mut().zip(&mut self.pace) {
            while load.in_flight > 0 && *done_at <= self.now {
                load.in_flight -= 1;
                load.latency = Some(Duration::from_millis(*steps));
                *done_at += *steps;
                self.freed += 1;
                load.free_since = self.freed;
            }
        }
    }

    fn run(&mut self, policy: &Policy, arrivals: u32) -> Vec<u64> {
        let mut balance = policy.balance(7);
        for _ in 0..arrivals {
            self.arrival(&mut *balance);
        }
        self.workers.iter().map(|load| load.given).collect()
    }
}

const HANDING_OVER: [Policy; 4] = [
    Policy::LeastBusy,
    Policy::RoundRobin,
    Policy::RandomTwo,
    Policy::Weighted(Vec::new()),
];

#[test]
fn equal_workers_get_the_same() {
    for policy in HANDING_OVER {
        let given = Cluster::new(&[2; 8]).run(&policy, 80_000);
        let (least, most) = (given.iter().min().unwrap(), given.iter().max().unwrap());
        assert!(most * 100 <= least * 104, "{policy}: {given:?}");
    }
}

#[test]
fn idle_workers_take_turns() {
    for policy in [Policy::LeastBusy, Policy::RoundRobin] {
        let mut cluster = Cluster::new(&[1; 4]);
        let mut balance = policy.balance(7);
        let order: Vec<_> = (0..8)
            .map(|_| cluster.arrival(&mut *balance).unwrap())
            .collect();
        assert_eq!(order[..4], order[4..], "{policy}");
        assert_eq!(cluster.run(&policy, 4_000), [1_002; 4], "{policy}");
    }
}

#[test]
fn the_slow_get_less_and_nobody_nothing() {
    for policy in [Policy::LeastBusy, Policy::RandomTwo, Policy::RoundRobin] {
        let mut cluster = Cluster::new(&[2, 2, 2, 100]);
        let given = cluster.run(&policy, 40_000);
        // What it can do is 400 of them; waiting for it is what others must not.
        assert!((200..=2_000).contains(&given[3]), "{policy}: {given:?}");
        let others = &given[..3];
        assert!(others.iter().min().unwrap() * 12 >= others.iter().max().unwrap() * 10);
    }
    let mut cluster = Cluster::new(&[2, 2, 2, 100]);
    let given = cluster.run(&Policy::LeastBusy, 40_000);
    assert!(given[3] <= 800, "{given:?}");
    assert_eq!(cluster.waited, 0);
}

#[test]
fn who_was_slow_once_is_tried_again() {
    for policy in [Policy::LeastBusy, Policy::RandomTwo] {
        let mut cluster = Cluster::new(&[1; 4]);
        cluster.workers[0].latency = Some(Duration::from_secs(9));
        let given = cluster.run(&policy, 8_000);
        assert!(given[0] >= 1_800, "{policy}: {given:?}");
    }
}

#[test]
fn who_confirms_late_counts_as_a_longer_queue() {
    let mut balance = Policy::LeastBusy.balance(1);
    let mut loads = workers(0..2);
    loads[0].latency = Some(Duration::from_millis(90));
    // Below a millisecond nobody is late.
    loads[1].latency = Some(Duration::from_micros(3));
    (loads[1].in_flight, loads[1].free_since) = (5, 1);
    let mut count = |loads: &[Load]| {
        let mut choices = (0..1_600).map(|_| balance.choose(loads, &Incoming::default()));
        choices.by_ref().filter(|chosen| *chosen == Some(0)).count()
    };
    assert!((60..=140).contains(&count(&loads)));
    loads[1].in_flight = 8;
    assert_eq!(count(&loads), 1_600);
    loads[0].latency = Some(Duration::from_micros(900));
    loads[1].in_flight = 1;
    assert_eq!(count(&loads), 1_600);
}

#[test]
fn a_saturated_core_counts_as_a_longer_queue() {
    let mut balance = Policy::LeastBusy.balance(1);
    let mut loads = [
        Load::new(WorkerId(1), Slot(0)),
        Load::new(WorkerId(2), Slot(1)),
    ];
    loads[0].cpu = Some(1.0);
    loads[1].cpu = Some(0.3);
    loads[1].free_since = 1;
    let mut chosen = [0; 2];
    for _ in 0..1_600 {
        chosen[balance.choose(&loads, &Incoming::default()).unwrap()] += 1;
    }
    // Every sixteenth is for who was slow.
    assert!((60..=140).contains(&chosen[0]), "{chosen:?}");
}

#[test]
fn the_young_start_slowly_unless_all_are_young() {
    let share = |ages: [u64; 2]| {
        let mut cluster = Cluster::new(&[1; 2]);
        for (load, age) in cluster.workers.iter_mut().zip(ages) {
            load.age = Duration::from_millis(age);
        }
        cluster.run(&Policy::LeastBusy, 10_000)[0]
    };
    assert!(
        (300..=800).contains(&share([0, 9_000])),
        "a tenth of the turns, which are half"
    );
    let half = share([1_500, 9_000]);
    assert!((1_800..=2_600).contains(&half), "{half}");
    assert_eq!(share([0, 1_000]), 5_000);
    assert_eq!(share([4_000, 9_000]), 5_000);
}

#[test]
fn the_young_alone_are_chosen_when_the_old_have_no_room() {
    let mut balance = Policy::LeastBusy.balance(3);
    let mut young = Load::new(WorkerId(9), Slot(1));
    young.age = Duration::ZERO;
    for _ in 0..100 {
        assert_eq!(
            balance.choose(std::slice::from_ref(&young), &Incoming::default()),
            Some(0)
        );
    }
}

#[test]
fn weights_are_kept_and_mixed() {
    let mut cluster = Cluster::new(&[1; 3]);
    let mut balance = Policy::Weighted(vec![3, 1]).balance(0);
    let order: Vec<_> = (0..5)
        .map(|_| cluster.arrival(&mut *balance).unwrap())
        .collect();
    assert_eq!(order, [0, 1, 0, 2, 0]);
    let given = Cluster::new(&[1; 3]).run(&Policy::Weighted(vec![3, 1]), 5_000);
    assert_eq!(given, [3_000, 1_000, 1_000]);
}

#[test]
fn hostile_weights_do_not_overflow() {
    let mut cluster = Cluster::new(&[1; 64]);
    for load in &mut cluster.workers {
        load.weight = u32::MAX;
    }
    let given = cluster.run(&Policy::Weighted(vec![u32::MAX; 64]), 6_400);
    assert_eq!(given, [100; 64]);
    let mut none = Policy::Weighted(vec![0, 0]).balance(0);
    assert_eq!(
        none.choose(&cluster.workers[..2], &Incoming::default()),
        Some(0)
    );
}

#[test]
fn nobody_is_chosen_from_nobody() {
    for name in [
        "auto",
        "round-robin",
        "random-two",
        "weighted=1",
        "ip-hash",
        "cookie=a",
    ] {
        let mut balance = name.parse::<Policy>().unwrap().balance(1);
        let incoming = Incoming {
            peer: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            first_bytes: Some(b"GET / HTTP/1.1\r\nCookie: a=1\r\n\r\n"),
        };
        assert_eq!(balance.choose(&[], &incoming), None, "{name}");
    }
}

fn workers(slots: impl IntoIterator<Item = u32>) -> Vec<Load> {
    slots
        .into_iter()
        .map(|slot| Load::new(WorkerId(slot + 1), Slot(slot)))
        .collect()
}

fn of_address(balance: &mut dyn Balance, workers: &[Load], client: u32) -> Slot {
    let peer = IpAddr::V4(Ipv4Addr::from_bits(client));
    let incoming = Incoming {
        peer: Some(peer),
        first_bytes: None,
    };
    workers[balance.choose(workers, &incoming).unwrap()].slot
}

fn of_cookie(balance: &mut dyn Balance, workers: &[Load], client: u32) -> Slot {
    let head = format!("GET / HTTP/1.1\r\nCookie: sid={client:x}; a=b\r\n\r\n");
    // Everybody behind one proxy: the address must not matter.
    let peer = Some(IpAddr::V4(Ipv4Addr::from_bits(client % 3)));
    let incoming = Incoming {
        peer,
        first_bytes: Some(head.as_bytes()),
    };
    workers[balance.choose(workers, &incoming).unwrap()].slot
}

type Of = fn(&mut dyn Balance, &[Load], u32) -> Slot;
const STICKY: [(&str, Of); 2] = [("ip-hash", of_address), ("cookie=sid", of_cookie)];

#[test]
fn only_the_clients_of_the_dead_move_and_they_come_back() {
    for (name, of) in STICKY {
        let mut balance = name.parse::<Policy>().unwrap().balance(11);
        let all = workers(0..5);
        let mut moved = [0_u32; 5];
        for client in 0..10_000 {
            let home = of(&mut *balance, &all, client);
            let without = workers((0..5).filter(|slot| *slot != 2));
            let refuge = of(&mut *balance, &without, client);
            if home == Slot(2) {
                moved[refuge.0 as usize] += 1;
            } else {
                assert_eq!(home, refuge, "{name}: a client of a living worker moved");
            }
            // The order of workers and who they are do not matter, only places.
            let mut replaced = all.clone();
            replaced.reverse();
            replaced[2].worker = WorkerId(99);
            assert_eq!(of(&mut *balance, &replaced, client), home, "{name}");
        }
        let total: u32 = moved.iter().sum();
        assert!((1_850..=2_150).contains(&total), "{name}: {moved:?}");
        for slot in [0, 1, 3, 4] {
            assert!(
                moved[slot] * 5 >= total,
                "{name}: not shared out: {moved:?}"
            );
        }
    }
}

#[test]
fn a_cookie_is_waited_for_and_then_the_address_counts() {
    let mut balance = Policy::Cookie("sid".to_owned()).balance(5);
    assert_eq!(balance.wants(), Wants::FirstBytes);
    assert!(!balance.enough(b"GET / HTTP/1.1\r\nCookie: sid=a"));
    assert!(balance.enough(b"GET / HTTP/1.1\r\nCookie: sid=a\r\n"));
    assert!(balance.enough(b"GET / HTTP/1.1\r\n\r\n"));
    assert!(balance.enough(b"\x16\x03\x01"));
    let all = workers(0..7);
    let mut by_address = Policy::IpHash.balance(5);
    for client in 0..100 {
        let home = of_address(&mut *by_address, &all, client);
        assert_eq!(of_address(&mut *balance, &all, client), home);
    }
}

#[test]
fn an_ipv4_client_is_the_same_on_a_dual_stack_socket() {
    let mut balance = Policy::IpHash.balance(5);
    let all = workers(0..50);
    for client in 0..50 {
        let peer = Ipv4Addr::from_bits(0x0a00_0000 + client);
        let mut at = |peer: IpAddr| {
            balance
                .choose(
                    &all,
                    &Incoming {
                        peer: Some(peer),
                        first_bytes: None,
                    },
                )
                .unwrap()
        };
        assert_eq!(at(IpAddr::V4(peer)), at(IpAddr::V6(peer.to_ipv6_mapped())));
    }
}

proptest! {
    #[test]
    fn whatever_is_known_somebody_is_chosen(
        seed in any::<u64>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        loads in proptest::collection::vec(
            (0..9_u32, any::<u32>(), any::<u64>(), any::<Option<f32>>(), any::<u32>(), any::<Option<u64>>(), any::<u64>()),
            1..20,
        ),
    ) {
        let loads: Vec<Load> = loads.into_iter().map(
            |(slot, in_flight, free_since, cpu, weight, latency, age)| Load {
                in_flight,
                free_since,
                cpu,
                weight,
                latency: latency.map(Duration::from_nanos),
                age: Duration::from_millis(age),
                ..Load::new(WorkerId(slot), Slot(slot))
            },
        ).collect();
        for name in ["auto", "round-robin", "random-two", "weighted=9,3", "ip-hash", "cookie=a"] {
            let mut balance = name.parse::<Policy>().unwrap().balance(seed);
            let incoming = Incoming { peer: None, first_bytes: Some(&bytes) };
            for _ in 0..3 {
                let chosen = balance.choose(&loads, &incoming);
                prop_assert!(chosen.is_some_and(|at| at < loads.len()), "{name}: {chosen:?}");
            }
        }
    }
}
