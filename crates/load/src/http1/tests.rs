//! Answers as servers gave them, whole and cut in every way.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// Node 20: `response.end(text)`.
const NODE: &str = "HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 14:22:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 15\r\n\r\nHello from 4242";
/// Node 20: `response.write(…)`, `response.end(…)`.
const NODE_CHUNKED: &str = "HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 14:22:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\na\r\nworld 4711\r\n0\r\n\r\n";
/// Node 20: `response.addTrailers(…)`.
const NODE_TRAILERS: &str = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nDate: Fri, 27 Nov 2026 14:22:01 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n";
/// Node 20, asked by `HEAD`.
const NODE_HEAD: &str = "HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 14:22:01 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n";
const NODE_204: &str = "HTTP/1.1 204 No Content\r\nDate: Fri, 27 Nov 2026 14:22:01 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n";
const NODE_304: &str = "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nDate: Fri, 27 Nov 2026 14:22:02 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n";
/// Node 20: `response.writeEarlyHints(…)`.
const NODE_HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 14:22:02 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 4\r\n\r\nlate";
/// Node 20, asked with `Connection: close`.
const NODE_CLOSE: &str = "HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 14:22:02 GMT\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\na\r\nworld 4711\r\n0\r\n\r\n";
/// Node 20, asked by HTTP/1.0: ends with the connection.
const NODE_10: &str = "HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 14:22:02 GMT\r\nConnection: close\r\n\r\nhello world 4711";
/// Node 20, asked nonsense: ends with the connection, and is empty.
const NODE_400: &str = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
/// Express 4: `response.json({ pid })`.
const EXPRESS: &str = "HTTP/1.1 200 OK\r\nX-Powered-By: Express\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 12\r\nETag: W/\"c-GkjNNSw/9hxZPcPITEZkM0/VU9M\"\r\nDate: Fri, 27 Nov 2026 14:22:03 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n{\"pid\":1234}";
/// Python 3.11: `http.server`, which speaks HTTP/1.0.
const PYTHON: &str = "HTTP/1.0 404 File not found\r\nServer: SimpleHTTP/0.6 Python/3.11.7\r\nDate: Fri, 27 Nov 2026 14:22:04 GMT\r\nConnection: close\r\nContent-Type: text/html;charset=utf-8\r\nContent-Length: 26\r\n\r\n<p>Error code: 404</p>\n   ";
/// As nginx writes it.
const NGINX: &str = "HTTP/1.1 502 Bad Gateway\r\nServer: nginx/1.22.1\r\nDate: Fri, 27 Nov 2026 14:22:04 GMT\r\nContent-Type: text/html\r\nContent-Length: 7\r\nConnection: keep-alive\r\n\r\n<html>\n";

/// How a stream of answers ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// Between two answers.
    Clean,
    /// Within one.
    Within,
    Malformed(Malformed),
}

/// Reads pieces as they are, and then the end.
fn read(
    options: &Arc<ReadOptions>,
    pieces: impl IntoIterator<Item: AsRef<[u8]>>,
    head: bool,
) -> (Vec<Answer>, End) {
    let mut reader = Reader::new(Arc::clone(options));
    let mut answers = Vec::new();
    for piece in pieces {
        let mut piece = piece.as_ref();
        while !piece.is_empty() {
            match reader.read(piece, Expect { head }) {
                Err(Malformed::NoHttp(_)) => {
                    // How much of it is shown depends on the cut.
                    return (answers, End::Malformed(Malformed::NoHttp(String::new())));
                }
                Err(malformed) => return (answers, End::Malformed(malformed)),
                Ok((taken, answer)) => {
                    assert!(taken > 0, "it makes no progress");
                    assert!(answer.is_some() || taken == piece.len());
                    assert!(reader.kept() <= 64 * 1024);
                    piece = &piece[taken..];
                    answers.extend(answer);
                }
            }
        }
    }
    let within = reader.is_within();
    match reader.end() {
        Some(answer) => answers.push(answer),
        None if within => return (answers, End::Within),
        None => {}
    }
    assert!(!reader.is_within());
    (answers, End::Clean)
}

fn whole(bytes: &[u8]) -> (Vec<Answer>, End) {
    read(&pids(), [bytes], false)
}

fn pids() -> Arc<ReadOptions> {
    Arc::new(ReadOptions {
        expect_body: None,
        watch_pids: true,
    })
}

fn expecting(body: &'static str) -> Arc<ReadOptions> {
    Arc::new(ReadOptions {
        expect_body: Some(body.into()),
        watch_pids: false,
    })
}

fn answer(status: u16, keep_alive: bool, pid: Option<u32>, bytes: usize) -> Answer {
    Answer {
        status,
        keep_alive,
        pid,
        matches: true,
        bytes: bytes as u64,
    }
}

/// The error that these bytes end in.
fn malformed(bytes: &[u8]) -> Malformed {
    let end = whole(bytes);
    assert!(
        matches!(&end, (answers, End::Malformed(_)) if answers.is_empty()),
        "{end:?}"
    );
    Reader::new(pids())
        .read(bytes, Expect::default())
        .unwrap_err()
}

#[test]
fn recorded_answers_are_read() {
    for (bytes, status, keep_alive, pid) in [
        (NODE, 200, true, Some(4242)),
        (NODE_CHUNKED, 200, true, Some(4711)),
        (NODE_TRAILERS, 200, true, None),
        (NODE_204, 204, true, None),
        (NODE_304, 304, true, None),
        (NODE_HINTS, 200, true, None),
        (NODE_CLOSE, 200, false, Some(4711)),
        (NODE_10, 200, false, Some(4711)),
        (NODE_400, 400, false, None),
        (EXPRESS, 200, true, Some(1234)),
        (PYTHON, 404, false, Some(404)),
        (NGINX, 502, true, None),
    ] {
        let expected = answer(status, keep_alive, pid, bytes.len());
        assert_eq!(
            whole(bytes.as_bytes()),
            (vec![expected], End::Clean),
            "{bytes}"
        );
    }
    let head = read(&pids(), [NODE_HEAD.as_bytes()], true);
    assert_eq!(
        head,
        (vec![answer(200, true, None, NODE_HEAD.len())], End::Clean)
    );
}

#[test]
fn an_answer_to_head_has_no_body_whatever_it_says() {
    for bytes in [NODE, NODE_CHUNKED] {
        let head = &bytes[..bytes.find("\r\n\r\n").unwrap() + 4];
        let (answers, end) = read(&expecting("x"), [head.as_bytes()], true);
        // There is nothing to compare.
        assert_eq!(
            (answers, end),
            (vec![answer(200, true, None, head.len())], End::Clean)
        );
    }
}

#[test]
fn answers_in_a_row_are_taken_one_by_one() {
    let mut reader = Reader::new(pids());
    let row = [NODE, NODE_CHUNKED, EXPRESS].concat();
    let mut rest = row.as_bytes();
    for (one, pid) in [(NODE, 4242), (NODE_CHUNKED, 4711), (EXPRESS, 1234)] {
        let (taken, read) = reader.read(rest, Expect::default()).unwrap();
        assert_eq!(
            (taken, read),
            (one.len(), Some(answer(200, true, Some(pid), taken)))
        );
        rest = &rest[taken..];
    }
    assert!(rest.is_empty() && !reader.is_within());
}

#[test]
fn keep_alive_is_what_version_and_header_say() {
    for (head, keep_alive) in [
        ("HTTP/1.1 200 OK\r\n", true),
        ("HTTP/1.1 200\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: Close\r\n", false),
        (
            "HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\n",
            false,
        ),
        ("HTTP/1.0 200 OK\r\n", false),
        ("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\n", true),
        (
            "HTTP/1.0 200 OK\r\nConnection: upgrade, keep-alive\r\n",
            true,
        ),
    ] {
        let bytes = format!("{head}Content-Length: 0\r\n\r\n");
        let expected = answer(200, keep_alive, None, bytes.len());
        assert_eq!(
            whole(bytes.as_bytes()),
            (vec![expected], End::Clean),
            "{head}"
        );
    }
    // Without a length the connection is used up, whatever it says.
    let (answers, _) = whole(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nx");
    assert!(!answers[0].keep_alive);
}

#[test]
fn interim_answers_are_skipped_and_101_is_the_last() {
    let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        whole(bytes),
        (vec![answer(201, true, None, bytes.len())], End::Clean)
    );
    let mut reader = Reader::new(pids());
    let bytes = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\nabc";
    let (taken, switched) = reader.read(bytes, Expect::default()).unwrap();
    assert_eq!(taken, bytes.len() - 3);
    assert_eq!(switched, Some(answer(101, false, None, taken)));
    // An interim answer is no part of the answer yet.
    let mut reader = Reader::new(pids());
    let (_, none) = reader
        .read(b"HTTP/1.1 100 Continue\r\n\r\n", Expect::default())
        .unwrap();
    assert!(none.is_none() && !reader.is_within());
}

#[test]
fn a_connection_that_ends_within_an_answer_leaves_none() {
    for bytes in [NODE, NODE_CHUNKED, NODE_TRAILERS, NODE_204, EXPRESS] {
        for end in 1..bytes.len() {
            let (answers, end) = whole(&bytes.as_bytes()[..end]);
            assert_eq!((answers, end), (Vec::new(), End::Within));
        }
    }
}

#[test]
fn a_head_that_is_like_the_last_one_is_not_taken_for_it() {
    let empty = NODE.replace("Length: 15\r\n\r\nHello from 4242", "Length: 0\r\n\r\n");
    let longer = NODE.replace("15\r\n\r\n", "15\r\nConnection: close\r\n\r\n");
    let other = NODE.replace("200 OK", "201 OK");
    let row = [NODE, NODE, &empty, NODE, &other, NODE, &longer];
    let (answers, end) = whole(row.concat().as_bytes());
    assert_eq!(end, End::Clean);
    for (answer, bytes) in answers.iter().zip(row) {
        let (alone, _) = whole(bytes.as_bytes());
        assert_eq!(alone, [*answer]);
    }
    assert_eq!(answers.len(), row.len());
}

#[test]
fn newlines_between_answers_are_skipped() {
    let bytes = [NODE, "\r\n", NODE, "\n\r\n"].concat();
    let (answers, end) = whole(bytes.as_bytes());
    assert_eq!((answers.len(), end), (2, End::Clean));
    assert_eq!(answers[1].bytes, NODE.len() as u64 + 2);
}

#[test]
fn the_body_is_compared_as_a_whole() {
    for (body, matches) in [
        ("Hello from 4242", true),
        ("Hello from 424", false),
        ("Hello from 42421", false),
        ("Hallo from 4242", false),
        ("", false),
    ] {
        for size in [1, 7, NODE.len()] {
            let (answers, _) = read(&expecting(body), NODE.as_bytes().chunks(size), false);
            assert_eq!(answers[0].matches, matches, "{body}");
        }
    }
    let (answers, _) = read(
        &expecting("hello world 4711"),
        [NODE_CHUNKED.as_bytes()],
        false,
    );
    assert!(answers[0].matches);
    let (answers, _) = read(&expecting(""), [NODE_204.as_bytes()], false);
    assert!(answers[0].matches);
    let (answers, _) = read(&expecting("x"), [NODE_204.as_bytes()], false);
    assert!(!answers[0].matches);
}

#[test]
fn the_pid_is_the_first_number_near_the_start() {
    let far = |zeros: usize, digits: &str| format!("{}{digits}", " ".repeat(zeros));
    for (body, pid) in [
        ("7".to_owned(), Some(7)),
        ("worker 12 of 4".into(), Some(12)),
        ("4294967295,".into(), Some(u32::MAX)),
        ("4294967296 1".into(), None),
        ("none".into(), None),
        (far(4090, "123456"), Some(123_456)),
        (far(4090, "123456 "), Some(123_456)),
        (far(4090, "1234567"), None),
        (far(4096, "1"), None),
    ] {
        let bytes = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        for size in [1, 4096, bytes.len()] {
            let (answers, _) = read(&pids(), bytes.as_bytes().chunks(size), false);
            assert_eq!(answers[0].pid, pid, "{}", body.trim());
        }
    }
    // Nobody asked for it.
    assert_eq!(
        read(&expecting("x"), [NODE.as_bytes()], false).0[0].pid,
        None
    );
}

#[test]
fn chunks_may_have_extensions_and_any_case() {
    let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n00A;a=\"b\"\r\n0123456789\r\n1 \r\nx\r\n000;z\r\nA: b\r\nC: d\r\n\r\n";
    let (answers, end) = read(&expecting("0123456789x"), [&bytes[..]], false);
    assert_eq!(
        (answers, end),
        (vec![answer(200, true, None, bytes.len())], End::Clean)
    );
    // Another coding than chunked ends with the connection.
    let (answers, _) = read(
        &expecting("0"),
        [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n0"[..]],
        false,
    );
    assert!(answers[0].matches && !answers[0].keep_alive);
}

#[test]
fn what_is_no_http_is_malformed() {
    assert_eq!(
        malformed(b"SSH-2.0-OpenSSH_9.2\r\n").to_string(),
        "no HTTP: `SSH-2.0-OpenSSH_9.2`"
    );
    assert_eq!(
        malformed(b"\x16\x03\x01").to_string(),
        "no HTTP: `\\x16\\x03\\x01`"
    );
    assert_eq!(
        malformed(b"HTTP/2 200\r\n\r\n").to_string(),
        "no HTTP: `HTTP/2 200`"
    );
    for head in [
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ] {
        assert!(
            matches!(malformed(head.as_bytes()), Malformed::Head(_)),
            "{head}"
        );
    }
    for status in ["000", "099"] {
        let head = format!("HTTP/1.1 {status} Odd\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(
            malformed(head.as_bytes()),
            Malformed::Head(httparse::Error::Status)
        );
    }
}

#[test]
fn a_content_length_that_contradicts_itself_is_malformed() {
    for lengths in [
        "1\r\nContent-Length: 2",
        "1, 2",
        "",
        "+1",
        "-1",
        "0x1",
        "1 1",
        "18446744073709551616",
        "1\r\nTransfer-Encoding: chunked",
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {lengths}\r\n\r\nxx");
        assert_eq!(
            malformed(bytes.as_bytes()),
            Malformed::ContentLength,
            "{lengths}"
        );
    }
    for lengths in ["1\r\nContent-Length: 1", "1, 1", "01"] {
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {lengths}\r\n\r\nx");
        assert_eq!(whole(bytes.as_bytes()).1, End::Clean, "{lengths}");
    }
}

#[test]
fn bad_chunks_are_malformed() {
    for body in [
        "\r\n",
        "x\r\n",
        "1\rx",
        "1\r\nab",
        "1\r\na\rb",
        "10000000000000000\r\n",
        "-1\r\n",
        "0\r\n\rx",
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(malformed(bytes.as_bytes()), Malformed::Chunk, "{body:?}");
    }
}

#[test]
fn endless_headers_are_malformed() {
    let many = |count| format!("HTTP/1.1 204 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert_eq!(whole(many(128).as_bytes()).1, End::Clean);
    assert_eq!(malformed(many(129).as_bytes()), Malformed::EndlessHeaders);
    let long = |count| format!("HTTP/1.1 204 OK\r\na: {}\r\n\r\n", "b".repeat(count));
    let most = 64 * 1024 - long(0).len();
    assert_eq!(whole(long(most).as_bytes()).1, End::Clean);
    assert_eq!(
        malformed(long(most + 1).as_bytes()),
        Malformed::EndlessHeaders
    );
    // Without an end at all, however it comes.
    let endless = long(1_000_000).into_bytes();
    for size in [1000, 65_536, endless.len()] {
        let end = read(&pids(), endless.chunks(size), false);
        assert_eq!(end, (Vec::new(), End::Malformed(Malformed::EndlessHeaders)));
    }
    let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for endless in [
        "0\r\n".to_owned() + &"a: b\r\n".repeat(20_000),
        "1;".to_owned() + &"a".repeat(70_000),
    ] {
        assert_eq!(
            malformed((start.to_owned() + &endless).as_bytes()),
            Malformed::EndlessHeaders
        );
    }
    // A long answer has many chunks.
    let chunks = start.to_owned() + &"1;abc\r\nx\r\n".repeat(20_000) + "0\r\n\r\n";
    assert_eq!(whole(chunks.as_bytes()).1, End::Clean);
}

#[test]
fn a_head_that_came_in_pieces_leaves_no_memory_behind() {
    let mut reader = Reader::new(pids());
    let long = format!("HTTP/1.1 204 OK\r\na: {}\r\n\r\n", "b".repeat(60_000));
    for piece in long.as_bytes().chunks(1000) {
        reader.read(piece, Expect::default()).unwrap();
    }
    assert!(!reader.is_within() && reader.kept() <= 512);
    // And a whole one is not copied there.
    let mut reader = Reader::new(pids());
    reader.read(NODE.as_bytes(), Expect::default()).unwrap();
    assert_eq!(reader.kept(), 0);
}

/// Answers of all kinds, and now and then what is none.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => prop::sample::select(vec![NODE, NODE_CHUNKED, NODE_TRAILERS, NODE_204, NODE_304, NODE_HINTS, EXPRESS, NGINX])
            .prop_map(|answer| answer.as_bytes().to_vec()),
        1 => prop::sample::select(vec![NODE_10, NODE_400, "\r\n", "HTTP/1.1 ", "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n"])
            .prop_map(|answer| answer.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(part, 1..6).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_answers(
        mut bytes in stream(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cuts in prop::collection::vec(1_usize..80, 1..50),
        head in prop::bool::weighted(0.1),
    ) {
        for (at, byte) in flips {
            if let Some(at) = (!bytes.is_empty()).then(|| at.index(bytes.len())) {
                bytes[at] = byte;
            }
        }
        let options = Arc::new(ReadOptions { expect_body: Some("Hello from 4242".into()), watch_pids: true });
        let at_once = read(&options, [&bytes[..]], head);
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at(rest.len().min(*cut));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() { break; }
        }
        prop_assert_eq!(&read(&options, pieces, head), &at_once);
        prop_assert_eq!(&read(&options, bytes.chunks(1), head), &at_once);
    }

    #[test]
    fn any_bytes_are_answers_or_an_error(
        start in prop::sample::select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]),
        bytes in prop::collection::vec(prop_oneof![prop::sample::select(b"\r\n :;,0123456789afx".to_vec()), any::<u8>()], 0..400),
        size in 1_usize..50,
    ) {
        let bytes = [start.as_bytes(), &bytes].concat();
        // That it ends, keeps little and makes progress is asserted within.
        let in_pieces = read(&pids(), bytes.chunks(size), false);
        prop_assert_eq!(in_pieces, whole(&bytes));
    }
}
