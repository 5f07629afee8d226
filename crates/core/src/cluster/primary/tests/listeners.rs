//! What workers listen on.

use serde_json::json;

use super::super::LINGER;
use super::*;

/// What is bound, and what the first worker is answered.
fn kind(terms: Terms, query: Query) -> Vec<String> {
    let mut stage = Stage::new(terms, "least-busy");
    stage.add(1);
    stage.ask(1, query);
    let sockname = Some(SocketAddr::from(([127, 0, 0, 1], 80)));
    stage.primary.bound(ListenerId(0), Ok(sockname), stage.now);
    stage.carry_out();
    stage
        .lines()
        .into_iter()
        .filter(|line| !line.starts_with("holders"))
        .collect()
}

#[test]
fn each_kind_of_listener_is_made_and_answered_in_its_way() {
    let splits = || Terms {
        splits: true,
        ..terms()
    };
    let shares = || Terms {
        shares: true,
        ..splits()
    };
    let expected = |bind: &str, key: &str, with: &str, accepts: bool| {
        let mut lines = vec![
            format!("bind 0 {bind} {key}"),
            format!("1: #1 has {key} at 127.0.0.1:80{with}"),
        ];
        lines.extend(accepts.then(|| "accept 0 on".to_owned()));
        lines
    };
    let shared = " with socket 0";
    let v6 = || Query {
        address: None,
        address_type: Some(AddressType::V6),
        ..tcp(80)
    };
    let cases = [
        (tcp(80), "127.0.0.1:80:4:undefined", "Group"),
        (v6(), "null:80:6:undefined", "Group"),
        (tcp(0), "127.0.0.1:0:4:undefined:0", "Group"),
        (path("/run/a"), "/run/a:-1:-1:undefined", "HandOver"),
        (descriptor(3), "null:null:null:3", "HandOver"),
        (udp(53), "127.0.0.1:53:udp4:-1", "Shared"),
    ];
    for (query, key, split) in cases {
        let plain = if query.is_udp() { "Shared" } else { "HandOver" };
        let with = |kind: &str| if kind == "HandOver" { "" } else { shared };
        let is_udp = query.is_udp();
        assert_eq!(
            kind(terms(), query.clone()),
            expected(plain, key, with(plain), !is_udp)
        );
        assert_eq!(
            kind(splits(), query.clone()),
            expected(split, key, with(split), !is_udp)
        );
        assert_eq!(
            kind(shares(), query),
            expected("Shared", key, shared, false)
        );
    }
}

#[test]
fn the_nth_listener_on_port_0_is_the_same_for_all() {
    let mut stage = Stage::new(terms(), "least-busy");
    let nth = |index| Query { index, ..tcp(0) };
    stage.add(1);
    stage.add(2);
    stage.listen(1, nth(0));
    stage.listen(1, nth(1));
    stage.forget();
    stage.listen(2, nth(1));
    stage.listen(2, nth(0));
    assert_eq!(
        stage.lines(),
        [
            "2: #3 has 127.0.0.1:0:4:undefined:1 at 127.0.0.1:50001",
            "holders 1",
            "2: #4 has 127.0.0.1:0:4:undefined:0 at 127.0.0.1:50000",
            "holders 0",
        ]
    );
    // A fixed port is one, whatever the index: before Node 22.23 it was counted.
    stage.listen(1, tcp(80));
    stage.forget();
    stage.listen(
        2,
        Query {
            index: 1,
            ..tcp(80)
        },
    );
    assert_eq!(
        stage.lines(),
        [
            "2: #6 has 127.0.0.1:80:4:undefined at 127.0.0.1:80",
            "holders 2"
        ]
    );
}

#[test]
fn all_that_ask_while_it_is_made_are_answered_when_it_is() {
    let mut stage = Stage::new(terms(), "least-busy");
    for worker in 1..=4 {
        stage.add(worker);
        stage.ask(worker, tcp(80));
    }
    assert_eq!(
        stage.lines(),
        ["bind 0 HandOver 127.0.0.1:80:4:undefined"],
        "it is made once"
    );
    stage.dies(2);
    stage.leave(3);
    stage.forget();
    stage.bound(0, Ok(80));
    let key = "127.0.0.1:80:4:undefined";
    assert_eq!(
        stage.lines(),
        [
            &*format!("1: #1 has {key} at 127.0.0.1:80"),
            "holders 0",
            "accept 0 on",
            &*format!("4: #4 has {key} at 127.0.0.1:80"),
            "holders 0",
        ]
    );
}

#[test]
fn the_same_twice_is_in_use_also_while_it_is_made() {
    let mut stage = Stage::new(terms(), "least-busy");
    stage.add(1);
    stage.ask(1, tcp(80));
    stage.forget();
    let in_use = |ack: u32| {
        [
            format!("1: #{ack} has not 127.0.0.1:80:4:undefined: -98"),
            "1 failed: 98".to_owned(),
        ]
    };
    stage.ask(1, tcp(80));
    assert_eq!(stage.lines(), in_use(2));
    stage.bound(0, Ok(80));
    stage.forget();
    stage.ask(1, tcp(80));
    assert_eq!(stage.lines(), in_use(3));
}

#[test]
fn after_an_error_it_can_be_tried_again() {
    let mut stage = Stage::new(terms(), "least-busy");
    for worker in 1..=2 {
        stage.add(worker);
        stage.ask(worker, tcp(80));
    }
    stage.forget().bound(0, Err(IN_USE));
    assert_eq!(
        stage.lines(),
        [
            "1: #1 has not 127.0.0.1:80:4:undefined: -98",
            "1 failed: 98",
            "2: #2 has not 127.0.0.1:80:4:undefined: -98",
            "2 failed: 98",
        ]
    );
    stage.ask(1, tcp(80));
    stage.bound(1, Ok(80));
    assert_eq!(
        stage.lines(),
        [
            "bind 1 HandOver 127.0.0.1:80:4:undefined",
            "1: #3 has 127.0.0.1:80:4:undefined at 127.0.0.1:80",
            "holders 1",
            "accept 1 on",
        ]
    );
}

#[test]
fn data_of_the_first_that_has_some_is_everybodys() {
    let mut stage = Stage::new(terms(), "least-busy");
    let keys = |keys: &str| Some(json!({ "ticketKeys": keys }));
    let with = |data| Query { data, ..tcp(443) };
    for worker in 1..=4 {
        stage.add(worker);
    }
    stage.ask(1, with(None));
    stage.ask(2, with(keys("aa")));
    stage.bound(0, Ok(443));
    stage.ask(3, with(keys("bb")));
    stage.dies(1);
    stage.dies(2);
    stage.dies(3);
    stage.ask(4, with(None));
    let answers = stage
        .lines()
        .into_iter()
        .filter(|line| line.contains(" has "));
    let data: Vec<_> = answers
        .map(|line| line.split(" data ").nth(1).map(str::to_owned))
        .collect();
    assert_eq!(data, vec![Some(r#"{"ticketKeys":"aa"}"#.to_owned()); 4]);
}

const KEY: &str = "127.0.0.1:80:4:undefined";

#[test]
fn what_all_have_closed_and_live_on_is_closed_after_a_while() {
    let mut stage = Stage::round_robin(2);
    stage.close(1, KEY);
    stage.pass(ms(1_000));
    stage.close(2, KEY);
    assert_eq!(stage.lines(), ["holders 0", "holders 0"]);
    stage.pass(LINGER - ms(1));
    assert_eq!(stage.lines(), [""; 0]);
    stage.pass(ms(1));
    assert_eq!(stage.lines(), ["unbind 0"]);
    assert_eq!(stage.primary.deadline(), None);
    stage.ask(1, tcp(80));
    assert_eq!(stage.lines(), [format!("bind 1 HandOver {KEY}")]);
}

#[test]
fn what_is_closed_and_asked_for_again_is_found_again() {
    let mut stage = Stage::round_robin(1);
    stage.close(1, KEY);
    stage.pass(ms(50));
    stage.forget().ask(1, tcp(80));
    assert_eq!(
        stage.lines(),
        [&*format!("1: #3 has {KEY} at 127.0.0.1:80"), "holders 0"]
    );
    stage.pass(ms(1_000));
    assert_eq!(stage.lines(), [""; 0]);
    let conn = stage.arrives(0);
    assert_eq!(stage.holder(conn), Some(1));
}

#[test]
fn what_was_found_again_does_not_end_by_what_was_before() {
    let mut stage = Stage::round_robin(2);
    stage.close(1, KEY);
    stage.close(2, KEY);
    stage.pass(ms(50));
    stage.ask(1, tcp(80));
    stage.dies(1);
    stage.forget().pass(ms(1_000));
    assert_eq!(stage.lines(), [""; 0]);
}

#[test]
fn what_the_last_closes_because_it_leaves_stays() {
    type End = fn(&mut Stage);
    let ends: [End; 4] = [
        |stage| {
            // `cluster.worker.disconnect()`
            stage.close(1, KEY);
            stage.exits_after_disconnect(1);
        },
        // `cluster.worker.kill()`
        |stage| stage.exits_after_disconnect(1),
        |stage| {
            stage.close(1, KEY);
            stage.dies(1);
        },
        |stage| {
            stage.leave(1);
            stage.close(1, KEY);
        },
    ];
    for (at, end) in ends.into_iter().enumerate() {
        let mut stage = Stage::round_robin(1);
        end(&mut stage);
        stage.pass(ms(1_000));
        stage.dies(1);
        stage.pass(ms(60_000));
        let lines = stage.lines();
        assert!(!lines.contains(&"unbind 0".into()), "{at}: {lines:?}");
        let conn = stage.arrives(0);
        assert_eq!(stage.holder(conn), None);
        stage.add(2);
        stage.forget().listen(2, tcp(80));
        assert_eq!(
            stage.lines(),
            [
                &*format!("2: #{} has {KEY} at 127.0.0.1:80", stage.seq),
                "holders 0",
                "2: gets 0"
            ],
            "{at}: who waited is served"
        );
    }
}

/// A worker whose every start listens on another path must not leave all of
/// them behind; what is asked for each time stays.
#[test]
fn what_nobody_holds_is_closed_when_that_becomes_much() {
    let mut stage = Stage::new(terms(), "least-busy");
    for start in 1..=1_000 {
        stage.add(start);
        stage.listen(start, tcp(80));
        stage.listen(start, path(&format!("/tmp/app-{start}.sock")));
        stage.dies(start);
    }
    let kept: Vec<_> = stage
        .primary
        .listeners()
        .map(|view| view.query.key())
        .collect();
    assert_eq!(kept.len(), terms().listeners + 1);
    assert_eq!(kept[0], KEY);
    let lines = stage.lines();
    let binds = lines.iter().filter(|line| line.starts_with("bind"));
    assert_eq!(binds.count(), 1_001, "the port is made once");
    let unbinds = lines.iter().filter(|line| line.starts_with("unbind"));
    assert_eq!(unbinds.count(), 1_001 - kept.len());
}

#[test]
fn one_that_leaves_gets_no_answer() {
    let mut stage = Stage::round_robin(1);
    stage.add(2);
    stage.add(3);
    stage.leave(2);
    stage.exits_after_disconnect(3);
    assert_eq!(stage.lines(), ["2: disconnect", "3: may go #2", "3 leaves"]);
    stage.ask(2, tcp(80));
    stage.ask(3, tcp(81));
    assert_eq!(stage.lines(), [""; 0]);
}

#[test]
fn told_to_leave_it_is_told_once_and_gets_nothing_more() {
    let mut stage = Stage::round_robin(2);
    stage.leave(1);
    stage.leave(1);
    assert_eq!(stage.lines(), ["holders 0", "1: disconnect"]);
    assert!(!stage.primary.serves(ListenerId(0), WorkerId(1)));
    for _ in 0..3 {
        let conn = stage.arrives(0);
        assert_eq!(stage.holder(conn), Some(2));
        stage.accepts(conn);
    }
}

#[test]
fn a_worker_holds_so_many_listeners_and_no_more() {
    let mut stage = Stage::new(terms(), "least-busy");
    stage.add(1);
    stage.add(2);
    let most = i32::try_from(terms().listeners).unwrap();
    for port in 1..=most {
        // Those that are being made count.
        stage.ask(1, tcp(port));
    }
    stage.forget().ask(1, tcp(most + 1));
    assert_eq!(
        stage.lines(),
        ["1: #9 has not 127.0.0.1:9:4:undefined: -24", "1 failed: 24"]
    );
    stage.ask(2, tcp(most + 1));
    assert_eq!(stage.lines(), ["bind 8 HandOver 127.0.0.1:9:4:undefined"]);
    for port in 1..=most {
        stage.bound(u64::try_from(port - 1).unwrap(), Ok(port));
    }
    stage.forget().close(1, "127.0.0.1:1:4:undefined");
    stage.forget().ask(1, tcp(most + 2));
    assert_eq!(stage.lines(), ["bind 9 HandOver 127.0.0.1:10:4:undefined"]);
}

#[test]
fn only_what_was_allowed_is_listened_on() {
    let only = Addresses::Only {
        ports: vec![80, 53],
        paths: vec!["/run/a".into()],
    };
    let both = |fd: i32| Query {
        fd: Some(fd),
        ..path("/run/a")
    };
    let refused = |addresses: &Addresses, query: Query| {
        let mut stage = Stage::new(
            Terms {
                addresses: addresses.clone(),
                ..terms()
            },
            "least-busy",
        );
        stage.add(1);
        stage.ask(1, query);
        let lines = stage.lines();
        let is_refused = lines.last().is_some_and(|line| line == "1 failed: 13");
        assert_eq!(is_refused, !lines[0].starts_with("bind"), "{lines:?}");
        is_refused
    };
    for query in [tcp(80), udp(53), path("/run/a")] {
        assert!(!refused(&only, query.clone()), "{query:?}");
        assert!(refused(&Addresses::None, query.clone()), "{query:?}");
        assert!(!refused(&Addresses::Any, query), "any");
    }
    let others = [
        tcp(81),
        tcp(0),
        tcp(-1),
        path("/run/b"),
        path("/run/../run/a"),
        descriptor(80),
        // The driver would take the descriptor.
        both(0),
        both(80),
        Query {
            fd: Some(5),
            ..tcp(80)
        },
        Query::default(),
    ];
    for query in others {
        assert!(refused(&only, query.clone()), "{query:?}");
    }
}

#[test]
fn after_stop_listening_nothing_is_open_and_what_waited_was_given_away() {
    for policy in ["round-robin", "least-busy", "ip-hash"] {
        let mut stage = Stage::serving(terms(), policy, 2);
        let peer = Some(IpAddr::from([127, 0, 0, 1]));
        let conns: Vec<_> = (0..20).map(|_| stage.arrives_from(0, peer)).collect();
        assert!(stage.waiting(0) > 0, "{policy}");
        stage.ask(1, tcp(81));
        stage.forget();
        stage.primary.stop_listening(stage.now);
        stage.carry_out();
        let lines = stage.lines();
        let unbound: BTreeSet<_> = lines
            .iter()
            .filter(|line| line.starts_with("unbind"))
            .collect();
        assert_eq!(unbound.len(), 2, "{policy}: {lines:?}");
        for conn in conns {
            assert!(stage.holder(conn).is_some(), "{policy}: {conn}");
            stage.accepts(conn);
        }
        assert_eq!(stage.primary.listeners().count(), 0);
        stage.bound(1, Ok(81));
        stage.arrives(0);
        assert_eq!(stage.lines(), [""; 0], "{policy}: late news of closed ones");
    }
}
