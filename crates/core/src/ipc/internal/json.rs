//! Internal messages as JSON: what is inside is a part of the frame.

use std::ops::Range;

use bytes::Bytes;

use super::{EncodeError, Name, Said};
use crate::ipc::BadMessage;
use crate::ipc::json::{self, raw_is, raw_text, walk};

/// Where the values of the known members are in a frame.
pub(super) struct Members<'a> {
    frame: &'a Bytes,
    values: [Option<Range<usize>>; Name::ALL.len()],
}

impl<'a> Members<'a> {
    pub(super) fn of(frame: &'a Bytes) -> Result<Self, BadMessage> {
        let mut values = [const { None }; Name::ALL.len()];
        walk(frame, |raw, value| {
            let known = Name::ALL.iter().position(|name| raw_is(raw, name.as_str()));
            if let Some(place) = known {
                values[place] = Some(value);
            }
        })
        .map_err(|fault| fault.of(frame))?;
        Ok(Self { frame, values })
    }

    fn range(&self, name: Name) -> Option<Range<usize>> {
        self.values[name as usize].clone()
    }

    fn raw(&self, name: Name) -> Option<&[u8]> {
        self.range(name).map(|range| &self.frame[range])
    }
}

impl super::Members for Members<'_> {
    fn text(&self, name: Name) -> Option<String> {
        raw_text(self.raw(name)?)
    }

    fn count(&self, name: Name) -> Option<u64> {
        json::decode(self.raw(name)?, 0).ok()
    }

    fn body(&self, name: Name) -> Result<Option<Bytes>, BadMessage> {
        Ok(self.range(name).map(|range| self.frame.slice(range)))
    }

    fn undefined() -> Bytes {
        Bytes::from_static(b"null")
    }

    fn bad(&self, name: Name, wanted: &'static str) -> BadMessage {
        let at = self.range(name).map_or(0, |range| range.start);
        BadMessage::new(self.frame, at, wanted)
    }
}

pub(super) fn write(members: &[(Name, Said<'_>)], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    for (_, said) in members {
        if let Said::Body(Some(body)) = said {
            allow(body).map_err(EncodeError::Malformed)?;
        }
    }
    out.reserve(members.iter().map(|(name, said)| room(*name, said)).sum());
    let mut between = b'{';
    for (name, said) in members {
        if matches!(said, Said::Body(None)) {
            continue;
        }
        out.push(between);
        between = b',';
        out.push(b'"');
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b"\":");
        match said {
            Said::Text(text) if is_plain(text) => {
                out.push(b'"');
                out.extend_from_slice(text.as_bytes());
                out.push(b'"');
            }
            Said::Text(text) => encode(*text, out),
            Said::Count(count) => encode(count, out),
            Said::Body(body) => out.extend_from_slice(body.map_or(b"", |body| body)),
        }
    }
    out.push(b'}');
    Ok(())
}

/// About what a member needs: its name, its value and what is around them.
fn room(name: Name, said: &Said<'_>) -> usize {
    let value = match said {
        Said::Text(text) => text.len() + 2,
        Said::Count(_) => 20,
        Said::Body(body) => body.map_or(0, Bytes::len),
    };
    name.as_str().len() + value + 5
}

/// Nothing in it needs to be escaped: so are all words of the protocol.
fn is_plain(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.bytes().all(is_plain)
}

fn encode<T: serde::Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    json::encode(value, out).expect("a string or number has a JSON text");
}

/// A body with a newline would end the frame, an empty one leave a hole in it.
fn allow(body: &[u8]) -> Result<(), BadMessage> {
    if body.is_empty() {
        return Err(BadMessage::new(body, 0, "a value"));
    }
    memchr::memchr(b'\n', body).map_or(Ok(()), |at| {
        Err(BadMessage::new(body, at, "allowed inside a frame"))
    })
}
