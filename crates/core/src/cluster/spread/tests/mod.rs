//! Whole listeners in virtual time.

mod rules;
mod simulation;

use proptest::prelude::*;
use simulation::{MS, S, Simulation};

use super::*;

/// Workers that need a millisecond a connection, warmed up.
fn running(when: When, services: &[u64], rate: f64) -> Simulation {
    let mut simulation = Simulation::new(when, services);
    simulation.arrive(rate);
    simulation.run(5 * S);
    simulation.reset();
    simulation
}

fn all(number: usize) -> Vec<usize> {
    (0..number).collect()
}

#[test]
fn equal_workers_get_the_same_and_are_left_alone() {
    let mut simulation = running(When::Always, &[MS; 4], 1_600.0);
    simulation.run(63 * S);
    assert!(simulation.done.len() > 99_000);
    assert!(
        simulation.imbalance(&all(4)) <= 1.05,
        "{:?}",
        simulation.served()
    );
    assert_eq!(
        (simulation.rested, simulation.stolen, simulation.dropped),
        (0, 0, 0)
    );
    // The rest is being served.
    assert!(simulation.unserved() <= 12);
}

#[test]
fn one_slow_worker_slows_nobody_else() {
    let mut quiet = running(When::Always, &[MS; 4], 1_600.0);
    quiet.run(63 * S);
    for service in [3 * MS, 20 * MS, 300 * MS] {
        for knows_cpu in [true, false] {
            let mut simulation = running(When::Always, &[MS, MS, MS, service], 1_600.0);
            simulation.knows_cpu = knows_cpu;
            simulation.run(30 * S);
            let others = all(3);
            assert!(
                simulation.imbalance(&others) <= 1.2,
                "{:?}",
                simulation.served()
            );
            let (p99, before) = (simulation.p99(&others), quiet.p99(&others));
            assert!(p99 * 2 <= before * 3, "{service}: {before} became {p99}");
            assert_eq!(simulation.dropped, 0);
            assert!(simulation.workers[3].served > 0, "it is tried again");
        }
    }
}

/// Two workers to a queue, a millisecond a connection but for the last of them, warmed up.
fn pairs(number: usize, last: u64, rate: f64) -> Simulation {
    let mut services = vec![MS; number];
    services[number - 1] = last;
    let mut simulation = Simulation::shared(When::Always, &services, 2);
    simulation.arrive(rate);
    simulation.run(5 * S);
    simulation.reset();
    simulation
}

#[test]
fn nobody_waits_behind_a_slow_or_stopped_worker_that_shares_its_queue() {
    // Its neighbour has twice the work then, and needs a millisecond for each.
    let soon = 5 * MS;
    for number in [2, 4, 8] {
        let rate = 150.0 * number as f64;
        let mut quiet = pairs(number, MS, rate);
        quiet.run(30 * S);
        let (imbalance, served) = (quiet.imbalance(&all(number)), quiet.served());
        assert!(imbalance <= 1.2, "{served:?}");
        let others = all(number - 1);

        let mut slow = pairs(number, 300 * MS, rate);
        slow.run(30 * S);
        let p99 = slow.p99(&others);
        assert!(p99 <= soon, "{number}: {p99}");

        let mut stopped = pairs(number, MS, rate);
        stopped.stop(number - 1);
        stopped.run(30 * S);
        let p99 = stopped.p99(&others);
        assert!(p99 <= soon, "{number}: {p99}");
        assert_eq!((stopped.stolen, stopped.rested), (0, 0), "{number}");
        assert!(stopped.unserved() <= 20 + number as u64);
    }
}

#[test]
fn what_waits_for_two_that_are_stopped_or_dead_is_taken_to_others() {
    let mut simulation = pairs(6, MS, 900.0);
    simulation.stop(2);
    simulation.stop(3);
    let lost = simulation.kill(0) + simulation.kill(1);
    simulation.run(20 * S);
    assert!(simulation.stolen > 0);
    let longest = simulation.longest_wait();
    assert!(longest <= 80 * MS, "{longest}");
    // Left are what the stopped ones had accepted or were handed, and what is being served.
    assert!(simulation.unserved() <= 40 + lost as u64);
}

#[test]
fn a_queue_gets_as_much_as_it_has_workers() {
    // Five workers: the last has a queue for itself.
    let mut simulation = pairs(5, MS, 2_000.0);
    simulation.run(50 * S);
    let all = all(5);
    let (imbalance, served) = (simulation.imbalance(&all), simulation.served());
    assert!(imbalance <= 1.2, "{served:?}");
    simulation.kill(0);
    simulation.run(S);
    simulation.reset();
    simulation.run(50 * S);
    let (imbalance, served) = (simulation.imbalance(&all[1..]), simulation.served());
    assert!(imbalance <= 1.2, "{served:?}");
}

#[test]
fn a_worker_that_is_fast_again_gets_its_share_again() {
    let mut simulation = running(When::Always, &[MS, MS, MS, 50 * MS], 1_600.0);
    simulation.run(20 * S);
    simulation.workers[3].service = MS;
    simulation.run(9 * S);
    simulation.reset();
    simulation.run(10 * S);
    assert!(
        simulation.imbalance(&all(4)) <= 1.1,
        "{:?}",
        simulation.served()
    );
}

#[test]
fn one_stopped_worker_keeps_nobody_waiting() {
    for number in [2, 4, 100] {
        // One of two leaves the other twice the work: less, then, or that is what is measured.
        let each = if number == 2 { 150 } else { 250 };
        let rate = (each * number) as f64;
        let services = vec![MS; number];
        let mut quiet = running(When::Always, &services, rate);
        quiet.run(25_000 * S / (each * number) as u64);
        let mut simulation = running(When::Always, &services, rate);
        simulation.stop(0);
        simulation.run(100_000 * S / (each * number) as u64);
        let others = &all(number)[1..];
        assert!(
            simulation.imbalance(others) <= 1.2,
            "{:?}",
            simulation.served()
        );
        let (p99, before) = (simulation.p99(others), quiet.p99(others));
        assert!(p99 * 2 <= before * 3, "{number}: {before} became {p99}");
        assert!(
            simulation.longest_wait() <= 60 * MS,
            "{}",
            simulation.longest_wait()
        );
        // Left are what it had accepted or was handed, and what is being served.
        let served_now = number as u64;
        assert!(
            simulation.unserved() <= 20 + served_now,
            "{}",
            simulation.unserved()
        );
        assert_eq!(simulation.dropped, 0);

        simulation.go_on(0);
        simulation.run(8 * S);
        simulation.reset();
        simulation.run(20 * S);
        assert!(
            simulation.imbalance(&all(number)) <= 1.2,
            "{:?}",
            simulation.served()
        );
    }
}

#[test]
fn a_worker_that_hangs_without_a_sign_is_found_out() {
    // One that a few clients with one connection each run into, all of them soon.
    for knows_cpu in [true, false] {
        let mut simulation = Simulation::new(When::Always, &[400; 4]);
        (simulation.knows_cpu, simulation.sees_stops) = (knows_cpu, false);
        simulation.clients(32);
        simulation.run(3 * S);
        simulation.reset();
        simulation.stop(2);
        simulation.run(15 * S);
        let longest = simulation.longest_wait();
        assert!(longest <= 500 * MS, "cpu {knows_cpu}: {longest}");
        assert!(simulation.done.len() > 80_000, "{}", simulation.done.len());
    }
}

#[test]
fn busy_is_not_stuck() {
    for number in [2, 4, 8] {
        for clients in [8, 32, 200] {
            for knows_cpu in [true, false] {
                let mut simulation = Simulation::new(When::Always, &vec![300; number]);
                simulation.knows_cpu = knows_cpu;
                simulation.clients(clients);
                simulation.run(3 * S);
                // A batch of a hundred outlasts three looks. Only the CPU tells it from a
                // worker that hangs, and to let it work that off does no harm.
                let long_batches = clients == 200 && !knows_cpu;
                assert!(
                    simulation.rested <= 2 * u64::from(long_batches),
                    "{number} workers, {clients} clients, cpu {knows_cpu}"
                );
                assert!(
                    simulation.imbalance(&all(number)) <= 1.2,
                    "{:?}",
                    simulation.served()
                );
            }
        }
    }
}

#[test]
fn with_nobody_left_the_kernel_keeps_the_clients() {
    let mut simulation = running(When::Always, &[MS; 3], 600.0);
    let lost: usize = (0..3).map(|slot| simulation.kill(slot)).sum();
    assert_eq!(simulation.selector(), &Selector::primary());
    let stolen = simulation.stolen;
    simulation.run(500 * MS);
    assert_eq!(simulation.stolen, stolen);
    simulation.start(1);
    simulation.run(3 * S);
    simulation.arrive(0.0);
    simulation.run(S);
    assert_eq!(simulation.unserved(), lost as u64);
}

#[test]
fn workers_that_die_again_and_again_lose_only_what_they_were_at() {
    let mut simulation = running(When::Always, &[MS; 4], 1_200.0);
    let mut lost = 0;
    for round in 0..200 {
        let slot = round % 4;
        lost += simulation.kill(slot) as u64;
        simulation.run(70 * MS);
        simulation.start(slot);
        simulation.run(90 * MS);
    }
    simulation.arrive(0.0);
    simulation.run(2 * S);
    assert_eq!(simulation.unserved(), lost);
    assert!(
        simulation.longest_wait() <= 200 * MS,
        "{}",
        simulation.longest_wait()
    );
    assert!(
        simulation.imbalance(&all(4)) <= 1.5,
        "{:?}",
        simulation.served()
    );
}

#[test]
fn a_worker_that_stops_and_goes_on_costs_less_and_less() {
    let mut simulation = running(When::Always, &[MS; 4], 1_200.0);
    for _ in 0..60 {
        simulation.stop(1);
        simulation.run(400 * MS);
        simulation.go_on(1);
        simulation.run(600 * MS);
    }
    // Without the doubling it would be once in each of the sixty.
    assert!(
        (5..=30).contains(&simulation.rested),
        "{}",
        simulation.rested
    );
    simulation.arrive(0.0);
    simulation.run(2 * S);
    assert_eq!(simulation.unserved(), 0);
    assert!(
        simulation.imbalance(&[0, 2, 3]) <= 1.2,
        "{:?}",
        simulation.served()
    );
}

#[test]
fn a_new_worker_starts_slowly_and_a_slot_that_is_gone_is_emptied() {
    let mut simulation = running(When::Always, &[MS; 2], 800.0);
    simulation.add(MS);
    let weights = |simulation: &Simulation| -> Vec<u32> {
        simulation.selector().entries()[1..]
            .iter()
            .map(|(_, weight)| *weight)
            .collect()
    };
    assert_eq!(weights(&simulation), [FULL, FULL, FULL / 4]);
    simulation.run(S);
    assert_eq!(weights(&simulation), [FULL, FULL, FULL / 2]);
    simulation.run(3 * S);
    assert_eq!(weights(&simulation), [FULL; 3]);
    simulation.kill(2);
    assert_eq!(weights(&simulation), [FULL; 2]);
    for _ in 0..5 {
        simulation.straggler(2);
        simulation.run(200 * MS);
        assert!(simulation.queues[2].is_empty());
    }
}

#[test]
fn a_straggler_is_fetched_while_nothing_else_happens() {
    for when in [When::Busy, When::Always] {
        let mut simulation = running(when, &[MS / 4; 2], 2_000.0);
        simulation.arrive(0.0);
        simulation.kill(1);
        simulation.run(30 * S);
        assert_eq!(simulation.selector(), &Selector::primary());
        simulation.straggler(1);
        simulation.run(2 * S);
        assert!(simulation.queues[1].is_empty(), "{when:?}");
        simulation.run(120 * S);
        assert!(simulation.asleep(), "{when:?}");
    }
}

#[test]
fn who_is_idle_sleeps_and_the_next_connection_wakes() {
    for when in [When::Busy, When::Always] {
        let mut simulation = running(when, &[MS / 4; 2], 2_000.0);
        assert_eq!(simulation.mode(), Mode::Spread);
        simulation.arrive(0.0);
        simulation.run(20 * S);
        assert!(simulation.asleep(), "{when:?}");
        assert_eq!(simulation.selector(), &Selector::primary());
        simulation.reset();
        simulation.run(100 * S);
        assert_eq!(simulation.ticks, 0);
        simulation.burst(1);
        simulation.run(S);
        assert_eq!(simulation.unserved(), 0);
        assert!(simulation.longest_wait() < 2 * MS);
        let spreads = simulation.selector() != &Selector::primary();
        assert_eq!(spreads, when == When::Always);
    }
}

#[test]
fn auto_follows_the_rate_without_flapping() {
    let mut simulation = running(When::Busy, &[MS / 4; 4], 250.0);
    let mut step = |rate: f64, seconds: u64| {
        simulation.arrive(rate);
        simulation.run(seconds * S);
        (simulation.mode(), std::mem::take(&mut simulation.switches))
    };
    assert_eq!(step(1_000.0, 120), (Mode::HandOver, 0));
    assert_eq!(step(3_000.0, 1), (Mode::Spread, 1));
    assert_eq!(step(3_000.0, 120), (Mode::Spread, 0));
    assert_eq!(step(8_000.0, 30), (Mode::Spread, 0));
    assert_eq!(step(1_300.0, 120), (Mode::Spread, 0));
    assert_eq!(step(600.0, 3), (Mode::HandOver, 1));
    assert_eq!(step(800.0, 120), (Mode::HandOver, 0));
    assert!(step(1_500.0, 120).1 <= 1);
    assert_eq!(step(0.0, 10).0, Mode::HandOver);
}

#[test]
fn a_crowd_of_keep_alive_clients_is_no_rate() {
    let mut simulation = running(When::Busy, &[MS; 4], 0.0);
    for _ in 0..5 {
        simulation.burst(2_000);
        simulation.run(10 * S);
    }
    assert_eq!(simulation.switches, 0);
    assert_eq!(simulation.handed_over, 10_000);
    assert!(
        simulation.imbalance(&all(4)) <= 1.02,
        "{:?}",
        simulation.served()
    );
}

#[test]
fn the_rate_is_known_well_enough() {
    for rate in [150.0, 500.0, 2_000.0, 8_000.0] {
        let mut simulation = running(When::Always, &[10; 8], rate);
        let mut sum = 0.0;
        let mut squares = 0.0;
        for _ in 0..30 {
            simulation.run(S);
            let error = simulation.spread.rate() / rate - 1.0;
            sum += error;
            squares += error * error;
        }
        let (bias, deviation) = (sum / 30.0, (squares / 30.0_f64).sqrt());
        assert!(
            bias.abs() <= 0.1 && deviation <= 0.3,
            "{rate}: {bias:.3} {deviation:.3}"
        );
        let expected = rate
            * if rate > 3_000.0 {
                1.0 / 64.0
            } else {
                1.0 / 8.0
            };
        let samples = simulation.handed_over as f64 / 30.0;
        assert!(
            rate == 2_000.0 || (samples / expected - 1.0).abs() < 0.2,
            "{rate}: {samples}"
        );
    }
}

fn view(queue: u32) -> QueueView {
    QueueView {
        queue: Queue(queue),
        youngest: Some(WorkerId(queue + 1)),
        serving: 1,
        stopped: false,
        length: 0,
        limit: 511,
        cpu: None,
        age: Duration::from_secs(60),
    }
}

#[expect(clippy::disallowed_methods, reason = "a base for virtual time")]
fn start() -> Instant {
    Instant::now()
}

#[test]
fn the_selector_is_told_once_and_leaves_out_who_does_not_serve() {
    let now = start();
    let mut spread = Spread::new(When::Always, Options::default(), now);
    let mut queues: Vec<QueueView> = (0..4).map(view).collect();
    queues[2].serving = 0;
    let decision = spread.tick(now, &queues, 0);
    let entries = [(0, 27), (1, FULL), (2, FULL), (4, FULL)];
    assert_eq!(decision.selector.unwrap().entries(), entries);
    assert!((spread.selector().share(0) - 0.125).abs() < 0.003);
    let again = spread.tick(now + Duration::from_millis(100), &queues, 0);
    assert_eq!(again.selector, None);
    queues[0].stopped = true;
    queues[0].length = 9;
    queues[2].length = 3;
    let decision = spread.tick(now + Duration::from_millis(200), &queues, 0);
    assert_eq!(decision.steal, [(Queue(0), 9), (Queue(2), u32::MAX)]);
    assert_eq!(decision.next_tick, Some(SOON));
    assert_eq!(
        decision.selector.unwrap().entries()[1..],
        [(2, FULL), (4, FULL)]
    );
    assert_eq!(spread.resting().collect::<Vec<_>>(), [Queue(0)]);
}

#[test]
fn more_workers_than_a_program_can_name_are_handed_over_to() {
    let now = start();
    let mut spread = Spread::new(When::Always, Options::default(), now);
    let queues: Vec<QueueView> = (0..511).map(view).collect();
    let decision = spread.tick(now, &queues, 0);
    assert_eq!(decision.selector.unwrap().entries().len(), Selector::MOST);
    let queues: Vec<QueueView> = (0..512).map(view).collect();
    let decision = spread.tick(now, &queues, 0);
    assert_eq!(decision.selector, Some(Selector::primary()));
}

prop_compose! {
    fn any_view(queue: u32)(
        youngest in any::<Option<u32>>(),
        serving in prop_oneof![0..3_u16, any::<u16>()],
        stopped in any::<bool>(),
        length in prop_oneof![Just(0), 0..9_u32, any::<u32>()],
        limit in prop_oneof![Just(511), any::<u32>()],
        cpu in any::<Option<f32>>(),
        age in 0..9_000_u64,
    ) -> QueueView {
        let youngest = youngest.map(|id| WorkerId(id % 3));
        let age = if age > 8_000 { Duration::MAX } else { Duration::from_millis(age) };
        QueueView { queue: Queue(queue), youngest, serving, stopped, length, limit, cpu, age }
    }
}

proptest! {
    #[test]
    fn whatever_is_seen_the_decision_is_sound(
        always in any::<bool>(),
        steps in proptest::collection::vec(
            (0..2_000_u64, prop_oneof![0..9_u64, any::<u64>()], (any_view(0), any_view(1), any_view(2))),
            1..60,
        ),
    ) {
        let mut now = start();
        let when = if always { When::Always } else { When::Busy };
        let mut spread = Spread::new(when, Options::default(), now);
        for (gap, arrived, (a, b, c)) in steps {
            now += Duration::from_millis(gap);
            let queues = [a, b, c];
            let decision = spread.tick(now, &queues, arrived);
            let able = |view: &QueueView| view.serving > 0 && !view.stopped;
            for (queue, most) in &decision.steal {
                let seen = queues.iter().find(|view| view.queue == *queue).unwrap();
                prop_assert!(*most > 0 && seen.length > 0);
                prop_assert!(queues.iter().any(able), "stolen for nobody");
                let resting = spread.resting().any(|at| at == *queue);
                prop_assert!(!able(seen) || resting);
            }
            let entries = spread.selector().entries();
            prop_assert!(entries[0].0 == 0);
            prop_assert!(entries.iter().all(|(_, weight)| *weight > 0));
            for (index, _) in &entries[1..] {
                let seen = &queues[*index as usize - 1];
                prop_assert!(able(seen) && !spread.resting().any(|at| at == seen.queue));
            }
            prop_assert!(spread.rate().is_finite());
            prop_assert!(decision.next_tick.is_some() || entries.len() == 1);
        }
    }
}
