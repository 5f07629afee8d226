//! Workers that die while they have connections.

use super::*;

#[test]
fn dead_before_it_got_the_connection() {
    let mut stage = Stage::round_robin(2);
    let conn = stage.arrives(0);
    // The channel gives back what it could not send.
    stage.nack(conn);
    stage.dies(1);
    assert_eq!(stage.holder(conn), Some(2));
}

#[test]
fn dead_before_it_confirmed_the_connection() {
    let mut stage = Stage::round_robin(2);
    let conn = stage.arrives(0);
    stage.back(conn, true);
    stage.forget().dies(1);
    assert_eq!(stage.lines(), ["holders 0", "2: gets 0"]);
    assert_eq!(stage.accepts(conn), 2);
}

#[test]
fn dead_after_it_confirmed_the_connection() {
    let mut stage = Stage::round_robin(2);
    let conn = stage.arrives(0);
    stage.accepts(conn);
    stage.forget().dies(1);
    assert_eq!(stage.lines(), ["holders 0"], "it is served, or was");
}

/// Its channel may give the connection back only after that.
#[test]
fn dead_while_the_connection_was_on_its_way() {
    for is_taken in [true, false] {
        let mut stage = Stage::round_robin(2);
        let conn = stage.arrives(0);
        stage.forget().dies(1);
        assert_eq!(stage.lines(), ["holders 0"]);
        stage.back(conn, is_taken);
        assert_eq!(stage.lines(), ["2: gets 0"]);
        assert_eq!(stage.accepts(conn), 2);
    }
}

#[test]
fn dead_after_it_answered_and_before_the_connection_came_back() {
    for accepted in [true, false] {
        let mut stage = Stage::round_robin(2);
        let conn = stage.arrives(0);
        let (seq, _) = stage.of(conn);
        stage.answer(1, seq, accepted);
        stage.dies(1);
        stage.back(conn, true);
        let next = (!accepted).then_some(2);
        assert_eq!(stage.holder(conn), next);
    }
}

#[test]
fn what_the_dead_had_comes_before_what_waits_the_oldest_first() {
    let mut stage = Stage::serving(terms(), "least-busy", 1);
    let conns: Vec<_> = (0..12).map(|_| stage.arrives(0)).collect();
    for conn in &conns[..8] {
        stage.back(*conn, true);
    }
    stage.dies(1);
    assert_eq!(stage.waiting(0), 12);
    stage.add(2);
    stage.forget().listen(2, tcp(80));
    let given: Vec<_> = stage.lines()[2..].to_vec();
    let expected: Vec<_> = (0..8).map(|conn| format!("2: gets {conn}")).collect();
    assert_eq!(given, expected);
}

#[test]
fn with_all_dead_clients_wait_for_the_next_worker() {
    let mut stage = Stage::round_robin(3);
    for worker in 1..=3 {
        stage.dies(worker);
    }
    stage.forget();
    for _ in 0..20 {
        stage.arrives(0);
    }
    stage.pass(ms(600_000));
    assert_eq!(stage.lines(), ["accept 0 off"], "the backlog holds more");
    stage.add(4);
    stage.listen(4, tcp(80));
    for conn in 0..20 {
        assert_eq!(stage.accepts(conn), 4);
    }
}

#[test]
fn one_that_leaves_may_finish_and_what_it_refuses_goes_to_others() {
    let mut stage = Stage::serving(terms(), "least-busy", 2);
    let conns: Vec<_> = (0..4).map(|_| stage.arrives(0)).collect();
    stage.leave(1);
    let of_first: Vec<_> = conns
        .iter()
        .filter(|conn| stage.holder(**conn) == Some(1))
        .collect();
    let [served, refused] = of_first[..] else {
        panic!("two for each");
    };
    assert_eq!(stage.accepts(*served), 1);
    assert_eq!(stage.refuses(*refused), 1);
    assert_eq!(stage.holder(*refused), Some(2));
    stage.dies(1);
    assert_eq!(stage.unconfirmed(2), 3);
}

#[test]
fn what_comes_back_to_a_closed_listener_is_closed() {
    let mut stage = Stage::round_robin(2);
    stage.arrives(0);
    stage.arrives(0);
    stage.primary.stop_listening(stage.now);
    stage.refuses(0);
    stage.back(1, true);
    stage.forget().dies(2);
    assert_eq!(stage.lines(), [""; 0]);
}
