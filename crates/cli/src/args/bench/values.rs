//! What the values of the flags mean.

use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use procession_load::Class;

use crate::args::run::Refused;

/// More descriptors than any process may have.
const MOST_CONNECTIONS: u64 = 1_000_000;
const MOST_PIPELINING: u64 = 10_000;
const MOST_WORKERS: u64 = 1024;

const DAY: f64 = 86_400.0;
/// What comes after that is as good as forever.
const LONGEST: f64 = 365.0 * DAY;

fn refused<T>(flag: &str, text: &str, what: &str, hint: &'static str) -> Result<T, Refused> {
    Err(Refused::new(format!("`{flag} {text}` {what}"), hint))
}

/// A number from 1 on.
fn number(flag: &str, text: &str, most: u64, hint: &'static str) -> Result<NonZeroU64, Refused> {
    let Ok(number) = text.parse::<u64>() else {
        return refused(flag, text, "is no number", hint);
    };
    match NonZeroU64::new(number) {
        None => refused(flag, text, "asks for nothing", hint),
        Some(number) if number.get() > most => Err(Refused::new(
            format!("`{flag} {text}` is more than {most}"),
            hint,
        )),
        Some(number) => Ok(number),
    }
}

fn count(flag: &str, text: &str, most: u64, hint: &'static str) -> Result<usize, Refused> {
    let number = number(flag, text, most, hint)?;
    // What is more than an address space is more than `most`.
    Ok(usize::try_from(number.get()).unwrap_or(usize::MAX))
}

pub(super) fn connections(text: &str) -> Result<usize, Refused> {
    count(
        "-c",
        text,
        MOST_CONNECTIONS,
        "`-c 100` has a hundred connections open",
    )
}

pub(super) fn pipelining(text: &str) -> Result<usize, Refused> {
    count(
        "-p",
        text,
        MOST_PIPELINING,
        "`-p 1` waits for each answer before it asks again",
    )
}

pub(super) fn workers(text: &str) -> Result<usize, Refused> {
    count(
        "-w",
        text,
        MOST_WORKERS,
        "`-w 2` makes the connections in two threads",
    )
}

pub(super) fn amount(text: &str) -> Result<NonZeroU64, Refused> {
    number(
        "-a",
        text,
        u64::MAX,
        "`-a 1000` ends after a thousand requests",
    )
}

pub(super) fn reconnect(text: &str) -> Result<NonZeroU64, Refused> {
    number(
        "-D",
        text,
        u64::MAX,
        "`-D 100` makes a new connection after a hundred requests",
    )
}

pub(super) fn most_each(text: &str) -> Result<NonZeroU64, Refused> {
    number(
        "-M",
        text,
        u64::MAX,
        "`-M 100` makes a hundred requests with each connection",
    )
}

pub(super) fn most(text: &str) -> Result<NonZeroU64, Refused> {
    number(
        "-O",
        text,
        u64::MAX,
        "`-O 1000` makes a thousand requests at most",
    )
}

pub(super) fn bailout(text: &str) -> Result<NonZeroU64, Refused> {
    number("-B", text, u64::MAX, "`-B 10` ends after ten failures")
}

pub(super) fn rate(text: &str) -> Result<f64, Refused> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err(Refused::new(
            format!("`{text}` is no rate"),
            "requests a second: `-R 1000` of all connections, `-r 50` of each",
        )),
    }
}

pub(super) fn sample(text: &str) -> Result<Duration, Refused> {
    const HINT: &str = "milliseconds, from 10 to 60000: `-L 250`";
    match text.parse::<u64>() {
        Ok(milliseconds @ 10..=60_000) => Ok(Duration::from_millis(milliseconds)),
        _ => refused("-L", text, "is no length of a sample", HINT),
    }
}

pub(super) fn method(text: &str) -> Result<String, Refused> {
    if is_token(text) {
        return Ok(text.to_owned());
    }
    refused("-m", text, "is no method", "`-m POST`")
}

/// Takes `NAME=VALUE` and `NAME: VALUE`, whichever sign comes first.
pub(super) fn header(text: &str) -> Result<(String, String), Refused> {
    const HINT: &str = "`-H content-type=text/plain`, `-H 'content-type: text/plain'`";
    // The value may be a secret and is not repeated.
    let Some((name, value)) = text.split_once([':', '=']) else {
        return Err(Refused::new("`-H` has neither `=` nor `:`", HINT));
    };
    let (name, value) = (name.trim(), value.trim());
    if !is_token(name) {
        return Err(Refused::new(
            format!("`-H`: `{name}` is no name of a header"),
            HINT,
        ));
    }
    let is_text = |c: char| c == '\t' || !c.is_control();
    if !value.chars().all(is_text) {
        let message = format!("`-H`: the value of `{name}` has a character that ends a header");
        return Err(Refused::new(message, HINT));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// What HTTP calls a token.
pub(crate) fn is_token(text: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token)
}

pub(super) fn duration(text: &str) -> Result<Duration, Refused> {
    time("-d", text)
}

pub(super) fn timeout(text: &str) -> Result<Duration, Refused> {
    time("-t", text)
}

/// A time that is not nothing.
fn time(flag: &str, text: &str) -> Result<Duration, Refused> {
    const HINT: &str = "seconds, or numbers that end in ms, s, m, h or d: `10`, `500ms`, `1m 30s`";
    match timestring(text) {
        Some(Duration::ZERO) => refused(flag, text, "is no time at all", HINT),
        Some(time) => Ok(time),
        None => refused(flag, text, "is no time", HINT),
    }
}

/// Reads `10`, `10s`, `1m`, `1h 30m`, `250ms`, as autocannon's `timestring` does; at most a year.
fn timestring(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<f64>() {
        return span(seconds);
    }
    let compact: String = text.split_whitespace().collect();
    let mut rest = compact.as_str();
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        total += number.parse::<f64>().ok()? * unit_of(unit)?;
        rest = tail;
    }
    // Nothing was read from nothing.
    (!compact.is_empty()).then(|| span(total))?
}

fn span(seconds: f64) -> Option<Duration> {
    (seconds <= LONGEST).then(|| Duration::try_from_secs_f64(seconds).ok())?
}

fn unit_of(name: &str) -> Option<f64> {
    Some(match name.to_ascii_lowercase().as_str() {
        "ms" => 0.001,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => DAY,
        _ => return None,
    })
}

/// A load that goes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Warm {
    /// How many connections; as many as the load.
    pub(crate) connections: Option<usize>,
    /// For how long.
    pub(crate) lasts: Duration,
}

impl FromStr for Warm {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        const HINT: &str = "`-W [ -c 5 -d 3 ]`, or only a time: `-W 3s`";
        let mut warm = Self {
            connections: None,
            lasts: Duration::from_secs(10),
        };
        let Some(inner) = text.strip_prefix('[') else {
            warm.lasts = time("-W", text)?;
            return Ok(warm);
        };
        let Some(inner) = inner.strip_suffix(']') else {
            return refused("-W", text, "has no `]`", HINT);
        };
        let mut words = inner.split_whitespace();
        while let Some(flag) = words.next() {
            match (flag, words.next()) {
                ("-c" | "--connections", Some(value)) => {
                    warm.connections = Some(connections(value)?);
                }
                ("-d" | "--duration", Some(value)) => warm.lasts = duration(value)?,
                _ => return refused("-W", text, "is no warm-up", HINT),
            }
        }
        Ok(warm)
    }
}

/// Which failures fail the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailOn {
    /// As it was said.
    pub(crate) words: String,
    pub(crate) classes: Vec<Class>,
}

impl FromStr for FailOn {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let mut classes = Vec::new();
        for word in text.split(',') {
            let before = classes.len();
            classes.extend(Class::ALL.into_iter().filter(|class| match word {
                "any" => true,
                "lost" => class.is_loss(),
                _ => class.name() == word,
            }));
            if classes.len() == before {
                return Err(Refused::new(
                    format!("`--fail-on {text}`: there is no class `{word}`"),
                    "any, lost, refused, unreachable, tls, reset, half, timeout, hung, \
                     malformed, non2xx, mismatch",
                ));
            }
        }
        classes.sort_unstable();
        classes.dedup();
        Ok(Self {
            words: text.to_owned(),
            classes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_timestring() {
        let milliseconds = |text: &str| timestring(text).map(|time| time.as_millis());
        for (text, expected) in [
            ("10", 10_000),
            ("10s", 10_000),
            ("1m", 60_000),
            ("1.5s", 1500),
            ("250ms", 250),
            ("1h 30m", 5_400_000),
            ("1m30s", 90_000),
            ("2 minutes", 120_000),
            ("1d", 86_400_000),
            ("0", 0),
        ] {
            assert_eq!(milliseconds(text), Some(expected), "{text}");
        }
        for text in [
            "", " ", "s", "-1", "1x", "NaN", "inf", "1e99", "1s x", "1..5s", "s1",
        ] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }

    #[test]
    fn headers_have_either_sign_between() {
        let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(header("a=b:c").ok(), pair("a", "b:c"));
        assert_eq!(header("X-A: b=c").ok(), pair("X-A", "b=c"));
        assert_eq!(header("a=").ok(), pair("a", ""));
        for text in ["", "a", "a b=c", "=b", "a=b\r\nEvil: 1", "é=1"] {
            assert!(header(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_warm_up_is_flags_or_a_time() {
        let warm = |text: &str| text.parse::<Warm>().ok();
        let seconds = Duration::from_secs;
        let expected = |connections, lasts| Some(Warm { connections, lasts });
        assert_eq!(warm("[ -c 5 -d 3 ]"), expected(Some(5), seconds(3)));
        assert_eq!(warm("[-d 1m]"), expected(None, seconds(60)));
        assert_eq!(warm("[ -c 5 ]"), expected(Some(5), seconds(10)));
        assert_eq!(warm("3s"), expected(None, seconds(3)));
        for text in [
            "", "[", "[ -c 0 ]", "[ -c ]", "[ -p 3 ]", "[ -d 3", "soon", "0",
        ] {
            assert_eq!(warm(text), None, "{text}");
        }
    }

    #[test]
    fn what_fails_it_is_named() {
        let classes = |text: &str| text.parse::<FailOn>().map(|fail_on| fail_on.classes).ok();
        assert_eq!(classes("any"), Some(Class::ALL.to_vec()));
        assert_eq!(
            classes("reset,hung,reset"),
            Some(vec![Class::Reset, Class::Hung])
        );
        let lost = classes("lost").unwrap();
        assert_eq!(lost.len(), 8);
        assert!(!lost.contains(&Class::Non2xx));
        assert_eq!(classes("lost,non2xx").unwrap().len(), 9);
        for text in ["", "reset,", "resets", "Any"] {
            assert_eq!(classes(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_begin_at_one() {
        assert_eq!(connections("100").ok(), Some(100));
        for text in ["0", "-1", "", "1.5", "x", "99999999999999999999", "1000001"] {
            assert!(connections(text).is_err(), "{text}");
        }
        assert_eq!(rate("0.5").ok(), Some(0.5));
        for text in ["0", "-1", "NaN", "inf", "fast"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert!(sample("9").is_err() && sample("10").is_ok());
    }
}
