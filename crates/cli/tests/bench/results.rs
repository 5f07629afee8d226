//! What is found is what was there, and said where it was asked for.

use procession_testkit::wait;

use super::server::{Server, answer, ok};
use super::stage::Stage;

#[test]
fn the_counts_are_those_of_the_server() {
    let stage = Stage::new(&[]);
    let server = Server::well();
    let seen = stage.bench(&[
        "-a",
        "500",
        "-c",
        "4",
        "-p",
        "3",
        "-w",
        "2",
        "-j",
        &server.url(),
    ]);
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert_eq!(seen.err, "", "JSON goes alone");
    let json = seen.json();
    assert_eq!(json["2xx"], 500);
    assert_eq!(json["requests"]["sent"], server.requests());
    assert_eq!(json["errors"], 0);
    assert_eq!(
        (&json["connections"], &json["pipelining"], &json["workers"]),
        (&4.into(), &3.into(), &2.into())
    );
    drop(server);
    stage.end();
}

#[test]
fn tables_go_to_standard_output_and_files_beside_them() {
    let stage = Stage::new(&[]);
    let server = Server::new(|number, _| {
        Some(if number % 2 == 0 {
            answer(500, "x")
        } else {
            ok("x")
        })
    });
    let words = [
        "-a",
        "20",
        "-c",
        "1",
        "-l",
        "--renderStatusCodes",
        "-T",
        "a title",
        "--json=r.json",
        "--html",
        "r.html",
    ];
    let seen = stage.bench(&[&words[..], &[&server.url()]].concat());
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert!(
        seen.err
            .starts_with("Running 20 requests test @ http://127.0.0.1:"),
        "{}",
        seen.err
    );
    for part in [
        "Latency",
        "99.999",
        "500",
        "10 2xx responses, 10 non 2xx responses",
        "20 answers, 0 lost",
    ] {
        assert!(seen.out.contains(part), "{part}: {}", seen.out);
    }
    let json: serde_json::Value = serde_json::from_str(&stage.text("r.json")).unwrap();
    assert_eq!(
        (&json["title"], &json["non2xx"]),
        (&"a title".into(), &10.into())
    );
    assert!(stage.text("r.html").starts_with("<!doctype html>"));

    let same = stage.bench(&["--compare", "r.json", "r.json"]);
    assert_eq!((same.code, same.err.as_str()), (Some(0), ""));
    assert!(
        same.out.contains("Req/Sec") || same.out.contains("equests"),
        "{}",
        same.out
    );
    drop(server);
    stage.end();
}

#[test]
fn what_fail_on_names_is_an_exit_code() {
    let stage = Stage::new(&[]);
    // The third request has no answer, the fifth a bad one.
    let server = || {
        Server::new(|number, _| match number {
            3 => None,
            5 => Some(answer(503, "")),
            _ => Some(ok("")),
        })
    };
    for (fail_on, code, causes) in [
        ("hung,half", 0, &[][..]),
        ("lost", 8, &["1 reset"]),
        ("non2xx", 8, &["1 non2xx"]),
        ("any", 8, &["1 reset", "1 non2xx"]),
    ] {
        let server = server();
        let seen = stage.bench(&["-a", "9", "-c", "1", "--fail-on", fail_on, &server.url()]);
        assert_eq!(seen.code, Some(code), "{fail_on}: {seen:?}");
        assert!(seen.out.contains("1 lost"), "{}", seen.out);
        for cause in causes {
            assert!(
                seen.err.contains(&format!("\n  cause: {cause}, after ")),
                "{}",
                seen.err
            );
        }
    }
    stage.end();
}

#[test]
fn what_was_asked_for_is_what_is_asked() {
    let form = r#"{"a": {"type": "text", "value": "b"}}"#;
    let stage = Stage::new(&[("body", "from a file")]);
    let asked = |words: &[&str]| {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let server = Server::new(move |_, request| {
            tell.send(request.to_owned()).unwrap();
            Some(ok(""))
        });
        let url = format!("{}/p?q", server.url());
        let seen = stage.bench(&[&["-a", "1", "-j"], words, &[&url]].concat());
        assert_eq!(seen.code, Some(0), "{seen:?}");
        told.recv_timeout(wait::LIMIT).unwrap()
    };
    let request = asked(&[
        "-m",
        "PUT",
        "-i",
        "body",
        "-H",
        "X-One=1",
        "-H",
        "host: else",
    ]);
    assert!(request.starts_with("PUT /p?q HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nX-One: 1\r\n"), "{request}");
    assert!(
        request.to_lowercase().contains("\r\nhost: else\r\n"),
        "{request}"
    );
    assert!(request.ends_with("\r\n\r\nfrom a file"), "{request}");
    let request = asked(&["-F", form]);
    assert!(request.starts_with("POST /p?q HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("name=\"a\"\r\n\r\nb\r\n--"), "{request}");
    let request = asked(&["-b", "id=[<id>]", "-I", "--close"]);
    assert!(
        !request.contains("[<id>]") && request.contains("\r\n\r\nid="),
        "{request}"
    );
    assert!(
        request.to_lowercase().contains("\r\nconnection: close\r\n"),
        "{request}"
    );
    stage.end();
}

#[test]
fn other_bodies_than_the_right_one_and_pids_are_counted() {
    let stage = Stage::new(&[]);
    let server = Server::new(|number, _| Some(ok(if number % 4 == 0 { "7" } else { "8" })));
    let url = server.url();
    let seen = stage.bench(&["-a", "40", "-c", "1", "-E", "8", "--watch-pids", &url]);
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert!(
        seen.out.contains("10 requests with mismatched body"),
        "{}",
        seen.out
    );
    assert!(seen.out.contains("Answers by process"), "{}", seen.out);
    let seen = stage.bench(&["-a", "40", "-B", "3", "-c", "1", "-E", "9", "-j", &url]);
    assert_eq!(seen.json()["mismatches"], 3, "it bails out");
    drop(server);
    stage.end();
}

#[test]
fn a_path_and_the_variable_port_are_a_url() {
    let stage = Stage::new(&[]);
    let server = Server::well();
    let mut command = stage.command(&["bench", "-a", "3", "-j", "/path"]);
    command.env("PORT", server.at().port().to_string());
    let seen = stage.see(&command);
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert_eq!(server.requests(), 3);
    drop(server);
    stage.end();
}

#[test]
fn a_warm_up_does_not_count() {
    let stage = Stage::new(&[]);
    let server = Server::well();
    let words = [
        "-W", "[", "-c", "2", "-d", "100ms", "]", "-a", "30", "-c", "3", "-j",
    ];
    let seen = stage.bench(&[&words[..], &[&server.url()]].concat());
    let json = seen.json();
    assert_eq!(json["2xx"], 30);
    assert!(server.requests() > 30, "{}", server.requests());
    // One is the look before it.
    assert_eq!(server.connections(), 1 + 2 + 3);
    drop(server);
    stage.end();
}

#[test]
fn failures_are_written_as_they_happen_if_asked_for() {
    let stage = Stage::new(&[]);
    let server = Server::new(|number, _| (number != 2).then(|| ok("")));
    let seen = stage.bench(&["-a", "4", "-c", "1", "--debug", &server.url()]);
    let told = seen.err.lines().filter(|line| line.contains(" s  reset: "));
    assert_eq!(told.count(), 1, "{}", seen.err);
    drop(server);
    stage.end();
}

#[test]
fn several_urls_and_bytes_that_come_back() {
    let stage = Stage::new(&[]);
    let (one, other) = (Server::well(), Server::well());
    let seen = stage.bench(&["-a", "40", "-c", "4", "-j", &one.url(), &other.url()]);
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert!(one.requests() > 0 && other.requests() > 0);
    assert_eq!(one.requests() + other.requests(), 40);
    drop((one, other));

    let echo = Server::echo();
    let url = format!("tcp://{}", echo.at());
    let seen = stage.bench(&["-a", "40", "-b", "bytes", "-j", &url]);
    assert_eq!(
        (seen.code, &seen.json()["errors"]),
        (Some(0), &0.into()),
        "{seen:?}"
    );
    assert_eq!(echo.requests(), 40);
    drop(echo);
    stage.end();
}

#[test]
fn it_says_the_version_as_autocannon_is_asked_for_it() {
    let stage = Stage::new(&[]);
    let seen = stage.bench(&["-v"]);
    let version = format!("procession {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((seen.code, seen.out), (Some(0), version));
    stage.end();
}
