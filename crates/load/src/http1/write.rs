//! Requests, ready to be sent: made once, so that sending one copies bytes and no more.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};

use memchr::memmem;

use crate::target::origin_form;
use crate::{Keep, Request, Target};

/// What stands for an id.
const MARK: &[u8] = b"[<id>]";
/// How long an id is: 120 random bits in an alphabet that means nothing in a URL or in JSON.
const ID: usize = 20;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A request that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRequest {
    /// The method is no word.
    #[error("bad method {0:?}")]
    Method(String),
    /// The path cannot be sent as it is.
    #[error("bad path {path:?}: {wrong}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        wrong: String,
    },
    /// The name of a header is no word.
    #[error("bad header name {0:?}")]
    Name(String),
    /// The value of a header would end it.
    #[error("bad value of header `{name}`: it has the character {found:?}")]
    Value {
        /// The name of the header.
        name: String,
        /// What must not be in it.
        found: char,
    },
    /// The body is sent as it is, with its length.
    #[error("header `Transfer-Encoding` is not taken: the body goes with its length")]
    Coded,
}

/// Writes a request, as often as wanted.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    /// Where ids go; all as long as [`ID`].
    ids: Vec<usize>,
    random: Random,
    head: bool,
}

impl Writer {
    pub(crate) fn new(request: &Request, target: &Target, keep: Keep) -> Result<Self, BadRequest> {
        if !is_word(&request.method) {
            return Err(BadRequest::Method(request.method.clone()));
        }
        let path = request.path.as_ref().unwrap_or(&target.path);
        let form = match path.as_str() {
            // Of `OPTIONS`.
            "*" => Ok("*".into()),
            path => origin_form(path),
        };
        let form = form.map_err(|wrong| BadRequest::Path {
            path: path.clone(),
            wrong,
        })?;
        let mut writer = Self {
            bytes: Vec::new(),
            ids: Vec::new(),
            random: Random::new(),
            head: request.method == "HEAD",
        };
        writer.add(request.method.as_bytes());
        writer.add(b" ");
        writer.add_marked(form.as_bytes(), request.ids);
        writer.add(b" HTTP/1.1\r\n");
        writer.add_headers(request, target, keep)?;
        writer.add(b"\r\n");
        writer.add_marked(&request.body, request.ids);
        Ok(writer)
    }

    /// Appends the request, with a new id in each place for one.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        if self.ids.is_empty() {
            return;
        }
        let id = self.random.id();
        for at in &self.ids {
            out[start + at..][..ID].copy_from_slice(&id);
        }
    }

    /// The answer has no body.
    pub(crate) fn is_head(&self) -> bool {
        self.head
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn add_marked(&mut self, bytes: &[u8], ids: bool) {
        let mut rest = 0;
        let marks = memmem::find_iter(bytes, MARK);
        for at in marks.filter(|_| ids) {
            self.add(&bytes[rest..at]);
            self.ids.push(self.bytes.len());
            self.add(&[0; ID]);
            rest = at + MARK.len();
        }
        self.add(&bytes[rest..]);
    }

    fn add_headers(
        &mut self,
        request: &Request,
        target: &Target,
        keep: Keep,
    ) -> Result<(), BadRequest> {
        let mut head = String::new();
        let mut ours = vec![
            ("Host", target.host.clone()),
            (
                "Connection",
                match keep {
                    Keep::Alive | Keep::For(_) => "keep-alive".into(),
                    Keep::Close => "close".into(),
                },
            ),
        ];
        // An empty body is told where one is usual: some servers wait for it otherwise.
        if !request.body.is_empty() || matches!(&*request.method, "POST" | "PUT" | "PATCH") {
            ours.push(("Content-Length", body_length(request).to_string()));
        }
        let theirs = &request.headers;
        ours.retain(|(name, _)| {
            !theirs
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(name))
        });
        let ours = ours.iter().map(|(name, value)| (*name, value));
        let theirs = theirs.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in ours.chain(theirs) {
            check_header(name, value)?;
            // A String takes all that is written to it.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        self.add(head.as_bytes());
        Ok(())
    }
}

fn body_length(request: &Request) -> usize {
    let length = request.body.len();
    if !request.ids {
        return length;
    }
    let marks = memmem::find_iter(&request.body, MARK).count();
    length - marks * MARK.len() + marks * ID
}

fn check_header(name: &str, value: &str) -> Result<(), BadRequest> {
    if !is_word(name) {
        return Err(BadRequest::Name(name.into()));
    }
    if name.eq_ignore_ascii_case("transfer-encoding") {
        return Err(BadRequest::Coded);
    }
    let bad = |c: &char| *c != '\t' && c.is_ascii_control();
    value.chars().find(bad).map_or(Ok(()), |found| {
        Err(BadRequest::Value {
            name: name.into(),
            found,
        })
    })
}

/// A token of RFC 9110.
fn is_word(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(allowed)
}

/// Xorshift64*: ids need to differ, not to be secret.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new() -> Self {
        // Each has keys of its own.
        Self(RandomState::new().build_hasher().finish() | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn id(&mut self) -> [u8; ID] {
        let mut id = [0; ID];
        for half in id.chunks_mut(ID / 2) {
            let mut bits = self.next() >> 4;
            for letter in half {
                *letter = ALPHABET[(bits & 63) as usize];
                bits >>= 6;
            }
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn target() -> Target {
        Target::parse("http://a.test:8000/x?y").unwrap()
    }

    fn written(request: &Request, keep: Keep) -> String {
        let mut writer = Writer::new(request, &target(), keep).unwrap();
        let mut out = b"before ".to_vec();
        writer.write(&mut out);
        String::from_utf8(out).unwrap().split_off(7)
    }

    fn with(headers: &[(&str, &str)]) -> Request {
        let owned = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
        Request {
            headers: headers.iter().map(owned).collect(),
            ..Request::default()
        }
    }

    #[test]
    fn a_request_is_what_it_says() {
        assert_eq!(
            written(&Request::default(), Keep::Alive),
            "GET /x?y HTTP/1.1\r\nHost: a.test:8000\r\nConnection: keep-alive\r\n\r\n"
        );
        let request = Request {
            method: "POST".into(),
            path: Some("other/ä#top".into()),
            body: "{}".into(),
            ..with(&[("Content-Type", "application/json")])
        };
        assert_eq!(
            written(&request, Keep::Close),
            "POST /other/%C3%A4 HTTP/1.1\r\nHost: a.test:8000\r\nConnection: close\r\n\
             Content-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
        );
        let method = |method: &str| Request {
            method: method.into(),
            path: Some("*".into()),
            ..Request::default()
        };
        assert!(written(&method("PUT"), Keep::Alive).contains("Content-Length: 0\r\n"));
        assert!(written(&method("OPTIONS"), Keep::Alive).starts_with("OPTIONS * HTTP"));
        let is_head = |name| {
            Writer::new(&method(name), &target(), Keep::Alive)
                .unwrap()
                .is_head()
        };
        assert!(is_head("HEAD") && !is_head("GET"));
    }

    #[test]
    fn a_header_of_the_user_replaces_ours() {
        let request = Request {
            body: "abc".into(),
            ..with(&[
                ("host", "b"),
                ("CONNECTION", "close"),
                ("content-length", "2"),
                ("A", "1"),
                ("A", "2"),
            ])
        };
        assert_eq!(
            written(&request, Keep::Alive),
            "GET /x?y HTTP/1.1\r\nhost: b\r\nCONNECTION: close\r\ncontent-length: 2\r\n\
             A: 1\r\nA: 2\r\n\r\nabc"
        );
    }

    #[test]
    fn each_request_has_a_new_id() {
        let mut request = Request {
            method: "POST".into(),
            path: Some("/a/[<id>]?b=[<id>]".into()),
            body: "x[<id>][<id>]".into(),
            ids: true,
            ..Request::default()
        };
        let mut writer = Writer::new(&request, &target(), Keep::Alive).unwrap();
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            // Pipelined requests follow one another.
            let mut out = b"before ".to_vec();
            writer.write(&mut out);
            let text = String::from_utf8(out).unwrap().split_off(7);
            let id = &text["POST /a/".len()..][..ID];
            assert!(id.bytes().all(|b| ALPHABET.contains(&b)), "{id}");
            let expected = format!(
                "POST /a/{id}?b={id} HTTP/1.1\r\nHost: a.test:8000\r\n\
                 Connection: keep-alive\r\nContent-Length: 41\r\n\r\nx{id}{id}"
            );
            assert_eq!(text, expected);
            assert!(seen.insert(id.to_owned()), "{id} came twice");
        }
        // Another writer has other ids.
        let mut out = Vec::new();
        let mut other = Writer::new(&request, &target(), Keep::Alive).unwrap();
        other.write(&mut out);
        let id = String::from_utf8(out["POST /a/".len()..][..ID].to_vec()).unwrap();
        assert!(!seen.contains(&id));

        request.ids = false;
        let text = written(&request, Keep::Alive);
        assert!(text.contains("/a/[<id>]?b=[<id>] ") && text.ends_with("\r\n\r\nx[<id>][<id>]"));
        assert!(text.contains("Content-Length: 13\r\n"));
    }

    #[test]
    fn what_would_break_the_request_is_an_error() {
        let error = |request: &Request| {
            let made = Writer::new(request, &target(), Keep::Alive);
            made.unwrap_err().to_string()
        };
        let method = |method: &str| Request {
            method: method.into(),
            ..Request::default()
        };
        let path = |path: &str| Request {
            path: Some(path.into()),
            ..Request::default()
        };
        assert_eq!(error(&method("")), "bad method \"\"");
        assert_eq!(error(&method("GET /")), "bad method \"GET /\"");
        assert_eq!(
            error(&path("/a b")),
            "bad path \"/a b\": it has the character ' '"
        );
        assert_eq!(
            error(&path("/a\r\nb")),
            "bad path \"/a\\r\\nb\": it has the character '\\r'"
        );
        assert_eq!(error(&with(&[("a:", "b")])), "bad header name \"a:\"");
        assert_eq!(error(&with(&[("", "b")])), "bad header name \"\"");
        for (value, found) in [("b\nc", "'\\n'"), ("b\r", "'\\r'"), ("\0", "'\\0'")] {
            assert_eq!(
                error(&with(&[("a", value)])),
                format!("bad value of header `a`: it has the character {found}")
            );
        }
        assert!(error(&with(&[("Transfer-Encoding", "chunked")])).contains("not taken"));
        assert!(written(&with(&[("a", "b\tä")]), Keep::Alive).contains("a: b\tä\r\n"));
    }
}
