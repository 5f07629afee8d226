//! What holds whatever happens. [`World`] checks each order and each deadline.

use proptest::prelude::*;

use super::super::super::restart::When;
use super::*;

/// What somebody does, to the worker with this number among the living.
#[derive(Clone, Copy, Debug)]
enum Act {
    Kill(usize),
    Exit(usize, i32),
    Leave(usize),
    LoseChannel(usize),
    Restart(usize),
    Retire(usize),
    Scale(u32),
    Late,
}

fn any_act() -> impl Strategy<Value = Act> {
    let whom = 0_usize..8;
    prop_oneof![
        3 => whom.clone().prop_map(Act::Kill),
        3 => (whom.clone(), 0..2).prop_map(|(whom, code)| Act::Exit(whom, code)),
        2 => whom.clone().prop_map(Act::Leave),
        2 => whom.clone().prop_map(Act::LoseChannel),
        2 => whom.clone().prop_map(Act::Restart),
        1 => whom.prop_map(Act::Retire),
        2 => (0_u32..8).prop_map(Act::Scale),
        1 => Just(Act::Late),
    ]
}

fn any_time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        (0_u64..200).prop_map(Duration::from_millis),
        (0_u64..12).prop_map(Duration::from_secs),
    ]
}

fn any_script() -> impl Strategy<Value = Script> {
    let soon = || prop::option::of(any_time());
    let death = prop_oneof![
        (0..2).prop_map(Death::Code),
        Just(Death::Signal(Signal::SEGV)),
        Just(Death::Signal(Signal::KILL)),
    ];
    let fails = prop_oneof![
        8 => Just(None),
        1 => Just(Some(StartFailure::Passing)),
        1 => Just(Some(StartFailure::Permanent)),
    ];
    let dies = prop::option::of((any_time(), death));
    (fails, soon(), dies, soon(), soon()).prop_map(
        |(fails, boot, dies, on_disconnect, on_signal)| Script {
            fails,
            boot,
            // Running takes time, too.
            dies: dies.map(|(after, death)| (after + MS * 50, death)),
            on_disconnect,
            on_signal,
        },
    )
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let when = prop_oneof![
        4 => Just(When::Always),
        1 => Just(When::OnCrash),
        1 => Just(When::Never)
    ];
    let ready = prop_oneof![
        3 => Just(Ready::Listening),
        1 => Just(Ready::Started),
        1 => any_time().prop_map(Ready::After),
    ];
    let times = || prop_oneof![4 => any_time(), 1 => Just(Duration::MAX)];
    let budget = prop::option::of((0_u32..20, any_time(), 0_u32..5));
    let restart = (when, any_time(), times(), any_time(), times(), budget).prop_map(
        |(when, first, most, settled, reset_after, budget)| Restart {
            when,
            // Some time has to pass, or a loop of failed starts is one instant.
            first: first + MS * 50,
            most: most.max(MS * 50),
            settled,
            reset_after,
            budget: budget.map(|(starts, within, unproven)| Budget {
                starts,
                within,
                unproven,
            }),
            ..Restart::default()
        },
    );
    let stop = (any_time(), any_time()).prop_map(|(grace, term)| StopPlan {
        grace,
        term,
        ..StopPlan::default()
    });
    (0_u32..8, restart, ready, times(), stop).prop_map(
        |(workers, restart, ready, ready_timeout, stop)| Plan {
            workers,
            restart,
            ready,
            ready_timeout,
            stop,
        },
    )
}

fn act(world: &mut World, act: Act) {
    let pick = |world: &World, whom: usize| world.live.keys().nth(whom).copied();
    let now = world.now;
    match act {
        Act::Kill(whom) => {
            if let Some(worker) = pick(world, whom) {
                world.kill(worker);
            }
        }
        Act::Exit(whom, code) => {
            if let Some(worker) = pick(world, whom) {
                world.die(worker, Death::Code(code));
            }
        }
        Act::Leave(whom) => {
            if let Some(worker) = pick(world, whom) {
                world.leaves(worker, Supervisor::leaving);
            }
        }
        Act::LoseChannel(whom) => {
            if let Some(worker) = pick(world, whom) {
                world.leaves(worker, Supervisor::disconnected);
            }
        }
        Act::Restart(whom) => {
            if let Some(worker) = pick(world, whom) {
                world.supervisor.restart_worker(worker, now);
            }
        }
        Act::Retire(whom) => {
            if let Some(worker) = pick(world, whom) {
                world.supervisor.retire(worker, now);
            }
        }
        Act::Scale(workers) => world.supervisor.scale(workers, now),
        // News of somebody who never was, or is long gone.
        Act::Late => {
            for worker in [WorkerId(0), WorkerId(1), WorkerId(u32::MAX)] {
                if !world.live.contains_key(&worker) {
                    world.supervisor.ready(worker, now);
                    world.supervisor.leaving(worker, now);
                    world.supervisor.disconnected(worker, now);
                    world.supervisor.exited(worker, Death::Code(1), now);
                }
            }
        }
    }
    world.drain();
}

/// The machine and the processes agree on who there is.
fn agrees(world: &World) {
    let known: Vec<WorkerId> = world.supervisor.workers().map(|(id, ..)| id).collect();
    let live: Vec<WorkerId> = world.live.keys().copied().collect();
    assert_eq!(known, live);
    assert!(
        live.len() <= world.starts.len() && world.supervisor.wanted() < 9,
        "numbers add up"
    );
}

/// When nothing is to come any more, no wanted place has been forgotten.
fn nothing_is_forgotten(world: &World) {
    let supervisor = &world.supervisor;
    // One that may take forever to become ready is waited for forever.
    let awaited = supervisor.plan.ready_timeout == Duration::MAX
        && supervisor
            .workers()
            .any(|(_, _, phase)| phase == Phase::Starting);
    if world.agenda.is_empty() && supervisor.deadline().is_none() && !awaited {
        assert!(supervisor.waiting.is_empty(), "{:?}", supervisor.waiting);
        let empty = |place: &&Place| place.wanted && place.holder.is_none();
        let empty = supervisor.places.iter().filter(empty).count();
        let always = supervisor.plan.restart.when == When::Always;
        if supervisor.state == State::Running && always {
            assert_eq!(empty, 0, "a place that nobody will take");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Never more than wanted beside those who leave, no order for the dead, no
    /// start after a stop, no deadline that has passed, nobody forgotten, and
    /// after a stop all are gone in the stop plan's time.
    #[test]
    fn an_app_keeps_its_word(
        plan in any_plan(),
        scripts in prop::collection::vec(any_script(), 1..12),
        acts in prop::collection::vec((any_time(), any_act()), 0..40),
        again in prop::option::of(any_time()),
    ) {
        let stop = plan.stop;
        let mut world = World::new(plan, move |worker, _| {
            scripts[worker.0 as usize % scripts.len()]
        });
        for (time, what) in acts {
            world.run(time);
            act(&mut world, what);
            agrees(&world);
            nothing_is_forgotten(&world);
        }
        world.stop();
        if let Some(time) = again {
            world.run(time);
            world.stop();
            agrees(&world);
        }
        world.run(stop.grace + stop.term + MS);
        prop_assert!(world.live.is_empty() && world.supervisor.is_over());
        prop_assert!(world.end().is_some(), "nobody was told");
        prop_assert!(world.supervisor.workers().next().is_none());
    }
}
