//! A cookie's value out of the first bytes that a client sent.

use super::FIRST_BYTES as HEAD;

/// What the bytes say about the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// Its value, whole and not empty.
    Value(&'a [u8]),
    /// It is not there, and will not be: the head has ended, is too long, or is no HTTP/1.
    Nothing,
    /// It may still come.
    NotYet,
}

/// A token as HTTP has it, which is what a cookie's name must be.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_token)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Looks for the cookie in the head of an HTTP/1 request that may be cut anywhere.
///
/// A value counts once it has ended: half a session's id is another session.
pub(super) fn find<'a>(bytes: &'a [u8], name: &str) -> Found<'a> {
    let (bytes, over) = match bytes.get(..HEAD) {
        Some(head) => (head, true),
        None => (bytes, false),
    };
    let unfinished = if over { Found::Nothing } else { Found::NotYet };
    let Some((request, mut rest)) = line(bytes) else {
        return if bytes
            .iter()
            .take(32)
            .take_while(|b| **b != b' ')
            .all(|b| is_token(*b))
        {
            unfinished
        } else {
            Found::Nothing
        };
    };
    if !is_request(request) {
        return Found::Nothing;
    }
    while let Some((header, after)) = line(rest) {
        if header.is_empty() {
            return Found::Nothing;
        }
        if let Some(value) = in_header(header, name.as_bytes()) {
            return Found::Value(value);
        }
        rest = after;
    }
    unfinished
}

/// The first line without its end, and what follows it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
}

/// HTTP/2 has its cookies packed; its preface says so in HTTP/1's own words.
fn is_request(line: &[u8]) -> bool {
    let start = line.len().saturating_sub(b"HTTP/1.1".len());
    line[start..].starts_with(b"HTTP/1.")
}

fn in_header<'a>(header: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let colon = memchr::memchr(b':', header)?;
    if !header[..colon].eq_ignore_ascii_case(b"cookie") {
        return None;
    }
    header[colon + 1..]
        .split(|byte| *byte == b';')
        .find_map(|pair| {
            let pair = pair.trim_ascii();
            let value = pair.strip_prefix(name)?.strip_prefix(b"=")?;
            (!value.is_empty()).then_some(value)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REQUEST: &[u8] = b"GET /sid=no HTTP/1.1\r\nHost: a\r\nX-Cookie: sid=x\r\n\
        cOOKIE: xsid=1; sid=; sid=abc=%3B; sid=second\r\nCookie: sid=third\r\n\r\nCookie: sid=body\r\n";

    #[test]
    fn the_value_is_found_where_it_counts() {
        assert_eq!(find(REQUEST, "sid"), Found::Value(b"abc=%3B"));
        assert_eq!(find(REQUEST, "xsid"), Found::Value(b"1"));
        assert_eq!(find(REQUEST, "SID"), Found::Nothing);
    }

    #[test]
    fn what_follows_the_head_is_no_header() {
        let request = b"POST / HTTP/1.1\r\nHost: a\r\n\r\nCookie: sid=body\r\n\r\n";
        assert_eq!(find(request, "sid"), Found::Nothing);
    }

    #[test]
    fn half_a_value_is_not_taken() {
        for end in 0..REQUEST.len() {
            let found = find(&REQUEST[..end], "sid");
            assert!(
                matches!(found, Found::NotYet | Found::Value(b"abc=%3B")),
                "{end}: {found:?}"
            );
        }
    }

    #[test]
    fn other_protocols_are_known_at_once() {
        for bytes in [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\r\n\r\n",
            b"\0",
            b"SSH-2.0-x y\r\n",
        ] {
            assert_eq!(find(bytes, "sid"), Found::Nothing, "{bytes:?}");
        }
    }

    #[test]
    fn a_head_without_end_is_given_up() {
        let mut head = b"GET / HTTP/1.1\r\n".to_vec();
        head.resize(HEAD - 1, b'a');
        assert_eq!(find(&head, "sid"), Found::NotYet);
        head.push(b'a');
        assert_eq!(find(&head, "sid"), Found::Nothing);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            find(&bytes, "sid");
        }

        #[test]
        fn any_header_is_survived(text in "GET / HTTP/1.1\r\n([Cc]ookie ?:[ -~\r\n;=]{0,40}\r\n){0,4}") {
            if let Found::Value(value) = find(text.as_bytes(), "sid") {
                prop_assert!(!value.is_empty());
                prop_assert!(!value.contains(&b'\n') && !value.contains(&b';'));
            }
        }
    }
}
