//! Single rules, look by look.

use super::super::*;
use super::{start, view};

/// Two queues; the second is looked at.
struct Looks {
    epoch: Instant,
    at: Instant,
    spread: Spread,
    queues: Vec<QueueView>,
}

impl Looks {
    fn new(when: When) -> Self {
        let now = start();
        Self {
            epoch: now,
            at: now,
            spread: Spread::new(when, Options::default(), now),
            queues: vec![view(0), view(1)],
        }
    }

    fn after(&mut self, ms: u64, arrived: u64) -> Decision {
        self.at += Duration::from_millis(ms);
        self.spread.tick(self.at, &self.queues, arrived)
    }

    /// How long it takes with this queue, from the first look, until it rests.
    fn rests_after(&mut self, queue: u32) -> Option<u128> {
        self.after(100, 0);
        self.queues[1].length = queue;
        let first = self.at;
        for _ in 0..50 {
            self.after(20, 0);
            if self.spread.resting().any(|queue| queue == Queue(1)) {
                return Some((self.at - first).as_millis() - 20);
            }
        }
        None
    }
}

#[test]
fn other_signs_make_it_quicker() {
    assert_eq!(Looks::new(When::Always).rests_after(3), Some(220));
    let mut idle = Looks::new(When::Always);
    idle.queues[1].cpu = Some(0.01);
    assert_eq!(idle.rests_after(3), Some(40));
    let mut working = Looks::new(When::Always);
    working.queues[1].cpu = Some(0.6);
    assert_eq!(working.rests_after(3), Some(220));
    assert_eq!(Looks::new(When::Always).rests_after(256), Some(40));
}

#[test]
fn few_connections_prove_nothing_by_coming() {
    let mut looks = Looks::new(When::Always);
    for _ in 0..20 {
        looks.after(250, 1);
    }
    assert!((20.0..40.0).contains(&looks.spread.rate()));
    assert_eq!(looks.rests_after(1), Some(220));
}

#[test]
fn two_looks_are_no_proof_however_far_apart() {
    let mut looks = Looks::new(When::Always);
    looks.queues[1].length = 300;
    for _ in 0..2 {
        looks.after(900, 0);
        assert_eq!(looks.spread.resting().count(), 0);
    }
    looks.after(900, 0);
    assert_eq!(looks.spread.resting().count(), 1);
}

#[test]
fn a_queue_that_shrinks_once_is_served() {
    let mut looks = Looks::new(When::Always);
    for round in 0..40 {
        looks.queues[1].length = if round % 5 == 4 { 2 } else { 9 };
        looks.after(20, 0);
    }
    assert_eq!(looks.spread.resting().count(), 0);
}

#[test]
fn nobody_rests_while_nobody_else_has_time() {
    let mut queued = Looks::new(When::Always);
    queued.queues[0].length = 1;
    assert_eq!(queued.rests_after(7), None);
    let mut saturated = Looks::new(When::Always);
    saturated.queues[0].cpu = Some(0.97);
    assert_eq!(saturated.rests_after(400), None);
    // Who comes back from a rest has time because it gets little.
    let mut back = Looks::new(When::Always);
    for rest in [100, 200, 400] {
        back.queues[0].stopped = true;
        back.after(20, 0);
        back.queues[0].stopped = false;
        back.after(rest, 0);
    }
    assert_eq!(
        back.spread.selector().entries()[1..],
        [(1, FULL / 8), (2, FULL)]
    );
    assert_eq!(back.rests_after(400), None);
}

#[test]
fn rests_double_and_good_conduct_is_remembered() {
    let mut looks = Looks::new(When::Always);
    let rest = |looks: &mut Looks| {
        looks.queues[1].stopped = true;
        looks.after(20, 1);
        looks.queues[1].stopped = false;
        let began = looks.at;
        while looks.spread.resting().count() > 0 {
            looks.after(20, 1);
        }
        (looks.at - began).as_millis()
    };
    let rests: Vec<_> = (0..8).map(|_| rest(&mut looks)).collect();
    assert_eq!(rests, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    let steps: Vec<u32> = (0..4)
        .map(|_| {
            looks.after(500, 1);
            looks.spread.selector().entries()[2].1
        })
        .collect();
    assert_eq!(steps, [FULL / 4, FULL / 2, FULL, FULL]);
    looks.after(8_000, 1);
    assert_eq!(rest(&mut looks), 100);
    assert_eq!(looks.spread.selector().entries()[2].1, FULL / 2);
}

#[test]
fn a_replacement_is_not_blamed_for_its_predecessor() {
    let mut looks = Looks::new(When::Always);
    looks.queues[1].stopped = true;
    looks.after(20, 0);
    assert_eq!(looks.spread.resting().collect::<Vec<_>>(), [Queue(1)]);
    looks.queues[1] = view(1);
    looks.queues[1].youngest = Some(WorkerId(7));
    let decision = looks.after(20, 0);
    assert_eq!(
        decision.selector.unwrap().entries()[1..],
        [(1, FULL), (2, FULL)]
    );
}

#[test]
fn when_all_are_young_none_is_spared() {
    let mut looks = Looks::new(When::Always);
    looks.queues[0].age = Duration::from_secs(2);
    looks.queues[1].age = Duration::ZERO;
    let decision = looks.after(20, 0);
    assert_eq!(
        decision.selector.unwrap().entries()[1..],
        [(1, FULL), (2, FULL)]
    );
}

#[test]
fn what_waited_at_the_primary_when_the_kernel_took_over_counts_once() {
    let mut looks = Looks::new(When::Busy);
    while looks.spread.mode() == Mode::HandOver {
        looks.after(250, 500);
    }
    looks.after(100, 1_000);
    looks.after(200, 0);
    let rate = looks.spread.rate();
    assert!((1_500.0..4_500.0).contains(&rate), "{rate}");
}

#[test]
fn connections_that_wait_elsewhere_keep_it_awake() {
    let mut looks = Looks::new(When::Always);
    looks.queues[1].length = 1;
    looks.queues[0].length = 1;
    while looks.at < looks.epoch + Duration::from_secs(20) {
        assert!(looks.after(250, 0).next_tick.is_some());
    }
    assert!(looks.spread.selector().entries().len() > 1);
}

#[test]
fn the_first_connection_begins_a_count() {
    let mut looks = Looks::new(When::Busy);
    assert_eq!(looks.after(100, 0).next_tick, None);
    assert_eq!(looks.after(100, 1).next_tick, Some(pace::WINDOW));
}
