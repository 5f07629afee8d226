//! Workers that say what they should not.

use super::*;

const KEY: &str = "127.0.0.1:80:4:undefined";

#[test]
fn answers_to_nothing_are_counted_and_change_nothing() {
    let mut stage = Stage::round_robin(2);
    let conn = stage.arrives(0);
    stage.back(conn, true);
    stage.forget();
    let seq = stage.primary.seq - 1;
    // Another's connection, and ones that nobody has.
    stage.answer(2, seq, true);
    stage.answer(2, seq, false);
    stage.answer(1, seq + 1, true);
    stage.answer(1, u64::MAX, false);
    assert_eq!(stage.primary.ignored(), 4);
    assert_eq!(stage.lines(), [""; 0]);
    assert_eq!(stage.unconfirmed(1), 1);
    stage.dies(1);
    assert_eq!(stage.holder(conn), Some(2), "it was never confirmed");
}

/// Numbers can be guessed. Such a worker must not be given everything that comes.
#[test]
fn one_that_answers_to_what_it_has_not_got_is_given_no_more_for_it() {
    for accepted in [true, false] {
        let mut stage = Stage::serving(terms(), "least-busy", 1);
        for _ in 0..1_000 {
            stage.arrives(0);
            for seq in stage.out.clone().into_keys() {
                stage.answer(1, seq, accepted);
            }
            stage.pass(ms(1));
        }
        assert!(
            stage.out.len() <= 8,
            "{} are in its channel",
            stage.out.len()
        );
        let lines = stage.lines();
        assert!(lines.contains(&"accept 0 off".into()));
        stage.pass(STUCK_AFTER);
        assert_eq!(stage.lines().len(), 1, "it is told of as stuck");
    }
}

#[test]
fn listening_where_it_does_not_is_by_itself() {
    let mut stage = Stage::round_robin(1);
    stage.add(2);
    let listens = |stage: &mut Stage, worker, query| {
        stage.forget();
        stage.said(worker, WorkerAct::Listening(Box::new(query)));
        stage.lines().remove(0)
    };
    assert_eq!(listens(&mut stage, 1, tcp(80)), "1 listens");
    assert_eq!(listens(&mut stage, 2, tcp(80)), "2 listens by itself");
    assert_eq!(listens(&mut stage, 1, tcp(81)), "1 listens by itself");
    assert_eq!(listens(&mut stage, 1, udp(80)), "1 listens by itself");
}

#[test]
fn listening_on_what_it_asked_for_is_not_whatever_port_it_got() {
    let mut stage = Stage::new(terms(), "least-busy");
    stage.add(1);
    let with_port = |port, query| Query {
        port: Some(port),
        ..query
    };
    let cases = [
        (tcp(0), with_port(50_000, tcp(0))),
        (path("/run/a"), path("/run/a")),
        (descriptor(3), with_port(50_002, descriptor(3))),
    ];
    for (asked, said) in cases {
        stage.listen(1, asked);
        stage.forget();
        stage.said(1, WorkerAct::Listening(Box::new(said)));
        assert_eq!(stage.lines(), ["1 listens"]);
    }
    // Of datagrams the primary is not told where.
    stage.ask(1, udp(0));
    stage.primary.bound(ListenerId(3), Ok(None), stage.now);
    stage.carry_out();
    stage.forget();
    stage.said(1, WorkerAct::Listening(Box::new(udp(40_000))));
    assert_eq!(stage.lines(), ["1 listens"]);
}

#[test]
fn closing_what_is_not_its_own_closes_nothing() {
    let mut stage = Stage::round_robin(1);
    stage.add(2);
    stage.close(2, KEY);
    stage.close(1, "no such key");
    stage.close(1, "");
    assert_eq!(stage.primary.ignored(), 2);
    stage.pass(ms(1_000));
    assert_eq!(stage.lines(), [""; 0]);
    assert!(stage.primary.serves(ListenerId(0), WorkerId(1)));
}

#[test]
fn one_that_asks_and_closes_for_ever_holds_little() {
    let mut stage = Stage::round_robin(1);
    stage.add(2);
    let mut open = 0_usize;
    for port in 1_000..3_000 {
        stage.listen(2, tcp(port));
        stage.close(2, &tcp(port).key());
        open = open.max(stage.primary.listeners().count());
    }
    assert!(open <= 2 * terms().listeners, "{open} listeners");
    assert!(stage.primary.serves(ListenerId(0), WorkerId(1)));
}

#[test]
fn the_unknown_and_the_unborn_say_nothing() {
    let mut stage = Stage::round_robin(1);
    stage.said(
        1,
        WorkerAct::Unknown {
            act: "suicide".into(),
        },
    );
    assert_eq!(stage.primary.ignored(), 1);
    stage.ask(9, tcp(80));
    stage.answer(9, 0, true);
    stage.exits_after_disconnect(9);
    stage.dies(9);
    stage.leave(9);
    assert_eq!(stage.lines(), [""; 0]);
}
