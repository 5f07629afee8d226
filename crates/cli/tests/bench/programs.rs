//! A program after `--`: started, loaded at the port that it opens, and ended.

use procession_testkit::node;

use super::stage::{HELLO, Stage};

#[test]
fn the_port_that_a_program_opens_is_loaded_and_the_program_ended() {
    let Some(_) = node::or_skip("procession bench -- node") else {
        return;
    };
    // The server is a grandchild, and nobody says where it listens.
    let parent = "require('child_process').fork('./hello.js'); console.log('parent'); setInterval(() => {}, 1000);";
    let stage = Stage::new(&[("hello.js", HELLO), ("parent.js", parent)]);
    for words in [
        &["--on-port", "/x", "--", "node", "hello.js"][..],
        &["--", "node", "parent.js"],
        &["http://localhost", "--", "sh", "-c", "node hello.js & wait"],
    ] {
        let seen = stage.bench(&[&["-a", "50", "-j", "--watch-pids"], words].concat());
        assert_eq!(seen.code, Some(0), "{seen:?}");
        assert_eq!(seen.json()["2xx"], 50);
    }
    let seen = stage.bench(&["-a", "5", "-j", "--", "node", "parent.js"]);
    assert!(
        seen.err.contains("parent\n"),
        "what it writes goes to standard error: {seen:?}"
    );
    // Ends with nobody left.
    stage.end();
}

#[test]
fn a_program_at_a_unix_socket_is_loaded() {
    let Some(_) = node::or_skip("procession bench -S -- node") else {
        return;
    };
    let unix = "require('http').createServer((q, s) => s.end(q.headers.host)).listen('app.sock');";
    let stage = Stage::new(&[("unix.js", unix)]);
    let words = ["-S", "app.sock", "-E", "localhost", "-a", "9", "-j"];
    let seen = stage.bench(&[&words[..], &["--", "node", "unix.js"]].concat());
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert_eq!(
        (&seen.json()["2xx"], &seen.json()["mismatches"]),
        (&9.into(), &0.into())
    );
    stage.end();
}

#[test]
fn a_program_that_ends_is_named() {
    let Some(_) = node::or_skip("procession bench -- a program that ends") else {
        return;
    };
    let dies = "
        let left = 20;
        require('http').createServer((q, s) => {
            s.end('x', () => { if (--left === 0) process.exit(7); });
        }).listen(0, '127.0.0.1');
    ";
    let stage = Stage::new(&[("fails.js", "process.exit(3);"), ("dies.js", dies)]);
    let seen = stage.bench(&["--", "node", "fails.js"]);
    assert_eq!(seen.code, Some(5), "{seen:?}");
    assert_eq!(
        seen.err,
        "error: `node fails.js` ended before it listened on a port\n  \
         cause: it exited with code 3\n\n\
         hint: what it wrote is above; does it run without `procession bench`?\n"
    );
    let seen = stage.bench(&["-c", "1", "-d", "1h", "--", "node", "dies.js"]);
    assert_eq!(seen.code, Some(1), "{seen:?}");
    assert!(
        seen.err.ends_with(
            "error: `node dies.js` ended while it was loaded\n  \
             cause: it exited with code 7\n\nhint: what it wrote is above\n"
        ),
        "{}",
        seen.err
    );
    assert!(
        seen.out.contains(" lost"),
        "the report is told first: {}",
        seen.out
    );
    stage.end();
}
