//! The policies by name.

use std::fmt;
use std::str::FromStr;

use super::Balance;
use super::cookie;
use super::spare::{LeastBusy, RandomTwo, RoundRobin, Weighted};
use super::sticky::{Cookie, IpHash};
use crate::cluster::spread::When;

/// Who gets a connection, as a user says it.
///
/// The text is what the command line takes: `auto`, `spread`, `least-busy`,
/// `round-robin`, `random-two`, `weighted=3,1`, `ip-hash`, `cookie=NAME`, `kernel`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Least busy while connections are few, spread while they are many.
    #[default]
    Auto,
    /// One listener for two workers; the kernel spreads.
    Spread,
    /// The worker with the least unconfirmed.
    LeastBusy,
    /// The worker that is free the longest, one connection at a time.
    ///
    /// # Node
    ///
    /// `cluster.SCHED_RR`.
    RoundRobin,
    /// The better of two random workers.
    RandomTwo,
    /// By weights, one a slot; slots without one weigh 1, and so does a 0.
    Weighted(Vec<u32>),
    /// The same client address, the same slot.
    IpHash,
    /// The same value of this cookie, the same slot; the address where there is none.
    Cookie(String),
    /// One listener for all; whoever accepts first.
    ///
    /// # Node
    ///
    /// `cluster.SCHED_NONE`.
    Kernel,
}

/// A text that is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// No policy has that name.
    #[error(
        "unknown balancing policy `{0}` (one of: auto, spread, least-busy, round-robin, \
         random-two, weighted=3,1, ip-hash, cookie=NAME, kernel)"
    )]
    Unknown(String),
    /// The weights are no list of numbers from 1.
    #[error(
        "invalid weights `{0}` for the balancing policy `weighted` (like weighted=3,1: \
         whole numbers from 1, one for each worker)"
    )]
    Weights(String),
    /// No cookie can have that name.
    #[error("invalid cookie name `{0}` for the balancing policy `cookie` (like cookie=session)")]
    CookieName(String),
}

impl Policy {
    /// The chooser for connections that the primary hands over. `seed` is any
    /// number; with the same one, the same choices.
    ///
    /// Where the kernel chooses, this is for those connections that it leaves to us.
    #[must_use]
    pub fn balance(&self, seed: u64) -> Box<dyn Balance> {
        match self {
            Self::Auto | Self::Spread | Self::LeastBusy | Self::Kernel => {
                Box::new(LeastBusy::new(seed))
            }
            Self::RoundRobin => Box::new(RoundRobin),
            Self::RandomTwo => Box::new(RandomTwo::new(seed)),
            Self::Weighted(weights) => Box::new(Weighted::new(weights.clone())),
            Self::IpHash => Box::new(IpHash::new(seed)),
            Self::Cookie(name) => Box::new(Cookie::new(name.clone(), seed)),
        }
    }

    /// When the workers have a listener each, if they ever do.
    #[must_use]
    pub fn spreads(&self) -> Option<When> {
        match self {
            Self::Auto => Some(When::Busy),
            Self::Spread => Some(When::Always),
            Self::LeastBusy
            | Self::RoundRobin
            | Self::RandomTwo
            | Self::Weighted(_)
            | Self::IpHash
            | Self::Cookie(_)
            | Self::Kernel => None,
        }
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        match text.split_once('=') {
            Some(("weighted", list)) => weights(list),
            Some(("cookie", name)) if cookie::is_name(name) => Ok(Self::Cookie(name.to_owned())),
            Some(("cookie", name)) => Err(PolicyError::CookieName(name.to_owned())),
            Some(_) => Err(PolicyError::Unknown(text.to_owned())),
            None => Self::plain(text),
        }
    }
}

impl Policy {
    fn plain(name: &str) -> Result<Self, PolicyError> {
        Ok(match name {
            "auto" => Self::Auto,
            "spread" => Self::Spread,
            "least-busy" => Self::LeastBusy,
            "round-robin" => Self::RoundRobin,
            "random-two" => Self::RandomTwo,
            "ip-hash" => Self::IpHash,
            "kernel" => Self::Kernel,
            "weighted" => return Err(PolicyError::Weights(String::new())),
            "cookie" => return Err(PolicyError::CookieName(String::new())),
            _ => return Err(PolicyError::Unknown(name.to_owned())),
        })
    }
}

fn weights(list: &str) -> Result<Policy, PolicyError> {
    let numbers: Result<Vec<u32>, _> = list.split(',').map(|one| one.trim().parse()).collect();
    match numbers {
        Ok(weights) if !weights.contains(&0) => Ok(Policy::Weighted(weights)),
        Ok(_) | Err(_) => Err(PolicyError::Weights(list.to_owned())),
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Spread => "spread",
            Self::LeastBusy => "least-busy",
            Self::RoundRobin => "round-robin",
            Self::RandomTwo => "random-two",
            Self::IpHash => "ip-hash",
            Self::Kernel => "kernel",
            Self::Cookie(name) => return write!(f, "cookie={name}"),
            Self::Weighted(weights) => {
                f.write_str("weighted")?;
                for (at, weight) in weights.iter().enumerate() {
                    write!(f, "{}{weight}", if at == 0 { '=' } else { ',' })?;
                }
                return Ok(());
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in [
            "auto",
            "spread",
            "least-busy",
            "round-robin",
            "random-two",
            "weighted=3,2,1",
            "ip-hash",
            "cookie=connect.sid",
            "kernel",
        ] {
            let policy: Policy = name.parse().unwrap();
            assert_eq!(policy.to_string(), name);
        }
    }

    #[test]
    fn what_is_no_policy_is_told_with_what_would_be_one() {
        let error = |text: &str| text.parse::<Policy>().unwrap_err().to_string();
        assert_eq!(
            error("rr"),
            "unknown balancing policy `rr` (one of: auto, spread, least-busy, round-robin, \
             random-two, weighted=3,1, ip-hash, cookie=NAME, kernel)"
        );
        assert_eq!(
            error("weighted=3,0"),
            "invalid weights `3,0` for the balancing policy `weighted` (like weighted=3,1: \
             whole numbers from 1, one for each worker)"
        );
        assert_eq!(
            error("cookie=a b"),
            "invalid cookie name `a b` for the balancing policy `cookie` (like cookie=session)"
        );
        for text in [
            "",
            "Auto",
            "auto=1",
            "weighted=",
            "weighted=1,",
            "weighted=-1",
            "weighted",
            "weighted=4294967296",
            "cookie=",
            "cookie",
            "cookie=a;b",
            "cookie=a=b",
        ] {
            assert!(text.parse::<Policy>().is_err(), "{text}");
        }
    }
}
