//! What makes no sense, and servers that are none: one clear error, a hint, a documented
//! code, and an end.

use std::net::TcpListener;

use procession_testkit::node;

use super::server::Server;
use super::stage::Stage;

const NUMBER: &str = "hint: `-c 100` has a hundred connections open\n";
const BOTH: &str = "hint: `procession bench --help` says what each is for\n";
const URL: &str =
    "hint: `http://127.0.0.1:8000/path`, `https://host`, `host:port`, `unix:./app.sock`\n";

/// Words and what is said, before its blank line and after it.
const REFUSED: &[(&[&str], &str, &str)] = &[
    (
        &[],
        "there is no URL to ask",
        "hint: `procession bench http://127.0.0.1:8000`, or `procession bench -- node server.js`\n",
    ),
    (
        &["ftp://host/"],
        "bad URL `ftp://host/`: unknown scheme `ftp`",
        URL,
    ),
    (&["http://"], "bad URL `http://`: it has no host", URL),
    (
        &["http://host:99999"],
        "bad URL `http://host:99999`: its port `99999` is not one of 1 to 65535",
        URL,
    ),
    (
        &["/only/a/path"],
        "`/only/a/path` is only a path, and the variable PORT is not set",
        "hint: `procession bench http://127.0.0.1:8000/path`, or a program after `--`\n",
    ),
    (&["-c", "0", "h"], "`-c 0` asks for nothing", NUMBER),
    (&["-c", "-1", "h"], "`-c -1` is no number", NUMBER),
    (&["-c", "many", "h"], "`-c many` is no number", NUMBER),
    (
        &["-d", "soon", "h"],
        "`-d soon` is no time",
        "hint: seconds, or numbers that end in ms, s, m, h or d: `10`, `500ms`, `1m 30s`\n",
    ),
    (
        &["-d", "0", "h"],
        "`-d 0` is no time at all",
        "hint: seconds, or numbers that end in ms, s, m, h or d: `10`, `500ms`, `1m 30s`\n",
    ),
    (
        &["-R", "0", "h"],
        "`0` is no rate",
        "hint: requests a second: `-R 1000` of all connections, `-r 50` of each\n",
    ),
    (
        &["-H", "nothing", "h"],
        "`-H` has neither `=` nor `:`",
        "hint: `-H content-type=text/plain`, `-H 'content-type: text/plain'`\n",
    ),
    (
        &["-W", "[", "-c", "0", "]", "h"],
        "`-c 0` asks for nothing",
        NUMBER,
    ),
    (
        &["-W", "[", "-x", "3", "]", "h"],
        "`-W [ -x 3 ]` is no warm-up",
        "hint: `-W [ -c 5 -d 3 ]`, or only a time: `-W 3s`\n",
    ),
    (
        &["--fail-on", "lost,crash", "h"],
        "`--fail-on lost,crash`: there is no class `crash`",
        "hint: any, lost, refused, unreachable, tls, reset, half, timeout, hung, malformed, non2xx, mismatch\n",
    ),
    (
        &["-b", "x", "-i", "body", "h"],
        "`-b` and `-i` contradict each other",
        BOTH,
    ),
    (
        &["-r", "1", "-R", "1", "h"],
        "`-r` and `-R` contradict each other",
        BOTH,
    ),
    (
        &["--close", "-p", "2", "h"],
        "`--close` and `-p` contradict each other",
        BOTH,
    ),
    (
        &["--har", "x", "-b", "y", "h"],
        "`--har` and `-b` contradict each other",
        BOTH,
    ),
    (
        &["--echo", "-H", "a=b", "h:1"],
        "`--echo` and `-H` contradict each other",
        BOTH,
    ),
    (
        &["--echo", "http://h:1"],
        "`http://h:1` is HTTP, and `--echo` or `tcp://` is not",
        "hint: `--echo tcp://127.0.0.1:7`\n",
    ),
    (
        &["-p", "20", "-a", "10", "h"],
        "`-p 20` is more requests in flight than `-a 10` makes",
        "hint: `-p 10`, or a larger `-a`\n",
    ),
    (
        &["--on-port", "h"],
        "`--on-port` has no program to start",
        "hint: it stands after `--`: `procession bench --on-port / -- node server.js`\n",
    ),
    (
        &["-i", "nothere", "h"],
        "cannot read `nothere`\n  cause: No such file or directory (os error 2)",
        "hint: is the path right?\n",
    ),
    (
        &["--ca", "nothere", "https://h"],
        "cannot read `nothere`\n  cause: No such file or directory (os error 2)",
        "hint: is the path right?\n",
    ),
    (
        &["--har", "nothere", "h"],
        "cannot read `nothere`\n  cause: No such file or directory (os error 2)",
        "hint: is the path right?\n",
    ),
    (
        &["--html", "no/folder/x.html", "h"],
        "cannot write `no/folder/x.html`\n  cause: No such file or directory (os error 2)",
        "hint: does its folder exist, and is it yours?\n",
    ),
    (
        &["--compare", "nothere", "nothere"],
        "cannot read `nothere`\n  cause: No such file or directory (os error 2)",
        "hint: `procession bench --json=FILE` writes one\n",
    ),
    (
        &["--cret", "x", "h"],
        "unexpected `--cret`",
        "hint: did you mean `--cert`?\n",
    ),
];

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_asked() {
    let stage = Stage::new(&[("body", "")]);
    for (words, message, hint) in REFUSED {
        let seen = stage.bench(words);
        let expected = format!("error: {message}\n\n{hint}");
        assert_eq!(
            (seen.code, seen.out.as_str(), seen.err),
            (Some(2), "", expected),
            "{words:?}"
        );
    }
    stage.end();
}

#[test]
fn what_cannot_be_compared_is_no_result() {
    let stage = Stage::new(&[("text", "no JSON"), ("other", "{\"a\": 1}")]);
    for (file, message) in [
        ("text", "error: there is no JSON in `text`\n"),
        ("other", "error: `other` is no result of a load: it lacks `"),
    ] {
        let seen = stage.bench(&["--compare", file, file]);
        assert_eq!((seen.code, seen.out.as_str()), (Some(2), ""));
        assert!(seen.err.starts_with(message), "{}", seen.err);
    }
    stage.end();
}

/// A port where nobody listens.
fn free() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn nobody_there_is_told_before_anything_is_asked() {
    let stage = Stage::new(&[]);
    let at = free();
    let (blunt, silent) = (Server::blunt(), Server::well());
    let tls = format!("https://{}", blunt.at());
    let late = format!("https://{}", silent.at());
    let no_tls = "hint: does it speak TLS there? `http://` asks without\n";
    let refused = format!("http://{at}");
    let cases: &[(&[&str], &str, &str)] = &[
        (
            &[&refused],
            &format!("error: nobody listens at http://{at}/\n"),
            "hint: does the server run, and is that its port? `-- node server.js` starts it\n",
        ),
        (
            &["http://nowhere.invalid"],
            "error: failed to resolve `nowhere.invalid`\n",
            "hint: is the name right?\n",
        ),
        (
            &["-S", "no.sock"],
            "error: nobody listens at unix:no.sock:/\n",
            "hint: does the server run, and is that its port? `-- node server.js` starts it\n",
        ),
        (
            &[&tls],
            &format!(
                "error: failed to agree on TLS with https://{}/\n",
                blunt.at()
            ),
            no_tls,
        ),
        (
            &["-t", "200ms", &late],
            &format!("error: failed to connect to https://{}/\n", silent.at()),
            no_tls,
        ),
    ];
    for (words, message, hint) in cases {
        let seen = stage.bench(words);
        assert_eq!((seen.code, seen.out.as_str()), (Some(9), ""), "{seen:?}");
        assert!(
            seen.err.starts_with(message) && seen.err.ends_with(hint),
            "{}",
            seen.err
        );
        assert!(seen.err.contains("\n  cause: "), "{}", seen.err);
    }
    drop((blunt, silent));
    stage.end();
}

/// A server that answers each request with this, and hangs up or not.
fn answers(bytes: Vec<u8>) -> Server {
    Server::new(move |_, _| Some(bytes.clone()))
}

#[test]
fn servers_that_are_none_end_it_with_a_clear_word() {
    let stage = Stage::new(&[]);
    let endless_head = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"A: b\r\n".repeat(20_000)].concat();
    let never_ends = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec();
    let cases: [(&str, Server, &str); 5] = [
        (
            "no HTTP",
            answers(b"220 mail ready\r\n".to_vec()),
            "malformed",
        ),
        ("endless headers", answers(endless_head), "malformed"),
        ("an answer that never ends", answers(never_ends), "timeout"),
        ("silence", answers(Vec::new()), "hung"),
        ("hanging up", Server::new(|_, _| None), "reset"),
    ];
    for (name, server, class) in cases {
        let url = server.url();
        let seen = stage.bench(&["-c", "2", "-t", "300ms", "-d", "1h", "-a", "6", &url]);
        assert_eq!(seen.code, Some(9), "{name}: {seen:?}");
        let message = format!("error: {url}/ answered nothing\n  cause: ");
        let at = seen
            .err
            .find(&message)
            .unwrap_or_else(|| panic!("{name}: {}", seen.err));
        let rest = &seen.err[at + message.len()..];
        let (count, rest) = rest.split_once(' ').unwrap();
        assert!(count.parse::<u64>().unwrap() > 0, "{name}: {}", seen.err);
        assert!(rest.starts_with(class), "{name}: {}", seen.err);
        assert!(rest.contains("\n\nhint: "), "{name}: {}", seen.err);
    }
    stage.end();
}

/// Otherwise `-a 1000000` with a silent server would take until next week.
#[test]
fn a_number_of_requests_is_given_up_when_nothing_is_ever_answered() {
    let stage = Stage::new(&[]);
    for (bytes, class) in [(&b""[..], "hung"), (b"no HTTP\r\n", "malformed")] {
        let server = answers(bytes.to_vec());
        let words = ["-a", "100000000", "-t", "100ms", "-L", "50"];
        let seen = stage.bench(&[&words[..], &[&server.url()]].concat());
        assert_eq!(seen.code, Some(9), "{seen:?}");
        assert!(seen.err.contains(&format!(" {class}, ")), "{}", seen.err);
    }
    stage.end();
}

#[test]
fn a_program_that_cannot_be_run_is_told() {
    let stage = Stage::new(&[("plain", "no program\n")]);
    for (program, code, hint) in [
        ("./nothere", 127, "is it on PATH, or the path right?"),
        (
            "./plain",
            126,
            "`chmod +x` makes it executable; `-- node server.js` names who runs it",
        ),
    ] {
        let seen = stage.bench(&["--", program]);
        assert_eq!(seen.code, Some(code), "{seen:?}");
        let message = format!("error: failed to start `{program}`: cannot run `{program}`\n");
        let hint = format!("\n\nhint: {hint}\n");
        assert!(
            seen.err.starts_with(&message) && seen.err.ends_with(&hint),
            "{}",
            seen.err
        );
    }
    stage.end();
}

/// Of `localhost`, signed by itself, from 2020 to 2120; the key is for nothing else.
const CERT: &str = include_str!("tls/cert.pem");
const KEY: &str = include_str!("tls/key.pem");

#[test]
fn plain_requests_to_a_port_with_tls_are_told_which_url_to_take() {
    let Some(_) = node::or_skip("procession bench with http:// at a TLS port") else {
        return;
    };
    let tls = "
        const { readFileSync: read } = require('fs');
        const options = { cert: read('cert.pem'), key: read('key.pem') };
        require('https').createServer(options, (q, s) => s.end('x')).listen(0, '127.0.0.1');
    ";
    let stage = Stage::new(&[("cert.pem", CERT), ("key.pem", KEY), ("tls.js", tls)]);
    let seen = stage.bench(&["-a", "4", "-c", "2", "--", "node", "tls.js"]);
    assert_eq!(seen.code, Some(9), "{seen:?}");
    assert!(
        seen.err
            .contains("\nhint: it speaks TLS: `https://localhost:"),
        "{}",
        seen.err
    );

    let seen = stage.bench(&["-a", "4", "-j", "https://localhost", "--", "node", "tls.js"]);
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert_eq!(seen.json()["2xx"], 4);
    let words = ["-a", "4", "-j", "--ca", "cert.pem", "https://localhost"];
    let seen = stage.bench(&[&words[..], &["--", "node", "tls.js"]].concat());
    assert_eq!(seen.code, Some(0), "{seen:?}");
    let words = [
        "-a",
        "4",
        "--ca",
        "cert.pem",
        "-s",
        "other.test",
        "https://localhost",
    ];
    let seen = stage.bench(&[&words[..], &["--", "node", "tls.js"]].concat());
    assert_eq!(seen.code, Some(9), "{seen:?}");
    assert!(
        seen.err.contains("error: failed to agree on TLS with "),
        "{}",
        seen.err
    );
    let hint = "\nhint: does it speak TLS there? without --ca no certificate is too bad\n";
    assert!(seen.err.ends_with(hint), "{}", seen.err);
    stage.end();
}
