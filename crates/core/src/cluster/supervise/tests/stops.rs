//! Who is made to leave, who leaves by itself, and how many there are to be.

use super::*;

/// Heeds nothing but `SIGKILL`.
const STUBBORN: Script = Script {
    on_disconnect: None,
    on_signal: None,
    ..GOOD
};

/// Needs the signal.
const DEAF: Script = Script {
    on_disconnect: None,
    ..GOOD
};

#[test]
fn a_stop_asks_then_signals_then_kills_and_counts_whom() {
    let mut world = World::new(plan(6), |worker, _| match worker.0 {
        1..=3 => GOOD,
        4 | 5 => DEAF,
        _ => STUBBORN,
    });
    world.run(SECOND);
    world.orders.clear();
    world.stop();
    assert_eq!(world.orders.len(), 6, "all are asked at once");
    world.run(MS * 4_999);
    assert_eq!(world.live.len(), 3);
    world.run(MS * 10);
    assert_eq!(world.live.len(), 1);
    world.run(MS * 4_980);
    assert_eq!(world.live.len(), 1, "it has its 5 s after the signal");
    world.run(MS * 20);
    assert_eq!(world.end(), Some((End::Stopped, 2, 1)));
}

#[test]
fn a_late_driver_does_not_shorten_anybodys_time() {
    let mut world = World::new(plan(1), |_, _| STUBBORN);
    world.run(SECOND);
    world.stop();
    world.now += SECOND * 100;
    world.orders.clear();
    world.drain();
    let signal = Signal::TERM;
    let worker = WorkerId(1);
    assert_eq!(world.orders, [Order::Signal { worker, signal }]);
    world.run(SECOND * 4);
    assert_eq!(world.live.len(), 1);
}

#[test]
fn a_second_stop_kills() {
    let mut world = World::new(plan(50), |_, _| STUBBORN);
    world.run(SECOND);
    world.stop();
    world.run(SECOND);
    world.stop();
    world.run(MS);
    assert_eq!(world.end(), Some((End::Stopped, 0, 50)));
}

#[test]
fn what_was_ordered_and_not_carried_out_is_taken_back() {
    let now = start();
    let mut supervisor = Supervisor::new(plan(3), 1, now);
    assert!(matches!(supervisor.poll(now), Some(Order::Start { .. })));
    supervisor.stop(now);
    let worker = WorkerId(1);
    assert_eq!(supervisor.poll(now), Some(Order::Disconnect { worker }));
    assert_eq!(supervisor.poll(now), None, "the other starts are off");
    supervisor.start_failed(worker, StartFailure::Permanent, now);
    let over = supervisor.poll(now);
    assert!(matches!(
        over,
        Some(Order::Tell(Notice::Over {
            end: End::Stopped,
            ..
        }))
    ));
}

#[test]
fn a_stop_during_the_back_off_ends_it() {
    let mut world = World::new(plan(2), |_, at| if at < SECOND { GOOD } else { BROKEN });
    world.run(SECOND * 2);
    world.die(WorkerId(1), Death::Code(1));
    world.die(WorkerId(2), Death::Code(1));
    world.run(SECOND * 5);
    assert!(world.live.is_empty() && world.end().is_none());
    world.stop();
    assert_eq!(world.end(), Some((End::Stopped, 0, 0)));
}

#[test]
fn without_grace_nobody_is_asked_to_disconnect() {
    let mut options = plan(1);
    options.stop.grace = Duration::ZERO;
    options.ready = Ready::Started;
    let mut world = World::new(options, |_, _| NEVER_READY);
    world.run(SECOND);
    world.orders.clear();
    world.stop();
    let (worker, signal) = (WorkerId(1), Signal::TERM);
    assert_eq!(world.orders, [Order::Signal { worker, signal }]);
}

#[test]
fn ready_is_what_the_plan_says() {
    for (ready, at) in [
        (Ready::Started, Duration::ZERO),
        (Ready::After(SECOND * 40), SECOND * 40),
    ] {
        let mut options = plan(2);
        options.ready = ready;
        let mut world = World::new(options, |_, _| NEVER_READY);
        world.run(SECOND * 50);
        assert_eq!(world.told(|notice| *notice == Notice::AllReady), Some(at));
    }
}

#[test]
fn one_that_leaves_by_itself_is_replaced_while_it_serves_and_that_costs_nothing() {
    let mut options = plan(2);
    options.restart.budget = Some(Budget {
        starts: 0,
        ..Budget::default()
    });
    let mut world = World::new(options, |_, _| STUBBORN);
    world.run(SECOND * 2);
    world.leaves(WorkerId(1), Supervisor::leaving);
    assert_eq!((world.starts.len(), world.starts[2].slot), (3, Slot(0)));
    world.run(SECOND * 2);
    world.leaves(WorkerId(3), Supervisor::leaving);
    world.run(HOUR);
    assert_eq!(
        world.starts.len(),
        3,
        "one leaver a place may go on beside its successor"
    );
    assert_eq!(world.live.len(), 3, "and has all the time it wants");
    world.die(WorkerId(3), Death::Code(0));
    assert_eq!((world.starts.len(), world.gave_up()), (4, None));
    world.supervisor.disconnected(WorkerId(1), world.now);
    world.run(SECOND * 11);
    assert!(
        !world.live.contains_key(&WorkerId(1)),
        "without a channel it is ended"
    );
}

/// Disconnects at once, again and again: as good as a crash loop.
#[test]
fn leaving_by_itself_at_once_is_no_way_around_the_budget() {
    let mut world = World::new(plan(1), |_, _| GOOD);
    for _ in 0..1_000 {
        world.run(MS * 60);
        if let Some(worker) = world.live.keys().next().copied() {
            world.supervisor.leaving(worker, world.now);
            world.die(worker, Death::Code(0));
        }
        world.run(MS * 400);
    }
    assert!(world.gave_up().is_some() && world.starts.len() == 11);
}

#[test]
fn one_whose_channel_is_gone_is_made_to_end_and_replaced() {
    let mut world = World::new(plan(1), |_, _| STUBBORN);
    world.run(SECOND * 40);
    world.orders.clear();
    world.leaves(WorkerId(1), Supervisor::disconnected);
    world.run(SECOND * 9);
    let (worker, signal) = (WorkerId(1), Signal::TERM);
    assert_eq!(
        world.orders,
        [Order::Signal { worker, signal }],
        "nothing it could not hear"
    );
    world.run(SECOND * 2);
    assert_eq!((world.starts.len(), world.ready()), (2, 1));
}

#[test]
fn scaling_takes_the_last_places_and_gives_the_first() {
    let mut world = World::new(plan(2), |_, _| GOOD);
    world.run(SECOND);
    world.supervisor.scale(5, world.now);
    world.run(SECOND);
    assert_eq!(world.ready(), 5);
    world.supervisor.retire(WorkerId(1), world.now);
    world.run(SECOND);
    assert_eq!((world.ready(), world.supervisor.wanted()), (4, 4));
    world.supervisor.scale(3, world.now);
    world.run(SECOND);
    let slots: Vec<Slot> = world.live.values().map(|sim| sim.slot).collect();
    assert_eq!(slots, [Slot(1), Slot(2), Slot(3)]);
    world.supervisor.scale(4, world.now);
    world.run(SECOND);
    assert_eq!(world.starts.last().unwrap().slot, Slot(0));
    let all_ready = world
        .notices
        .iter()
        .filter(|(_, notice)| *notice == Notice::AllReady);
    assert_eq!(
        all_ready.count(),
        3,
        "at 2, 5 and 4; never when somebody only left"
    );
    world.supervisor.scale(0, world.now);
    world.run(SECOND);
    assert!(
        world.live.is_empty() && world.end().is_none(),
        "none is a number, too"
    );
}

#[test]
fn scaling_down_during_the_back_off_cancels_the_restart() {
    let mut world = World::new(
        plan(2),
        |worker, _| if worker.0 == 1 { GOOD } else { BROKEN },
    );
    world.run(SECOND);
    world.supervisor.scale(1, world.now);
    let starts = world.starts.len();
    world.run(SECOND * 100);
    assert_eq!(
        (world.starts.len(), world.ready(), world.gave_up()),
        (starts, 1, None)
    );
}

#[test]
fn scaling_in_a_stop_changes_nothing() {
    let mut world = World::new(plan(2), |_, _| GOOD);
    world.run(SECOND);
    world.stop();
    world.supervisor.scale(8, world.now);
    world.supervisor.scale(1, world.now);
    assert_eq!(world.supervisor.wanted(), 2);
    world.run(SECOND);
    assert_eq!(world.end(), Some((End::Stopped, 0, 0)));
}

#[test]
fn a_worker_is_restarted_on_request_when_it_is_gone() {
    let mut options = plan(2);
    options.restart.when = When::Never;
    let mut world = World::new(options, |_, _| GOOD);
    world.run(SECOND);
    world.supervisor.restart_worker(WorkerId(2), world.now);
    world.run(SECOND);
    let again = world.starts.last().unwrap();
    assert_eq!(
        (again.worker, again.slot, again.restarts),
        (WorkerId(3), Slot(1), 1)
    );
    assert_eq!(world.ready(), 2);
}

#[test]
fn a_kill_takes_the_place_of_what_is_gentler() {
    let mut world = World::new(plan(1), |_, _| GOOD);
    world.run(SECOND);
    world.orders.clear();
    world.supervisor.stop(world.now);
    world.supervisor.stop(world.now);
    world.drain();
    assert_eq!(
        world.orders,
        [Order::Kill {
            worker: WorkerId(1)
        }]
    );
}
