mod simulation;

use std::time::{Duration, Instant};

use super::*;
use crate::cluster::protocol::AddressType;

fn query() -> Query {
    Query {
        address: Some("127.0.0.1".into()),
        port: Some(8080),
        address_type: Some(AddressType::V4),
        ..Query::default()
    }
}

/// Any time will do.
#[expect(clippy::disallowed_methods, reason = "only a start for virtual time")]
fn now() -> Instant {
    Instant::now()
}

fn actions(worker: &mut Worker) -> Vec<Action> {
    std::iter::from_fn(|| worker.next_action()).collect()
}

fn send(seq: u64, act: WorkerAct) -> Action {
    Action::Send(FromWorker { seq, act })
}

fn say(seq: u64, act: ToWorker) -> FromPrimary {
    FromPrimary { seq, act }
}

fn reply(ack: u64, key: &str, errno: i32) -> FromPrimary {
    let listener = Listener {
        ack,
        key: key.into(),
        errno,
        sockname: (errno == 0).then(|| "127.0.0.1:8080".parse().unwrap()),
        data: None,
    };
    say(0, ToWorker::Listener(listener.into()))
}

fn new_conn(seq: u64) -> FromPrimary {
    say(seq, ToWorker::NewConn { key: "k".into() })
}

fn answer(seq: u64, ack: u64, accepted: bool) -> Action {
    let accepted = Some(accepted);
    send(seq, WorkerAct::Answer { ack, accepted })
}

fn close(seq: u64, key: &str) -> Action {
    send(seq, WorkerAct::Close { key: key.into() })
}

/// One that listens at `k`; it has sent messages 0 to 2.
fn listening() -> (Worker, ListenerId) {
    let mut worker = Worker::new();
    let listener = worker.listen(query()).unwrap();
    worker.hear(reply(1, "k", 0), Came::Alone);
    actions(&mut worker);
    (worker, listener)
}

#[test]
fn one_by_one_from_online_to_the_first_connection() {
    let mut worker = Worker::new();
    assert_eq!(actions(&mut worker), [send(0, WorkerAct::Online)]);
    let listener = worker.listen(query()).unwrap();
    let asked = WorkerAct::QueryServer(query().into());
    assert_eq!(actions(&mut worker), [send(1, asked)]);
    worker.hear(reply(1, "k", 0), Came::Alone);
    let at = Some("127.0.0.1:8080".parse().unwrap());
    let open = Action::Open {
        listener,
        how: How::OneByOne { at },
        data: None,
    };
    let listening = send(2, WorkerAct::Listening(query().into()));
    assert_eq!(actions(&mut worker), [open, listening]);
    worker.hear(new_conn(7), Came::WithHandle);
    let connection = Connection(7);
    let offer = Action::Offer {
        listener,
        connection,
    };
    assert_eq!(actions(&mut worker), [offer]);
    assert!(worker.take(connection));
    assert_eq!(actions(&mut worker), [answer(3, 7, true)]);
    assert!(!worker.take(connection), "it is taken");
}

#[test]
fn a_socket_that_comes_along_is_the_listener_and_connections_may_still_be_offered() {
    let mut worker = Worker::new();
    let listener = worker
        .listen(Query {
            port: Some(0),
            ..query()
        })
        .unwrap();
    actions(&mut worker);
    worker.hear(reply(1, "k", 0), Came::WithHandle);
    let how = How::Shared;
    let open = Action::Open {
        listener,
        how,
        data: None,
    };
    assert_eq!(actions(&mut worker), [open]);
    worker.listening(listener, Some(41234));
    let query = Query {
        port: Some(41234),
        ..query()
    };
    let listening = send(2, WorkerAct::Listening(query.into()));
    assert_eq!(actions(&mut worker), [listening]);
    worker.hear(new_conn(1), Came::WithHandle);
    assert!(matches!(actions(&mut worker)[..], [Action::Offer { .. }]));
}

#[test]
fn what_cannot_be_served_is_refused() {
    let (mut worker, _) = listening();
    let unknown = ToWorker::NewConn { key: "z".into() };
    worker.hear(say(1, unknown), Came::WithHandle);
    worker.hear(new_conn(2), Came::Alone);
    let refused = [answer(3, 1, false), answer(4, 2, false)];
    assert_eq!(actions(&mut worker), refused);
}

#[test]
fn more_than_can_wait_is_refused_until_one_is_taken() {
    let (mut worker, _) = listening();
    let most = MAX_OFFERED as u64;
    for seq in 0..most {
        worker.hear(new_conn(seq), Came::WithHandle);
    }
    assert_eq!(actions(&mut worker).len(), MAX_OFFERED);
    worker.hear(new_conn(most), Came::WithHandle);
    assert_eq!(actions(&mut worker), [answer(3, most, false)]);
    assert!(worker.take(Connection(5)));
    worker.refuse(Connection(6));
    worker.refuse(Connection(6));
    assert_eq!(
        actions(&mut worker),
        [answer(4, 5, true), answer(5, 6, false)]
    );
    worker.hear(new_conn(most + 1), Came::WithHandle);
    assert!(matches!(actions(&mut worker)[..], [Action::Offer { .. }]));
}

#[test]
fn a_closed_listener_gives_back_what_waits_and_what_comes_late() {
    let (mut worker, listener) = listening();
    worker.hear(new_conn(1), Came::WithHandle);
    actions(&mut worker);
    worker.close(listener);
    assert_eq!(actions(&mut worker), [answer(3, 1, false), close(4, "k")]);
    assert!(!worker.take(Connection(1)));
    worker.hear(new_conn(2), Came::WithHandle);
    assert_eq!(actions(&mut worker), [answer(5, 2, false)]);
}

#[test]
fn a_wish_that_is_taken_back_is_closed_when_it_comes_true() {
    let mut worker = Worker::new();
    let first = worker.listen(query()).unwrap();
    worker.close(first);
    let again = worker.listen(query()).unwrap();
    actions(&mut worker);
    worker.hear(reply(1, "k", 0), Came::Alone);
    assert_eq!(actions(&mut worker), [close(3, "k")]);
    worker.hear(reply(2, "k:1", 0), Came::Alone);
    let opened = actions(&mut worker);
    assert!(matches!(opened[..], [Action::Open { listener, .. }, _] if listener == again));
}

#[test]
fn the_same_twice_is_counted_and_counted_anew_when_all_are_closed() {
    let mut worker = Worker::new();
    let index = |worker: &mut Worker| {
        let listener = worker.listen(query()).unwrap();
        match actions(worker).pop() {
            Some(Action::Send(FromWorker {
                seq,
                act: WorkerAct::QueryServer(query),
            })) => (listener, seq, query.index),
            other => panic!("{other:?}"),
        }
    };
    let (first, ack, zero) = index(&mut worker);
    worker.hear(reply(ack, "k:0", 0), Came::Alone);
    let (second, ack, one) = index(&mut worker);
    worker.hear(reply(ack, "k:1", 0), Came::Alone);
    worker.close(first);
    let (_, ack, two) = index(&mut worker);
    worker.hear(reply(ack, "k:2", -98), Came::Alone);
    worker.close(second);
    let (_, _, anew) = index(&mut worker);
    assert_eq!((zero, one, two, anew), (0, 1, 2, 0));
}

#[test]
fn an_error_and_a_key_that_is_held_fail() {
    let (mut worker, _) = listening();
    for (answer, why) in [
        (reply(3, "z", -98), Failure::Errno { errno: 98 }),
        (reply(4, "k", 0), Failure::InUse),
        (reply(5, "y", i32::MIN), Failure::Errno { errno: i32::MAX }),
    ] {
        let listener = worker.listen(query()).unwrap();
        actions(&mut worker);
        worker.hear(answer, Came::Alone);
        assert_eq!(actions(&mut worker), [Action::Fail { listener, why }]);
    }
}

#[test]
fn told_to_disconnect_it_closes_finishes_and_goes() {
    let now = now();
    let (mut worker, listener) = listening();
    let asked = worker.listen(query()).unwrap();
    worker.hear(new_conn(1), Came::WithHandle);
    actions(&mut worker);
    worker.hear(say(2, ToWorker::Disconnect), Came::Alone);
    let why = Failure::Leaving;
    let wanted = [
        Action::Close { listener },
        answer(4, 1, false),
        close(5, "k"),
        Action::Fail {
            listener: asked,
            why,
        },
        Action::Finish,
    ];
    assert_eq!(actions(&mut worker), wanted);
    assert_eq!(worker.listen(query()), Err(Failure::Leaving));
    worker.hear(new_conn(3), Came::WithHandle);
    worker.hear(reply(3, "y", 0), Came::WithHandle);
    let late = [answer(6, 3, false), close(7, "y")];
    assert_eq!(actions(&mut worker), late);
    worker.leave(now);
    assert_eq!(actions(&mut worker), [Action::Leave(Leave::Told)]);
    worker.disconnected();
    assert_eq!(actions(&mut worker), []);
}

#[test]
fn on_its_own_it_waits_to_be_allowed() {
    let now = now();
    let (mut worker, listener) = listening();
    worker.disconnect();
    let closed = [Action::Close { listener }, close(3, "k"), Action::Finish];
    assert_eq!(actions(&mut worker), closed);
    worker.leave(now);
    let asks = [send(4, WorkerAct::ExitedAfterDisconnect)];
    assert_eq!(actions(&mut worker), asks);
    worker.hear(say(1, ToWorker::ExitAllowed { ack: 3 }), Came::Alone);
    assert_eq!(actions(&mut worker), [], "that was no answer to it");
    worker.hear(say(2, ToWorker::ExitAllowed { ack: 4 }), Came::Alone);
    assert_eq!(actions(&mut worker), [Action::Leave(Leave::Allowed)]);
}

#[test]
fn without_an_answer_it_goes_after_its_patience() {
    let now = now();
    let (mut worker, _) = listening();
    worker.leave(now);
    actions(&mut worker);
    assert_eq!(worker.deadline(), Some(now + PATIENCE));
    worker.deadline_passed(now + PATIENCE - Duration::from_millis(1));
    assert_eq!(actions(&mut worker), []);
    worker.deadline_passed(now + PATIENCE);
    assert_eq!(actions(&mut worker), [Action::Leave(Leave::Unanswered)]);
    assert_eq!(worker.deadline(), None);
}

#[test]
fn both_may_want_it_at_once() {
    let now = now();
    let (mut worker, _) = listening();
    worker.disconnect();
    worker.hear(say(1, ToWorker::Disconnect), Came::Alone);
    actions(&mut worker);
    worker.leave(now);
    assert_eq!(actions(&mut worker), [Action::Leave(Leave::Told)]);

    let (mut worker, _) = listening();
    worker.leave(now);
    worker.hear(say(1, ToWorker::Disconnect), Came::Alone);
    assert_eq!(actions(&mut worker).pop(), Some(Action::Leave(Leave::Told)));
}

/// Node's primary goes on handing connections to a worker that says no more than
/// `exitedAfterDisconnect`: one that crosses the answer would never be read.
#[test]
fn killed_it_gives_up_its_listeners_before_it_asks() {
    let now = now();
    let (mut worker, listener) = listening();
    worker.hear(new_conn(1), Came::WithHandle);
    actions(&mut worker);
    worker.kill(now);
    let wanted = [
        Action::Close { listener },
        answer(3, 1, false),
        close(4, "k"),
        Action::Finish,
        send(5, WorkerAct::ExitedAfterDisconnect),
    ];
    assert_eq!(actions(&mut worker), wanted);
    worker.kill(now);
    assert_eq!(actions(&mut worker), []);
}

#[test]
fn the_primary_s_end_is_the_worker_s() {
    let (mut worker, listener) = listening();
    worker.hear(new_conn(1), Came::WithHandle);
    actions(&mut worker);
    worker.disconnected();
    let taken = worker.take(Connection(1));
    assert!(!taken, "another has it, or nobody");
    let ends = actions(&mut worker);
    assert_eq!(ends.first(), Some(&Action::Close { listener }));
    let last = [Action::Finish, Action::Leave(Leave::Lost)];
    assert!(ends.ends_with(&last), "{ends:?}");
}
