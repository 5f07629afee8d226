//! Who gets what, and what a refusal does.

use super::*;

#[test]
fn one_each_in_turn_and_the_rest_waits() {
    let mut stage = Stage::round_robin(3);
    for _ in 0..5 {
        stage.arrives(0);
    }
    assert_eq!(stage.lines(), ["1: gets 0", "2: gets 1", "3: gets 2"]);
    assert_eq!(stage.accepts(1), 2);
    assert_eq!(stage.accepts(0), 1);
    assert_eq!(stage.lines(), ["2: gets 3", "1: gets 4"]);
    for conn in [3, 2, 4] {
        stage.accepts(conn);
    }
    for _ in 0..3 {
        stage.arrives(0);
    }
    let order = ["2: gets 5", "3: gets 6", "1: gets 7"];
    assert_eq!(stage.lines(), order, "by who is free the longest");
}

#[test]
fn nobody_gets_a_second_one_while_another_has_none() {
    let mut stage = Stage::serving(terms(), "least-busy", 3);
    for _ in 0..40 {
        stage.arrives(0);
    }
    let all: Vec<_> = (1..=3).map(|worker| stage.unconfirmed(worker)).collect();
    assert_eq!(all, [8, 8, 8], "as deep as the policy says");
    assert_eq!(stage.waiting(0), 16);
    // Two are done with all of it: what waits goes to the one, then to the other.
    let of = |stage: &Stage, worker: u32| -> Vec<u32> {
        let out = stage.out.values().filter(|(holder, _)| *holder == worker);
        out.map(|(_, conn)| *conn).collect()
    };
    let (first, second) = (of(&stage, 1), of(&stage, 2));
    for conn in first.into_iter().chain(second) {
        stage.accepts(conn);
    }
    assert_eq!(stage.unconfirmed(3), 8);
    assert_eq!(stage.waiting(0), 0);
    assert_eq!(stage.unconfirmed(1) + stage.unconfirmed(2), 16);
}

#[test]
fn the_first_connections_go_one_to_each() {
    for policy in [
        "least-busy",
        "random-two",
        "weighted=9,1,1,1",
        "round-robin",
    ] {
        let mut stage = Stage::serving(terms(), policy, 4);
        let conns: Vec<_> = (0..4).map(|_| stage.arrives(0)).collect();
        let holders: BTreeSet<_> = conns.iter().map(|conn| stage.holder(*conn)).collect();
        assert_eq!(holders.len(), 4, "{policy}");
    }
}

#[test]
fn one_that_is_slow_to_confirm_gets_no_second_one() {
    let mut stage = Stage::serving(terms(), "least-busy", 2);
    stage.arrives(0);
    stage.arrives(0);
    stage.pass(ms(21));
    stage.arrives(0);
    assert_eq!(stage.waiting(0), 1, "both are");
    assert_eq!(stage.accepts(1), 2);
    assert_eq!(stage.holder(2), Some(2));
}

#[test]
fn what_one_refuses_goes_to_another_first() {
    let mut stage = Stage::round_robin(2);
    let conn = stage.arrives(0);
    assert_eq!(stage.refuses(conn), 1);
    assert_eq!(stage.refuses(conn), 2);
    assert_eq!(stage.lines(), ["1: gets 0", "2: gets 0"]);
    assert_eq!(stage.waiting(0), 1, "both rest");
    stage.pass(ms(20));
    assert_eq!(stage.lines(), ["1: gets 0"]);
    assert_eq!(stage.accepts(conn), 1);
}

/// Node's primary and a worker at `maxConnections` throw one connection to and fro,
/// some hundred times a second.
#[test]
fn refusing_all_makes_no_busy_loop_and_costs_no_order() {
    let mut stage = Stage::round_robin(2);
    for _ in 0..4 {
        stage.arrives(0);
    }
    let mut gives = 0;
    for _ in 0..600 {
        let out: Vec<_> = stage.out.values().map(|(_, conn)| *conn).collect();
        gives += out.len();
        for conn in out {
            stage.refuses(conn);
        }
        stage.pass(ms(100));
    }
    // Each rests 20 ms, 40, …, then 1 s.
    assert!((100..=140).contains(&gives), "{gives} in a minute");
    stage.forget();
    for _ in 0..4 {
        stage.pass(ms(1_000));
        let out: Vec<_> = stage.out.values().map(|(_, conn)| *conn).collect();
        for conn in out {
            stage.accepts(conn);
        }
    }
    let mut order: Vec<_> = stage
        .lines()
        .iter()
        .map(|line| line.as_bytes()[8])
        .collect();
    order.dedup();
    order.sort_unstable();
    assert_eq!(order, [b'0', b'1', b'2', b'3'], "all are served in the end");
}

#[test]
fn after_a_confirmation_a_rest_is_short_again() {
    let mut stage = Stage::round_robin(1);
    let conn = stage.arrives(0);
    let mut rests = Vec::new();
    for _ in 0..8 {
        stage.refuses(conn);
        let due = stage.primary.deadline().unwrap();
        rests.push((due - stage.now).as_millis());
        stage.pass(due - stage.now);
    }
    assert_eq!(rests, [20, 40, 80, 160, 320, 640, 1_000, 1_000]);
    stage.accepts(conn);
    let conn = stage.arrives(0);
    stage.refuses(conn);
    let due = stage.primary.deadline().unwrap();
    assert_eq!(due - stage.now, ms(20));
}

#[test]
fn refusing_all_that_it_was_given_at_once_is_one_refusal() {
    let mut stage = Stage::serving(terms(), "least-busy", 1);
    let conns: Vec<_> = (0..8).map(|_| stage.arrives(0)).collect();
    for conn in conns {
        stage.refuses(conn);
    }
    assert_eq!(stage.waiting(0), 8);
    assert_eq!(stage.primary.deadline(), Some(stage.now + ms(20)));
}

/// A worker that has closed one listener serves the other.
#[test]
fn refusing_what_it_has_closed_meanwhile_is_no_reason_to_rest() {
    let mut stage = Stage::round_robin(2);
    stage.listen(1, tcp(81));
    let conn = stage.arrives(0);
    assert_eq!(stage.holder(conn), Some(2));
    let conn = stage.arrives(0);
    stage.close(1, "127.0.0.1:80:4:undefined");
    assert_eq!(stage.refuses(conn), 1);
    let other = stage.arrives(1);
    assert_eq!(stage.holder(other), Some(1));
}

/// Without free descriptors a worker loses what it is sent, and Node never gives
/// it anything again.
#[test]
fn what_got_lost_on_its_way_goes_to_another_and_the_worker_recovers() {
    let mut stage = Stage::round_robin(2);
    let conn = stage.arrives(0);
    assert_eq!(stage.nack(conn), 1);
    assert_eq!(stage.lines(), ["1: gets 0", "2: gets 0"]);
    stage.arrives(0);
    assert_eq!(stage.lines(), [""; 0], "it rests");
    stage.pass(ms(20));
    assert_eq!(stage.lines(), ["1: gets 1"]);
    assert_eq!(stage.accepts(1), 1);
}

/// The handle's confirmation and the worker's answer take different ways.
#[test]
fn an_answer_may_come_before_the_connection_has_come_back() {
    let mut stage = Stage::round_robin(2);
    let conn = stage.arrives(0);
    let (seq, _) = stage.of(conn);
    stage.answer(1, seq, false);
    assert_eq!(stage.unconfirmed(1), 1, "it is with the channel still");
    stage.answer(1, seq, true);
    assert_eq!(stage.primary.ignored(), 1, "a second word does not count");
    stage.forget().back(conn, true);
    assert_eq!(stage.lines(), ["2: gets 0"]);
    let (seq, _) = stage.of(conn);
    stage.answer(2, seq, true);
    stage.forget().back(conn, true);
    assert_eq!(stage.lines(), [""; 0]);
    assert_eq!((stage.unconfirmed(1), stage.unconfirmed(2)), (0, 0));
}

#[test]
fn what_waits_is_bounded_and_the_rest_stays_in_the_backlog() {
    let mut stage = Stage::round_robin(1);
    let conns: Vec<_> = (0..17).map(|_| stage.arrives(0)).collect();
    assert_eq!(stage.lines(), ["1: gets 0", "accept 0 off"]);
    assert_eq!(stage.waiting(0), 16);
    assert_eq!(stage.primary.room(ListenerId(0)), 0);
    for conn in &conns[..7] {
        stage.accepts(*conn);
        assert_eq!(stage.lines().len(), 1, "not yet");
    }
    stage.accepts(conns[7]);
    assert_eq!(stage.lines(), ["1: gets 8", "accept 0 on"], "at half");
    assert_eq!(stage.primary.room(ListenerId(0)), 8);
}

#[test]
fn without_room_one_may_wait() {
    let queue = 0;
    let mut stage = Stage::serving(Terms { queue, ..terms() }, "round-robin", 1);
    stage.arrives(0);
    assert_eq!(stage.lines(), ["1: gets 0"]);
    stage.arrives(0);
    assert_eq!(stage.lines(), ["accept 0 off"]);
    stage.accepts(0);
    assert_eq!(stage.lines(), ["1: gets 1", "accept 0 on"]);
}

#[test]
fn a_shared_listener_is_never_accepted_from() {
    let mut stage = Stage::new(
        Terms {
            shares: true,
            ..terms()
        },
        "kernel",
    );
    for worker in 1..=3 {
        stage.add(worker);
        stage.listen(worker, tcp(80));
        stage.listen(worker, udp(80));
    }
    stage.dies(1);
    stage.pass(ms(60_000));
    let lines = stage.lines();
    assert!(
        lines.iter().all(|line| !line.starts_with("accept")),
        "{lines:?}"
    );
}

/// One that always has some must not take all room.
#[test]
fn a_listener_under_load_leaves_room_for_the_others() {
    let mut stage = Stage::serving(terms(), "least-busy", 2);
    stage.listen(1, tcp(81));
    stage.listen(2, tcp(81));
    for _ in 0..30 {
        stage.arrives(0);
    }
    let health = stage.arrives(1);
    assert_eq!(stage.holder(health), None);
    for confirmed in 1.. {
        let oldest = stage.out.values().map(|(_, conn)| *conn).next().unwrap();
        stage.accepts(oldest);
        stage.arrives(0);
        if stage.holder(health).is_some() {
            break;
        }
        assert!(confirmed < 3, "it waits for all of the others");
    }
}

#[test]
fn a_stopped_worker_gets_nothing_until_it_goes_on() {
    let mut stage = Stage::round_robin(1);
    let seen = |stage: &mut Stage, stopped| {
        let now = stage.now;
        let seen = if stopped {
            Seen::Stopped
        } else {
            Seen::Running
        };
        stage.primary.observed(WorkerId(1), Some(0.5), seen, now);
        stage.carry_out();
    };
    seen(&mut stage, true);
    assert!(
        stage.primary.serves(ListenerId(0), WorkerId(1)),
        "it still holds it"
    );
    stage.arrives(0);
    assert_eq!(stage.lines(), [""; 0]);
    seen(&mut stage, false);
    assert_eq!(stage.lines(), ["1: gets 0"]);
}

#[test]
fn a_client_does_not_wait_for_a_stopped_worker_for_long() {
    let mut stage = Stage::round_robin(2);
    stage.arrives(0);
    assert_eq!(stage.lines(), ["1: gets 0"]);
    stage.pass(ms(500));
    let now = stage.now;
    stage
        .primary
        .observed(WorkerId(1), None, Seen::Stopped, now);
    stage.pass(ms(999));
    assert_eq!(stage.lines(), [""; 0]);
    stage.pass(ms(1));
    assert_eq!(stage.lines().len(), 1, "told of as stuck, once");
}

#[test]
fn a_stuck_worker_is_told_of_once_for_each_connection() {
    let mut stage = Stage::serving(terms(), "least-busy", 1);
    stage.arrives(0);
    stage.pass(ms(10));
    stage.arrives(0);
    stage.forget().pass(STUCK_AFTER - ms(11));
    assert_eq!(stage.lines(), [""; 0]);
    stage.pass(ms(1));
    assert_eq!(stage.lines(), ["1 stuck 5000 ms"]);
    stage.pass(ms(60_000));
    assert_eq!(stage.lines(), [""; 0]);
    assert_eq!(stage.primary.deadline(), None);
    // The later one is answered: the old one is no news.
    stage.accepts(1);
    stage.pass(ms(60_000));
    assert_eq!(stage.lines(), [""; 0]);
    stage.refuses(0);
    stage.pass(ms(20));
    assert_eq!(stage.lines(), ["1: gets 0"]);
    stage.pass(STUCK_AFTER);
    assert_eq!(
        stage.lines(),
        ["1 stuck 5000 ms"],
        "again, though it never confirmed"
    );
}

#[test]
fn many_rests_end_at_once() {
    let mut stage = Stage::round_robin(5);
    for _ in 0..5 {
        stage.arrives(0);
    }
    for conn in 0..5 {
        stage.nack(conn);
    }
    assert_eq!(stage.waiting(0), 5);
    // The stage's tick fails if anything is due still.
    stage.pass(ms(20));
    assert_eq!(stage.waiting(0), 0);
}

fn peer(number: u32) -> Option<IpAddr> {
    Some(IpAddr::from([10, 0, 0, u8::try_from(number).unwrap()]))
}

#[test]
fn a_client_comes_to_its_worker_again_and_a_death_moves_nobody_else() {
    let mut stage = Stage::serving(terms(), "ip-hash", 4);
    let homes = |stage: &mut Stage| -> Vec<u32> {
        let clients = 0..100;
        clients
            .map(|client| {
                let conn = stage.arrives_from(0, peer(client));
                stage.accepts(conn)
            })
            .collect()
    };
    let before = homes(&mut stage);
    assert_eq!(homes(&mut stage), before);
    stage.dies(2);
    let meanwhile = homes(&mut stage);
    for (was, is) in before.iter().zip(&meanwhile) {
        assert!(*is != 2 && (was == is || *was == 2));
    }
    stage.primary.add_worker(WorkerId(5), Slot(1));
    stage.listen(5, tcp(80));
    let after = homes(&mut stage);
    for (was, is) in before.iter().zip(&after) {
        assert_eq!(
            if *was == 2 { 5 } else { *was },
            *is,
            "who replaces it gets them back"
        );
    }
}

#[test]
fn clients_of_others_pass_those_whose_worker_has_no_room() {
    let mut stage = Stage::serving(terms(), "ip-hash", 2);
    let first = stage.arrives_from(0, peer(1));
    let home = stage.holder(first);
    for _ in 0..9 {
        stage.arrives_from(0, peer(1));
    }
    assert_eq!(stage.waiting(0), 2);
    let mut others = (2..).map(|number| {
        let conn = stage.arrives_from(0, peer(number));
        stage.holder(conn)
    });
    let other = others.find(|other| *other != home && other.is_some());
    assert!(other.is_some());
}

/// What the client had sent must be known to the policy again.
#[test]
fn a_client_that_comes_back_is_still_itself() {
    let mut stage = Stage::new(terms(), "cookie=s");
    for worker in 1..=8 {
        stage.add(worker);
        stage.listen(worker, tcp(80));
    }
    let request = Bytes::from_static(b"GET / HTTP/1.1\r\ncookie: s=abc\r\n\r\n");
    let arrival = |conn| Arrival {
        conn,
        peer: peer(conn),
        first_bytes: Some(request.clone()),
    };
    assert_eq!(stage.primary.wants(ListenerId(0)), Wants::FirstBytes);
    stage.primary.arrived(ListenerId(0), arrival(0), stage.now);
    stage.carry_out();
    let home = stage.holder(0).unwrap();
    stage.nack(0);
    let second = stage.holder(0).unwrap();
    assert_ne!(second, home);
    stage.back(0, true);
    stage.pass(ms(20));
    stage.dies(second);
    assert_eq!(stage.holder(0), Some(home));
}

#[test]
fn who_is_held_back_gets_nothing_until_it_listens() {
    let mut stage = Stage::round_robin(1);
    stage.add(2);
    stage.primary.hold_back(WorkerId(2));
    stage.listen(2, tcp(80));
    stage.lines.clear();
    for _ in 0..3 {
        stage.arrives(0);
    }
    assert_eq!(stage.lines(), ["1: gets 0"]);
    stage.said(2, WorkerAct::Listening(Box::new(tcp(80))));
    assert_eq!(stage.lines(), ["2 listens", "2: gets 1"]);
    stage.accepts(1);
    assert_eq!(stage.lines(), ["2: gets 2"]);
}
