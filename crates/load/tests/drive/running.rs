//! A load while it runs: events, the end by hand, the warm-up.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use procession_load::{
    Class, Event, Limit, ProbeError, Rate, Spec, StartError, Target, TlsError, Until, Warmup,
    probe, start,
};
use procession_testkit::leaks::Oracle;
use tokio::runtime::Builder;

use crate::server::{LONG, Server, check, requests, run, target};

#[test]
fn events_tell_what_the_report_adds_up() {
    let oracle = Oracle::start();
    let server = Server::start(|mut client| {
        while client.request() && client.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") {}
    });
    let mut spec = server.spec();
    (spec.threads, spec.until) = (2, requests(40));
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut running = start(spec).unwrap();
        let (mut answers, mut failures, mut report) = (0, 0, None);
        while let Some(event) = running.next_event().await {
            assert!(report.is_none(), "`Done` is the last");
            match event {
                Event::Sample(sample) => answers += sample.answers,
                Event::Failed { class, example, .. } => {
                    assert_eq!(
                        (class, &*example),
                        (Class::Non2xx, "an answer with status 500")
                    );
                    failures += 1;
                }
                Event::Done(done) => report = Some(done),
                Event::Warmed | _ => panic!("there is no warm-up"),
            }
        }
        check(&report.unwrap());
        assert_eq!((answers, failures, running.dropped_events()), (40, 40, 0));
        assert!(running.next_event().await.is_none());
    });
    drop((runtime, server));
    oracle.check();
}

#[test]
fn events_that_nobody_takes_are_dropped_and_counted() {
    let oracle = Oracle::start();
    let server = Server::start(|mut client| {
        while client.request() && client.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") {}
    });
    let mut spec = server.spec();
    spec.until = requests(2000);
    let mut running = start(spec).unwrap();
    let runtime = Builder::new_current_thread().build().unwrap();
    let events = runtime.block_on(async {
        // Nothing is taken before all is over.
        while running.dropped_events() < 2000 - 768 {
            tokio::task::yield_now().await;
        }
        let mut events = 0;
        while let Some(event) = running.next_event().await {
            events += u64::from(matches!(event, Event::Failed { .. }));
        }
        events
    });
    assert_eq!(events + running.dropped_events(), 2000);
    drop((running, runtime, server));
    oracle.check();
}

#[test]
fn it_can_be_stopped_and_tells_what_it_has() {
    let oracle = Oracle::start();
    let server = Server::good();
    let mut spec = server.spec();
    (spec.threads, spec.until) = (2, Until::Stopped);
    let running = start(spec).unwrap();
    while server.requests() < 100 {
        std::thread::yield_now();
    }
    let began = Instant::now();
    running.stop();
    let report = running.report_blocking();
    assert!(began.elapsed() < LONG);
    check(&report);
    assert!(
        report.answers >= 90 && report.unfinished <= 10,
        "{report:#?}"
    );
    drop(server);
    oracle.check();
}

#[test]
fn dropped_it_leaves_nothing() {
    let oracle = Oracle::start();
    let server = Server::good();
    let mut spec = server.spec();
    (spec.threads, spec.until) = (2, Until::Stopped);
    for _ in 0..5 {
        drop(start(spec.clone()).unwrap());
    }
    let running = start(spec).unwrap();
    while server.connections() < 10 {
        std::thread::yield_now();
    }
    drop(running);
    drop(server);
    oracle.check();
}

#[test]
fn the_warm_up_does_not_count() {
    let oracle = Oracle::start();
    let server = Server::good();
    let mut spec = server.spec();
    spec.warmup = Some(Warmup {
        connections: 3,
        lasts: Duration::from_millis(100),
    });
    spec.connections = 2;
    spec.most_per_connection = NonZeroU64::new(5);
    let runtime = Builder::new_current_thread().build().unwrap();
    let report = runtime.block_on(async {
        let mut running = start(spec).unwrap();
        let first = running.next_event().await;
        assert!(matches!(first, Some(Event::Warmed)), "{first:?}");
        running.report().await
    });
    check(&report);
    assert_eq!((report.answers, report.connected), (10, 2));
    assert!(report.duration < LONG);
    assert_eq!(server.connections(), 5);
    assert!(server.requests() > 10);
    drop((runtime, server));
    oracle.check();
}

#[test]
fn what_makes_no_sense_is_refused_by_its_name() {
    let oracle = Oracle::start();
    let good = Spec::new(target("127.0.0.1:9".parse().unwrap()));
    let with = |change: fn(&mut Spec)| {
        let mut spec = good.clone();
        change(&mut spec);
        start(spec).map(drop).unwrap_err().to_string()
    };
    assert_eq!(
        with(|spec| spec.targets.clear()),
        "a load with no `targets` is none"
    );
    assert_eq!(
        with(|spec| spec.requests.clear()),
        "a load with no `requests` is none"
    );
    assert_eq!(
        with(|spec| spec.connections = 0),
        "a load with no `connections` is none"
    );
    assert_eq!(
        with(|spec| spec.pipelining = 0),
        "a load with no `pipelining` is none"
    );
    assert_eq!(
        with(|spec| spec.threads = 0),
        "a load with no `threads` is none"
    );
    assert_eq!(
        with(|spec| spec.sample = Duration::ZERO),
        "a load with no `sample` is none"
    );
    assert_eq!(
        with(|spec| spec.rate = Rate::Overall(0.0)),
        "0 requests a second is no rate"
    );
    assert_eq!(
        with(|spec| spec.rate = Rate::PerConnection(f64::NAN)),
        "NaN requests a second is no rate"
    );
    assert_eq!(
        with(|spec| spec.requests[0].method = "G T".into()),
        "bad method \"G T\""
    );
    let unknown = Spec::new(Target::parse("http://nowhere.invalid/").unwrap());
    let error = start(unknown).unwrap_err();
    assert_eq!(error.to_string(), "failed to resolve `nowhere.invalid`");
    assert!(matches!(error, StartError::Unresolvable { .. }));
    let mut no_key = Spec::new(Target::parse("https://localhost:1/").unwrap());
    no_key.tls.cert = Some("/nowhere".into());
    let error = start(no_key).unwrap_err();
    assert!(
        matches!(error, StartError::Tls(TlsError::Half)),
        "{error:?}"
    );
    oracle.check();
}

#[test]
fn a_probe_connects_and_asks_nothing() {
    let oracle = Oracle::start();
    let server = Server::good();
    probe(&server.spec()).unwrap();
    let address = server.address;
    drop(server);
    let error = probe(&Spec::new(target(address))).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("nobody listens at http://{address}/")
    );
    assert!(matches!(error, ProbeError::Refused { .. }));
    let server = Server::start(|mut client| {
        client.send(b"no TLS");
    });
    let mut spec = server.spec();
    spec.targets[0].tls = true;
    let error = probe(&spec).unwrap_err();
    assert!(matches!(error, ProbeError::Tls { .. }), "{error:?}");
    drop(server);
    oracle.check();
}

/// A fast server on one's own machine: either the server or the client is at its limit.
#[test]
fn what_the_client_costs_is_told() {
    let oracle = Oracle::start();
    let server = Server::good();
    let mut spec = server.spec();
    spec.until = requests(2000);
    let report = run(spec);
    assert!(report.client.cpu > Duration::ZERO && report.client.cpu < LONG);
    // A machine that others use too may keep it waiting; nothing else is a limit here.
    for limit in report.client.limits {
        let (Limit::Cpu(share) | Limit::Starved(share)) = limit else {
            panic!("{limit:?}");
        };
        assert!(share > 0.0 && share < 1.1, "{share}");
    }
    drop(server);
    oracle.check();
}
