//! The head of an answer: what it says about itself and about the body that follows.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Response, Status};

use super::Malformed;

/// How long a head may be.
pub(super) const LONGEST: usize = 64 * 1024;
/// How many headers it may have.
const MOST_HEADERS: usize = 128;
/// How every answer begins.
const START: &[u8] = b"HTTP/1.";

/// What a head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) keep_alive: bool,
    pub(super) length: Length,
}

/// Where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Exactly(u64),
    Chunked,
    UntilClose,
}

impl Head {
    /// Reads a head at the start of `bytes` and says how long it is; `None`: more must come.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(usize, Self)>, Malformed> {
        let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut response = Response::new(&mut []);
        let bytes = &bytes[..bytes.len().min(LONGEST)];
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            bytes,
            &mut headers,
        );
        let taken = match parsed {
            Ok(Status::Complete(taken)) => taken,
            Ok(Status::Partial) if bytes.len() == LONGEST => return Err(Malformed::EndlessHeaders),
            Ok(Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Malformed::EndlessHeaders),
            Err(error) => return Err(Malformed::Head(error)),
        };
        let Some(status @ 100..) = response.code else {
            return Err(Malformed::Head(httparse::Error::Status));
        };
        let is_11 = response.version == Some(1);
        Ok(Some((taken, Self::of(status, is_11, response.headers)?)))
    }

    fn of(status: u16, is_11: bool, headers: &[Header<'_>]) -> Result<Self, Malformed> {
        let mut length = None;
        let mut coding = None;
        let mut keep_alive = is_11;
        for header in headers {
            // Most headers are told by their length not to be one of these.
            match header.name.len() {
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    for number in header.value.split(|b| *b == b',') {
                        let number = content_length(number.trim_ascii())?;
                        if length.is_some_and(|other| other != number) {
                            return Err(Malformed::ContentLength);
                        }
                        length = Some(number);
                    }
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    coding = header.value.split(|b| *b == b',').next_back();
                }
                10 if header.name.eq_ignore_ascii_case("connection") => {
                    for option in header.value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                        if option.eq_ignore_ascii_case(b"close") {
                            keep_alive = false;
                        } else if !is_11 && option.eq_ignore_ascii_case(b"keep-alive") {
                            keep_alive = true;
                        }
                    }
                }
                _ => {}
            }
        }
        let length = match (coding.map(<[u8]>::trim_ascii), length) {
            // Who reads one and who reads the other would not agree on where the next answer is.
            (Some(_), Some(_)) => return Err(Malformed::ContentLength),
            (Some(last), None) if last.eq_ignore_ascii_case(b"chunked") => Length::Chunked,
            (None, Some(length)) => Length::Exactly(length),
            (Some(_) | None, None) => Length::UntilClose,
        };
        Ok(Self {
            status,
            keep_alive,
            length,
        })
    }

    /// Another head follows to the same request. After 101 none does: what follows is no HTTP.
    pub(super) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

fn content_length(digits: &[u8]) -> Result<u64, Malformed> {
    if digits.is_empty() {
        return Err(Malformed::ContentLength);
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'));
        digit
            .and_then(|digit| number.checked_mul(10)?.checked_add(digit))
            .ok_or(Malformed::ContentLength)
    })
}

/// Says early that `bytes` cannot become an answer: a line of another protocol may never end.
pub(super) fn begins_well(bytes: &[u8]) -> Result<(), Malformed> {
    let some = bytes.len().min(START.len());
    if bytes[..some] == START[..some] {
        return Ok(());
    }
    let line = bytes.split(|b| matches!(b, b'\r' | b'\n')).next();
    let shown = line.unwrap_or_default();
    let shown = &shown[..shown.len().min(32)];
    Err(Malformed::NoHttp(format!("`{}`", shown.escape_ascii())))
}
