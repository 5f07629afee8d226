//! Reading an answer: as much HTTP/1.1 as servers under test speak.

/// What is known of an answer so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// More must come, or the end of the connection if that ends the body.
    Partial {
        /// Whether the end of the connection would complete it.
        ends_with_connection: bool,
    },
    /// All of it is there.
    Whole(Answer),
    /// It is something else.
    NotHttp,
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// Whether the server keeps the connection.
    pub(super) kept: bool,
}

/// How the end of a body is known.
#[derive(Debug, PartialEq, Eq)]
enum Ends {
    After(usize),
    Chunks,
    Connection,
}

/// Reads what came so far; `ended` when nothing more will.
pub(super) fn parse(bytes: &[u8], ended: bool) -> Parsed {
    if !bytes.starts_with(&b"HTTP/1."[..bytes.len().min(7)]) {
        return Parsed::NotHttp;
    }
    let partial = Parsed::Partial {
        ends_with_connection: false,
    };
    let Some(at) = find(bytes, b"\r\n\r\n") else {
        return partial;
    };
    let (head, body) = (&bytes[..at], &bytes[at + 4..]);
    let Some((status, ends, kept)) = std::str::from_utf8(head).ok().and_then(read_head) else {
        return Parsed::NotHttp;
    };
    let body = match ends {
        Ends::After(length) => body.get(..length).map(<[u8]>::to_vec),
        Ends::Chunks => match chunks(body) {
            Ok(body) => body,
            Err(NotChunks) => return Parsed::NotHttp,
        },
        Ends::Connection if ended => Some(body.to_vec()),
        Ends::Connection => {
            return Parsed::Partial {
                ends_with_connection: true,
            };
        }
    };
    match body {
        None => partial,
        Some(body) => Parsed::Whole(Answer { status, body, kept }),
    }
}

fn read_head(head: &str) -> Option<(u16, Ends, bool)> {
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let (mut ends, mut kept) = (Ends::Connection, true);
    if matches!(status, 100..200 | 204 | 304) {
        ends = Ends::After(0);
    }
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            ends = Ends::After(value.parse().ok()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked" {
            ends = Ends::Chunks;
        } else if name.eq_ignore_ascii_case("connection") {
            kept = !value.eq_ignore_ascii_case("close");
        }
    }
    let kept = kept && ends != Ends::Connection;
    Some((status, ends, kept))
}

/// The body is not in chunks although the head says so.
#[derive(Debug)]
struct NotChunks;

/// `None` as long as the last chunk is missing. Trailers are not understood.
fn chunks(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, NotChunks> {
    let mut body = Vec::new();
    loop {
        let Some(line) = find(bytes, b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&bytes[..line]).map_err(|_| NotChunks)?;
        let size = usize::from_str_radix(size, 16).map_err(|_| NotChunks)?;
        let rest = &bytes[line + 2..];
        let Some(chunk) = rest.get(..size.saturating_add(2)) else {
            return Ok(None);
        };
        let Some(chunk) = chunk.strip_suffix(b"\r\n") else {
            return Err(NotChunks);
        };
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(chunk);
        bytes = &rest[size + 2..];
    }
}

/// The first number in a body: by our servers the pid of who answers.
pub(super) fn first_number(body: &[u8]) -> Option<u32> {
    let start = body.iter().position(u8::is_ascii_digit)?;
    let digits = body[start..].iter().take_while(|it| it.is_ascii_digit());
    let digits: String = digits.map(|digit| char::from(*digit)).collect();
    digits.parse().ok()
}

/// The number in the body of an answer of which only a part came.
pub(super) fn pid_of_half(bytes: &[u8]) -> Option<u32> {
    let body = &bytes[find(bytes, b"\r\n\r\n")? + 4..];
    // A size in front of a chunk is no pid.
    let body = match find(body, b"\r\n") {
        Some(line) => &body[line + 2..],
        None => body,
    };
    first_number(body)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|it| it == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str, ended: bool) -> Option<String> {
        match parse(text.as_bytes(), ended) {
            Parsed::Whole(answer) => Some(String::from_utf8(answer.body).unwrap()),
            Parsed::Partial { .. } | Parsed::NotHttp => None,
        }
    }

    #[test]
    fn every_prefix_of_an_answer_is_partial() {
        for whole in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        ] {
            assert_eq!(body(whole, false).as_deref(), Some("hello"));
            for length in 0..whole.len() {
                let parsed = parse(&whole.as_bytes()[..length], true);
                let partial = Parsed::Partial {
                    ends_with_connection: false,
                };
                assert_eq!(parsed, partial, "{length} bytes of {whole:?}");
            }
        }
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let text = "HTTP/1.0 200 OK\r\nA: b\r\n\r\nhello";
        assert_eq!(body(text, false), None);
        assert_eq!(body(text, true).as_deref(), Some("hello"));
    }

    #[test]
    fn what_is_no_http_is_told() {
        for text in [
            "SSH-2.0",
            "HTTP/1.1 twelve\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno header\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nhello\r\n",
        ] {
            assert_eq!(parse(text.as_bytes(), false), Parsed::NotHttp, "{text:?}");
        }
    }

    #[test]
    fn who_closes_says_so() {
        for (line, wanted) in [("close", false), ("keep-alive", true)] {
            let text = format!("HTTP/1.1 204 No\r\nConnection: {line}\r\n\r\n");
            let Parsed::Whole(answer) = parse(text.as_bytes(), false) else {
                panic!("{text:?} is whole")
            };
            assert_eq!((answer.status, answer.kept), (204, wanted));
        }
    }

    #[test]
    fn the_pid_is_the_first_number() {
        assert_eq!(first_number("[worker:4711] hello 5".as_bytes()), Some(4711));
        assert_eq!(first_number("Ответ".as_bytes()), None);
        assert_eq!(pid_of_half(b"HTTP/1.1 200 OK\r\n\r\npid 12"), Some(12));
        assert_eq!(pid_of_half(b"HTTP/1.1 200 OK\r\n\r\n6\r\npid 12"), Some(12));
        assert_eq!(pid_of_half(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
