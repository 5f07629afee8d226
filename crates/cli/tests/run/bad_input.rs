//! What makes no sense is one clear error, a hint, a documented code, and nothing left.

use std::os::unix::fs::PermissionsExt;

use procession_testkit::node;

use super::stage::{NOBODY, Stage, own_user, seen, taken};

const FILES: &[(&str, &str)] = &[
    ("never.js", "setInterval(() => {}, 1000);"),
    ("syntax.js", "const x = );\n"),
    ("forks.js", "require('cluster').fork();\n"),
    (
        "module.mjs",
        "import cluster from 'node:cluster';\ncluster.fork();\n",
    ),
    (
        "imports.mjs",
        "import { fork } from 'node:cluster';\nfork();\n",
    ),
    (
        "path.js",
        "require('http').createServer().listen(process.env.AT);\n",
    ),
    (
        "sets_up.js",
        "require('cluster').setupPrimary({ exec: 'worker.js' });\n",
    ),
    ("missing.js", "require('./nothing-there');\n"),
    ("throws.js", "throw new RangeError('too far');\n"),
    (
        "port.js",
        "require('http').createServer().listen(process.env.PORT, '127.0.0.1');\n",
    ),
    (
        "nowhere.js",
        "require('http').createServer().listen(8000, '203.0.113.7');\n",
    ),
    ("plain", "no program\n"),
    ("bad.env", "A=1\nnonsense\n"),
];

/// Words, the code, and what is said.
const REFUSED: &[(&[&str], i32, &str)] = &[
    (
        &["-i", "0", "never.js"],
        2,
        "error: `-i 0` asks for no worker\n\n\
             hint: `-i 2` for two, `-i max` for one on each CPU, `-i -1` for one less\n",
    ),
    (
        &["--balance", "rr", "never.js"],
        2,
        "error: unknown balancing policy `rr` (one of: auto, spread, least-busy, round-robin, \
             random-two, weighted=3,1, ip-hash, cookie=NAME, kernel)\n\n\
             hint: `--balance auto` serves most\n",
    ),
    (
        &["nothere.js"],
        127,
        "error: there is no `nothere.js`\n\nhint: it is looked for in `HOME`\n",
    ),
    (
        &["--interpreter", "python3", "nothere.py"],
        127,
        "error: there is no `nothere.py`\n\nhint: it is looked for in `HOME`\n",
    ),
    (
        &["./nothere"],
        127,
        "error: failed to start `./nothere`: cannot run `./nothere`\n  \
             cause: No such file or directory (os error 2)\n\nhint: is the path right?\n",
    ),
    (
        &["./plain"],
        126,
        "error: failed to start `./plain`: cannot run `./plain`\n  \
             cause: Permission denied (os error 13)\n\n\
             hint: `chmod +x` makes it executable; `--interpreter python3` names who runs it\n",
    ),
    (
        &["--interpreter", "/no/node", "never.js"],
        127,
        "error: failed to start `/no/node never.js`: cannot run `/no/node`\n  \
             cause: No such file or directory (os error 2)\n\n\
             hint: is what `--interpreter` names on PATH?\n",
    ),
    (
        &["--jsn", "never.js"],
        2,
        "error: unexpected `--jsn`\n\nhint: `procession run --help` shows what there is\n",
    ),
    (
        &["--cwd", "/no/folder", "never.js"],
        2,
        "error: `--cwd /no/folder` is no folder\n\nhint: is the path right?\n",
    ),
    (
        &["--env", "SECRET", "never.js"],
        2,
        "error: `--env SECRET` has no `=`\n\nhint: `--env NAME=VALUE`\n",
    ),
    (
        &["--env-file", "bad.env", "never.js"],
        2,
        "error: line 2 of `bad.env` is no variable\n\nhint: NAME=value\n",
    ),
    (
        &["--node-args", "--inspect", "./plain"],
        2,
        "error: `--node-args` is for JavaScript modules, and `./plain` is none\n\n\
             hint: their names end in js, mjs, cjs, ts, mts or cts\n",
    ),
    (
        &["--listen", "host:80", "./plain"],
        2,
        "error: `--listen host:80` is no address\n\n\
             hint: `--listen 127.0.0.1:8000`, `--listen 8000` for all interfaces, \
             `--listen ./app.sock`\n",
    ),
    (
        &["--listen", "0", "--ready", "message", "./plain"],
        2,
        "error: workers that get their sockets by `--listen` cannot say that they are ready\n\n\
             hint: `--ready started`, or a time that they must live: `--ready 2s`\n",
    ),
    (
        &["--listen", "0", "--balance", "ip-hash", "./plain"],
        2,
        "error: `--balance` is for programs that listen by themselves: with `--listen` the kernel \
             chooses\n\n\
             hint: leave one of the two out\n",
    ),
    (
        &["--kill-timeout", "soon", "never.js"],
        2,
        "error: `soon` is no time\n\n\
             hint: seconds, or a number that ends in ms, s or m: `8`, `500ms`, `1.5s`, `2m`\n",
    ),
    (
        &["--max-restarts", "0", "never.js"],
        2,
        "error: `--max-restarts 0` is no number of restarts\n\n\
             hint: `--no-restart` replaces nobody\n",
    ),
    (
        &["--status", "plain", "never.js"],
        2,
        "error: `--status plain`: that is no socket\n\nhint: name a file that is not there yet\n",
    ),
];

#[test]
fn what_cannot_be_meant_is_refused_before_anything_starts() {
    let stage = Stage::new(FILES);
    let home = stage.path("").display().to_string();
    let home = home.trim_end_matches('/');
    for (words, code, message) in REFUSED {
        let (ended, out, err) = stage.screen(&[&["run"], *words].concat());
        let err = err.replace(home, "HOME");
        assert_eq!(
            (ended, out.as_str(), &*err),
            (Some(*code), "", *message),
            "{words:?}"
        );
    }
    stage.end();
}

#[test]
fn without_node_it_is_said_where_that_is_looked_for() {
    let stage = Stage::new(FILES);
    let mut command = stage.command(&["run", "never.js"]);
    let outcome = command.env("PATH", "/nowhere").outcome_blocking().unwrap();
    let err = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(outcome.exit.code(), Some(127));
    let hint = "\nhint: Node is looked for on PATH; `--interpreter` names another\n";
    assert!(
        err.starts_with("error: failed to start `node never.js`") && err.ends_with(hint),
        "{err}"
    );
    stage.end();
}

/// The last words, and how many workers were started in all.
fn last_words(stage: &Stage, words: &[&str], code: i32) -> (String, usize) {
    let (ended, _, err) = stage.screen(&[&["run", "-i", "2"], words].concat());
    assert_eq!(ended, Some(code), "{err}");
    let at = err.find("error: ").unwrap();
    let words = err[at..].to_owned();
    // How long the last one lived differs.
    let words = words.lines().map(|line| match line.split_once(" after ") {
        Some((before, _)) if line.contains("the last one") => format!("{before} after T\n"),
        _ => format!("{line}\n"),
    });
    (words.collect(), err.matches(" started, pid").count())
}

#[test]
fn what_no_restart_heals_is_said_at_once() {
    let Some(_) = node::or_skip("broken programs under procession run") else {
        return;
    };
    let stage = Stage::new(FILES);
    let cases = [
        (
            "syntax.js",
            "SyntaxError: Unexpected token ')'",
            "`node --check syntax.js` shows the place",
        ),
        (
            "forks.js",
            "TypeError: require(...).fork is not a function",
            "it forks workers itself: run it with `node forks.js`, \
             or give `procession run` what its workers run",
        ),
        (
            "module.mjs",
            "TypeError: cluster.fork is not a function",
            "it forks workers itself: run it with `node module.mjs`, \
             or give `procession run` what its workers run",
        ),
        (
            "imports.mjs",
            "SyntaxError: The requested module 'node:cluster' does not provide an export named 'fork'",
            "it forks workers itself: run it with `node imports.mjs`, \
             or give `procession run` what its workers run",
        ),
        (
            "sets_up.js",
            "TypeError: require(...).setupPrimary is not a function",
            "it forks workers itself: run it with `node sets_up.js`, \
             or give `procession run` what its workers run",
        ),
        (
            "missing.js",
            "Error: Cannot find module './nothing-there'",
            "is it installed (`npm install`), and the path right?",
        ),
    ];
    for (program, cause, hint) in cases {
        let (words, starts) = last_words(&stage, &[program], 4);
        let expected = format!(
            "error: gave up on `{program}`: no worker was ever ready\n  \
             cause: the last one exited with code 1 after T\n  cause: {cause}\n\nhint: {hint}\n"
        );
        assert_eq!(words, expected);
        assert_eq!(starts, 2, "{program} was started again");
    }
    stage.end();
}

#[test]
fn a_program_that_dies_at_its_start_is_tried_some_times() {
    let Some(_) = node::or_skip("a program that dies at its start") else {
        return;
    };
    let stage = Stage::new(FILES);
    let (words, starts) = last_words(&stage, &["throws.js"], 4);
    assert_eq!(
        words,
        "error: gave up on `throws.js`: no worker was ever ready\n  \
         cause: the last one exited with code 1 after T\n  cause: RangeError: too far\n\n\
         hint: what it wrote is above; `procession run -i 1 --no-restart` runs it once\n"
    );
    assert!((3..=6).contains(&starts), "{starts} starts");
    let (words, starts) = last_words(&stage, &["--max-restarts", "1", "throws.js"], 4);
    assert!((3..=4).contains(&starts), "{starts} starts: {words}");
    stage.end();
}

#[test]
fn who_holds_the_port_is_named() {
    let Some(_) = node::or_skip("a taken port under procession run") else {
        return;
    };
    let stage = Stage::new(FILES);
    let (listener, port) = taken();
    let own = std::process::id();
    let program = std::env::current_exe().unwrap();
    let name = program.file_name().unwrap().display();
    let expected = format!(
        "error: cannot listen on 127.0.0.1:{port}: {name} (pid {own}) has it\n\n\
         hint: take another port, or end that one: `kill {own}`\n"
    );
    let set = format!("PORT={port}");
    let (words, starts) = last_words(&stage, &["--env", &set, "port.js"], 6);
    assert_eq!((words.as_str(), starts), (&*expected, 2));
    let at = format!("127.0.0.1:{port}");
    let (words, starts) = last_words(&stage, &["--listen", &at, "./plain"], 6);
    assert_eq!((words.as_str(), starts), (&*expected, 0));
    drop(listener);
    stage.end();
}

#[test]
fn where_we_may_not_listen_is_said() {
    let Some(_) = node::or_skip("an address that is not ours") else {
        return;
    };
    let stage = Stage::new(FILES);
    let (words, _) = last_words(&stage, &["nowhere.js"], 7);
    let expected = "error: cannot listen on 203.0.113.7:8000: this machine has no such address\n\n\
                    hint: `ip address` shows those that it has\n";
    assert_eq!(words, expected);
    stage.end();
}

#[test]
fn what_is_wrong_with_a_path_is_said() {
    let stage = Stage::new(FILES);
    let listener = std::os::unix::net::UnixListener::bind(stage.path("taken")).unwrap();
    let words = |stage: &Stage, at: &str, code: i32| {
        let (listened, _) = last_words(stage, &["--listen", at, "./plain"], code);
        if node::or_skip("a Node server at a path").is_some() {
            let set = format!("AT={at}");
            let (by_worker, _) = last_words(stage, &["--env", &set, "path.js"], code);
            assert_eq!(by_worker, listened);
        }
        listened
    };
    let there = "a file is there\n\nhint: if nobody listens at it (`ss -lxp`), remove it; \
                 else take another path\n";
    // Node names a path from the root on.
    let path = |name: &str| stage.path(name).display().to_string();
    for at in ["taken", "plain"].map(path) {
        let expected = format!("error: cannot listen on {at}: {there}");
        assert_eq!(words(&stage, &at, 6), expected);
        assert!(std::fs::exists(&at).unwrap(), "{at} was removed");
    }
    let at = path("no/folder");
    let expected = format!(
        "error: cannot listen on {at}: its folder is not there\n\n\
         hint: make the folder first, or take another path\n"
    );
    assert_eq!(words(&stage, &at, 7), expected);
    drop(listener);
    stage.end();
}

#[test]
fn a_folder_that_is_not_ours_is_said() {
    let stage = Stage::new(FILES);
    stage.open_to_all();
    std::fs::create_dir(stage.path("closed")).unwrap();
    std::fs::set_permissions(stage.path("closed"), PermissionsExt::from_mode(0o555)).unwrap();
    let (code, err) = without_rights(&stage, &["--listen", "closed/s", "./plain"]);
    let expected = "error: cannot listen on closed/s: no permission\n\n\
                    hint: who listens must be allowed to write to its folder\n";
    assert_eq!((code, &*err), (Some(7), expected));
    stage.end();
}

/// As root the ports below 1024 are ours: then as nobody.
#[test]
fn a_port_that_needs_rights_is_said() {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first.is_ok_and(|first| first.trim().parse::<u16>().unwrap() <= 80) {
        eprintln!("skipped: a port that needs rights: here 80 needs none");
        return;
    }
    let stage = Stage::new(FILES);
    stage.open_to_all();
    let words = ["--listen", "127.0.0.1:80", "./plain"];
    let (code, err) = without_rights(&stage, &words);
    assert_eq!((code, &*err), (Some(7), NO_PERMISSION));
    if node::or_skip("a Node server without the right to its port").is_some() {
        let words = ["-i", "2", "--env", "PORT=80", "port.js"];
        let (code, err) = without_rights(&stage, &words);
        assert_eq!(code, Some(7), "{err}");
        assert!(err.ends_with(NO_PERMISSION), "{err}");
    }
    stage.end();
}

const NO_PERMISSION: &str = "error: cannot listen on 127.0.0.1:80: no permission\n\n\
     hint: ports below 1024 need root or CAP_NET_BIND_SERVICE: take one above\n";

/// `procession run WORDS` by somebody who is not root.
fn without_rights(stage: &Stage, words: &[&str]) -> (Option<i32>, String) {
    let user = if own_user() == 0 { NOBODY } else { own_user() };
    let command = stage.command_by(user, &[&["run"], words].concat());
    let (code, _, err) = seen(&command.outcome_blocking().unwrap());
    (code, err)
}

/// Whose port it is, only root may know.
#[test]
fn a_port_of_another_user_is_taken_all_the_same() {
    let test = "a port of another user";
    if own_user() != 0 {
        eprintln!("skipped: {test}: only root can be another user");
        return;
    }
    let stage = Stage::new(FILES);
    stage.open_to_all();
    let (listener, port) = taken();
    let expected = format!(
        "error: cannot listen on 127.0.0.1:{port}: somebody else has it\n\n\
         hint: take another port; `ss -ltnp` as root names who has this one\n"
    );
    let at = format!("127.0.0.1:{port}");
    let (code, err) = without_rights(&stage, &["--listen", &at, "./plain"]);
    assert_eq!((code, &*err), (Some(6), &*expected));
    if node::or_skip(test).is_some() {
        let set = format!("PORT={port}");
        let (code, err) = without_rights(&stage, &["-i", "2", "--env", &set, "port.js"]);
        assert_eq!(code, Some(6), "{err}");
        assert!(err.ends_with(&expected), "{err}");
    }
    drop(listener);
    stage.end();
}

#[test]
fn a_program_that_never_listens_is_no_server() {
    let Some(_) = node::or_skip("a program that never listens") else {
        return;
    };
    let stage = Stage::new(FILES);
    let (words, _) = last_words(&stage, &["--ready-timeout", "1", "never.js"], 5);
    assert_eq!(
        words,
        "error: no worker of `never.js` listened within 1 s\n\n\
         hint: `--ready started` runs what does not listen; a program of another language \
         gets its socket by `--listen 127.0.0.1:8000`\n"
    );
    let ready = [
        "--ready",
        "message=up",
        "--ready-timeout",
        "700ms",
        "never.js",
    ];
    let (words, _) = last_words(&stage, &ready, 5);
    assert!(
        words.starts_with("error: no worker of `never.js` sent the message `up` within 0.7 s\n")
    );
    stage.end();
}
