//! What dies, and when another comes.

use super::*;

fn starts_within(world: &World, from: Duration, time: Duration) -> usize {
    let from = world.began + from;
    let within = |start: &&Start| start.at >= from && start.at < from + time;
    world.starts.iter().filter(within).count()
}

#[test]
fn a_broken_program_is_given_up_within_seconds_however_many_workers() {
    for workers in [1, 2, 4, 16, 300] {
        let mut world = World::new(plan(workers), |_, _| BROKEN);
        world.run(SECOND * 60);
        let restarts = world.starts.len() - workers as usize;
        assert_eq!(restarts, 4, "{workers} workers");
        let starts = workers + 4;
        let (at, why) = world.gave_up().unwrap();
        assert_eq!(why, GaveUp::NeverReady { starts });
        assert!(at < SECOND * 3, "{at:?}");
        assert_eq!(world.end(), Some((End::GaveUp, 0, 0)));
    }
}

/// The bar: at most 15 starts in the first minute of a crash loop.
#[test]
fn a_program_that_breaks_later_makes_few_starts_and_is_given_up() {
    for workers in [1_u32, 2, 4, 16, 300] {
        let mut world = World::new(plan(workers), |_, at| {
            if at < HOUR {
                lives_for(HOUR, Death::Code(1))
            } else {
                BROKEN
            }
        });
        world.run(HOUR + SECOND * 600);
        // Each that had lived for long is replaced once; that fails, and then it is one loop.
        let first_minute = starts_within(&world, HOUR, SECOND * 60) - workers as usize;
        assert!((6..=10).contains(&first_minute), "{first_minute}");
        let (at, why) = world.gave_up().unwrap();
        assert!(matches!(
            why,
            GaveUp::TooManyRestarts { starts: 10, within } if within == SECOND * 60
        ));
        assert!(
            at > HOUR + SECOND * 40 && at < HOUR + SECOND * 120,
            "{at:?}"
        );
        assert_eq!(world.end(), Some((End::GaveUp, 0, 0)));
    }
}

#[test]
fn the_delay_doubles_up_to_its_limit_and_jitter_only_shortens_it() {
    let mut options = plan(1);
    options.restart.budget = None;
    let mut world = World::new(options, |_, _| BROKEN);
    world.run(SECOND * 200);
    let gaps = world.starts.windows(2).map(|pair| pair[1].at - pair[0].at);
    let mut full = Duration::from_millis(100);
    let mut jittered = false;
    for gap in gaps {
        let delay = gap - MS * 30;
        assert!(
            delay <= full && delay >= full.mul_f64(0.8),
            "{delay:?} of {full:?}"
        );
        jittered |= delay < full.mul_f64(0.95);
        full = (full * 2).min(SECOND * 30);
    }
    assert!(jittered && world.starts.len() > 12);
}

#[test]
fn one_that_dies_after_five_seconds_each_time_is_a_loop_too() {
    let mut world = World::new(plan(1), |_, _| lives_for(SECOND * 5, Death::Code(1)));
    world.run(SECOND * 120);
    assert_eq!(world.starts.len(), 11);
    assert!(matches!(
        world.gave_up(),
        Some((at, GaveUp::TooManyRestarts { .. })) if at < SECOND * 57
    ));
    let delayed = |(_, notice): &(Duration, Notice)| matches!(notice, Notice::Restarting { after, .. } if !after.is_zero());
    assert!(!world.notices.iter().any(delayed), "it served: no delay");
}

#[test]
fn one_that_dies_every_half_minute_is_no_loop() {
    let mut world = World::new(plan(2), |_, _| lives_for(SECOND * 31, Death::Code(1)));
    world.run(HOUR);
    assert!(world.starts.len() > 220 && world.gave_up().is_none());
}

#[test]
fn many_killed_at_once_are_all_replaced_at_once() {
    let mut world = World::new(plan(100), |_, _| GOOD);
    world.run(SECOND * 31);
    let at = world.now;
    for worker in world.live.keys().copied().collect::<Vec<_>>() {
        world.kill(worker);
    }
    let replaced = world.starts.iter().filter(|start| start.at == at).count();
    assert_eq!((replaced, world.gave_up()), (100, None));
    world.run(SECOND);
    assert_eq!(world.ready(), 100);
}

/// 1,000 kills at whoever, also while it is being started: nobody waits for long.
#[test]
fn a_thousand_kills_are_not_taken_for_a_crash_loop() {
    let mut options = plan(4);
    options.restart.budget = Some(Budget {
        starts: 2_000,
        ..Budget::default()
    });
    let mut world = World::new(options, |_, _| Script {
        boot: Some(MS * 80),
        ..GOOD
    });
    world.run(SECOND);
    let (mut random, mut ready) = (1_usize, 0);
    for _ in 0..1_000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let live: Vec<WorkerId> = world.live.keys().copied().collect();
        if !live.is_empty() {
            world.kill(live[(random >> 33) % live.len()]);
        }
        world.run(MS * 250);
        ready += world.ready();
    }
    assert_eq!(world.gave_up(), None);
    assert!(
        ready > 3_700,
        "{ready} of 4,000 were ready when the next was killed"
    );
    let long = |(_, notice): &(Duration, Notice)| matches!(notice, Notice::Restarting { after, .. } if *after > MS * 400);
    assert!(!world.notices.iter().any(long));
    world.run(SECOND);
    assert_eq!(world.ready(), 4);
}

/// A database is away for 20 s: when it is back, so are all, within the back-off.
#[test]
fn an_outage_costs_many_workers_no_more_than_one() {
    for workers in [1, 8, 100] {
        let outage = HOUR..HOUR + SECOND * 20;
        let mut world = World::new(plan(workers), move |_, at| {
            if at < outage.start {
                lives_for(HOUR - at, Death::Code(1))
            } else if outage.contains(&at) {
                BROKEN
            } else {
                GOOD
            }
        });
        world.run(HOUR + SECOND * 40);
        assert_eq!(world.gave_up(), None);
        assert_eq!(world.ready(), workers as usize);
    }
}

/// Only one of them can run (a lock, a port): the one that does keeps serving.
#[test]
fn giving_up_leaves_alone_who_is_well() {
    let mut world = World::new(
        plan(4),
        |worker, _| if worker.0 == 1 { GOOD } else { BROKEN },
    );
    world.run(SECOND * 300);
    assert!(matches!(
        world.gave_up(),
        Some((_, GaveUp::TooManyRestarts { .. }))
    ));
    assert_eq!((world.ready(), world.end()), (1, None));
    assert_eq!(world.told(|notice| *notice == Notice::AllReady), None);
    world.supervisor.restart_worker(WorkerId(1), world.now);
    world.supervisor.scale(9, world.now);
    world.run(SECOND * 60);
    assert_eq!(
        (world.ready(), world.supervisor.wanted()),
        (1, 4),
        "refused"
    );
    world.kill(WorkerId(1));
    assert_eq!(world.end(), Some((End::GaveUp, 0, 0)));
}

#[test]
fn with_no_bounds_ten_thousand_restarts_are_made_without_a_pause() {
    let mut options = plan(1);
    options.restart = unbounded();
    let mut world = World::new(options, |_, _| BROKEN);
    world.run(MS * 30 * 10_000);
    assert_eq!(world.starts.len(), 10_001);
    let last = world.starts.last().unwrap();
    assert_eq!(
        (last.worker, last.slot, last.restarts),
        (WorkerId(10_001), Slot(0), 10_000)
    );
    assert_eq!(world.gave_up(), None);
}

#[test]
fn one_that_is_never_ready_is_stopped_and_is_the_end_if_nobody_ever_was() {
    let mut world = World::new(plan(3), |_, _| NEVER_READY);
    world.run(SECOND * 60);
    let waited = SECOND * 30;
    assert_eq!(
        world.told(|notice| matches!(notice, Notice::NotReady { waited: w, .. } if *w == waited)),
        Some(waited)
    );
    assert_eq!(world.starts.len(), 3);
    assert_eq!(world.gave_up().unwrap().1, GaveUp::NeverReady { starts: 3 });
    assert_eq!(
        world.told(|notice| matches!(notice, Notice::Ready { .. })),
        None
    );
    assert_eq!(world.end(), Some((End::GaveUp, 0, 0)));
}

#[test]
fn one_that_is_not_ready_in_time_is_a_failed_start_of_a_good_program() {
    let mut world = World::new(plan(2), |worker, _| match worker.0 {
        2 => NEVER_READY,
        _ => GOOD,
    });
    world.run(SECOND * 31);
    assert_eq!((world.ready(), world.gave_up()), (2, None));
    let delayed = |notice: &Notice| matches!(notice, Notice::Restarting { slot: Slot(1), after } if !after.is_zero());
    assert!(world.told(delayed).is_some(), "it counts as a quick death");
}

/// One place fails fast while the other is slow: it is not given up before the
/// slow one had its chance, and nothing spins meanwhile.
#[test]
fn nobody_gives_up_while_another_may_yet_become_ready() {
    let mut world = World::new(plan(2), |worker, at| match worker.0 {
        1 => Script {
            boot: Some(SECOND * 10),
            ..GOOD
        },
        _ if at < SECOND * 8 => BROKEN,
        _ => GOOD,
    });
    world.run(SECOND * 9);
    assert_eq!((world.starts.len(), world.gave_up()), (6, None));
    world.run(SECOND * 9);
    assert_eq!((world.ready(), world.gave_up()), (2, None));
}

#[test]
fn a_program_that_does_not_exist_is_given_up_at_once() {
    let now = start();
    let mut supervisor = Supervisor::new(plan(2), 1, now);
    let Some(Order::Start { worker, slot, .. }) = supervisor.poll(now) else {
        panic!("no start");
    };
    let Some(Order::Start { worker: other, .. }) = supervisor.poll(now) else {
        panic!("no second start");
    };
    supervisor.start_failed(worker, StartFailure::Permanent, now);
    let told = supervisor.poll(now);
    assert_eq!(
        told,
        Some(Order::Tell(Notice::GaveUp(GaveUp::CannotStart { slot })))
    );
    assert_eq!(
        (supervisor.poll(now), supervisor.deadline().is_some()),
        (None, true)
    );
    supervisor.start_failed(other, StartFailure::Permanent, now);
    assert!(supervisor.is_over());
    let over = supervisor.poll(now);
    assert!(matches!(
        over,
        Some(Order::Tell(Notice::Over {
            end: End::GaveUp,
            ..
        }))
    ));
}

#[test]
fn a_program_whose_file_is_being_replaced_is_tried_again() {
    let now = start();
    let mut supervisor = Supervisor::new(plan(1), 1, now);
    assert!(supervisor.poll(now).is_some());
    supervisor.ready(WorkerId(1), now);
    supervisor.exited(WorkerId(1), Death::Code(1), now + HOUR);
    let now = now + HOUR;
    let start = std::iter::from_fn(|| supervisor.poll(now)).last();
    assert!(matches!(
        start,
        Some(Order::Start {
            worker: WorkerId(2),
            ..
        })
    ));
    supervisor.start_failed(WorkerId(2), StartFailure::Permanent, now);
    assert!(matches!(
        supervisor.poll(now),
        Some(Order::Tell(Notice::Restarting { after, .. })) if after > MS * 79
    ));
    let then = supervisor.deadline().unwrap();
    assert!(matches!(
        supervisor.poll(then),
        Some(Order::Start {
            worker: WorkerId(3),
            ..
        })
    ));
}

#[test]
fn when_says_which_ends_are_followed_by_another() {
    let ends = [
        (When::Always, Death::Code(0), true),
        (When::Always, Death::Signal(Signal::SEGV), true),
        (When::OnCrash, Death::Code(0), false),
        (When::OnCrash, Death::Code(3), true),
        (When::OnCrash, Death::Signal(Signal::KILL), true),
        (When::Never, Death::Code(3), false),
        (When::Never, Death::Signal(Signal::KILL), false),
    ];
    for (when, death, again) in ends {
        let mut options = plan(1);
        options.restart.when = when;
        let mut world = World::new(options, move |worker, _| match worker.0 {
            1 => lives_for(SECOND * 2, death),
            _ => GOOD,
        });
        world.run(SECOND * 10);
        assert_eq!(world.starts.len() == 2, again, "{when:?} {death:?}");
        let over = world.end().map(|(end, ..)| end);
        assert_eq!(over, (!again).then_some(End::Finished));
    }
}

/// The driver slept while a worker settled, and is told of its death first.
#[test]
fn what_a_worker_proved_counts_however_late_the_driver_is() {
    let mut world = World::new(
        plan(1),
        |worker, _| if worker.0 == 4 { GOOD } else { BROKEN },
    );
    world.run(SECOND * 2);
    assert_eq!((world.starts.len(), world.ready()), (4, 1));
    world.now += SECOND * 40;
    world.live.clear();
    world
        .supervisor
        .exited(WorkerId(4), Death::Code(1), world.now);
    world.notices.clear();
    world.run(MS * 50);
    let after = world.notices.iter().find_map(|(_, notice)| match notice {
        Notice::Restarting { after, .. } if !after.is_zero() => Some(*after),
        Notice::Restarting { .. }
        | Notice::Ready { .. }
        | Notice::AllReady
        | Notice::NotReady { .. }
        | Notice::GaveUp(_)
        | Notice::Over { .. } => None,
    });
    assert!(
        after.is_some_and(|after| after <= MS * 100),
        "a new loop: {after:?}"
    );
}
