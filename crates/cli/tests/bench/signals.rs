//! Ctrl-C, once and twice.

use procession::child_process::Signal;
use procession_testkit::{node, wait};

use super::server::Server;
use super::stage::Stage;

#[test]
fn ctrl_c_ends_it_with_the_report() {
    let stage = Stage::new(&[]);
    let server = Server::well();
    let url = server.url();
    for words in [&["-d", "1h"][..], &["-f", "-d", "1h"]] {
        let asked = server.requests();
        let running = stage.start(&[&["bench"], words, &[&url]].concat());
        wait::until("requests", || {
            (server.requests() > asked + 10).then_some(())
        });
        running.signal(Signal::INT);
        let seen = running.wait();
        assert_eq!(seen.code, Some(0), "{seen:?}");
        assert!(seen.out.contains(" answers, 0 lost"), "{}", seen.out);
    }
    drop(server);
    stage.end();
}

#[test]
fn forever_is_again_and_again() {
    let stage = Stage::new(&[]);
    let server = Server::well();
    let running = stage.start(&["bench", "-f", "-a", "5", &server.url()]);
    wait::until("the third", || {
        (stage.text("bench.out").matches("5 answers, 0 lost").count() >= 3).then_some(())
    });
    running.signal(Signal::TERM);
    let seen = running.wait();
    assert_eq!(seen.code, Some(0), "{seen:?}");
    drop(server);
    stage.end();
}

/// A program that does not want to end holds up one Ctrl-C, and not two.
#[test]
fn ctrl_c_once_more_ends_it_at_once() {
    let Some(_) = node::or_skip("two interrupts of procession bench") else {
        return;
    };
    let stubborn = "
        let asked = 0;
        process.on('SIGTERM', () => console.error('never'));
        require('http').createServer((q, s) => {
            if (++asked === 50) console.error('asked');
            s.end('x');
        }).listen(0, '127.0.0.1');
    ";
    let stage = Stage::new(&[("stubborn.js", stubborn)]);
    let running = stage.start(&["bench", "-d", "1h", "--", "node", "stubborn.js"]);
    running.said("asked");
    running.signal(Signal::INT);
    running.said("never");
    let start = std::time::Instant::now();
    // What comes within a moment of the first is the same request.
    wait::until("the end", || {
        running.signal(Signal::INT);
        (!running.runs()).then_some(())
    });
    assert!(
        start.elapsed() < std::time::Duration::from_secs(4),
        "it waited"
    );
    let seen = running.wait();
    assert!(seen.out.contains(" lost"), "the report was there: {seen:?}");
    stage.end();
}

#[test]
fn a_server_that_is_waited_for_does_not_hold_up_ctrl_c() {
    let Some(_) = node::or_skip("an interrupt before a server listens") else {
        return;
    };
    let never = "console.error('up'); setInterval(() => {}, 1000);";
    let stage = Stage::new(&[("never.js", never)]);
    let running = stage.start(&["bench", "--", "node", "never.js"]);
    running.said("up");
    running.signal(Signal::INT);
    let seen = running.wait();
    assert_eq!(seen.code, Some(130), "{seen:?}");
    assert_eq!(seen.out, "");
    stage.end();
}
