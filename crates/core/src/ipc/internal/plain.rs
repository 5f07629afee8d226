//! The commonest internal message, told by its bytes.

/// A cluster worker's answer to a connection exactly as Node writes it in `json`: one comes
/// for each. What looks otherwise is read as all else is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainAnswer {
    /// The number of the message that is answered.
    pub ack: u64,
    /// Whether the worker serves the connection.
    pub accepted: bool,
    /// The worker's number for it.
    pub seq: u64,
}

impl PlainAnswer {
    /// Reads it, if it is one.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let rest = frame.strip_prefix(br#"{"cmd":"NODE_CLUSTER","ack":"#)?;
        let (ack, rest) = number(rest)?;
        let rest = rest.strip_prefix(br#","accepted":"#)?;
        let (accepted, rest) = match rest.strip_prefix(b"true") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix(b"false")?),
        };
        let (seq, rest) = number(rest.strip_prefix(br#","seq":"#)?)?;
        (rest == b"}").then_some(Self { ack, accepted, seq })
    }
}

/// A number of few digits that does not begin with a zero.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    const MOST: usize = 15;
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > MOST || text[0] == b'0' {
        return None;
    }
    let (number, rest) = text.split_at(digits);
    let number = number
        .iter()
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some((number, rest))
}
