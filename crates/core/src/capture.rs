//! What is kept of a stream, and what happens when there is too much.

/// What to do with output beyond the limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// End the child; the output up to the limit is kept (Node's `maxBuffer`).
    #[default]
    Fail,
    /// Keep the last bytes, let the child run.
    KeepTail,
    /// Keep the first bytes in memory and everything in a file, let the child run.
    Spill,
}

/// Says what to do with bytes that have arrived, and keeps count.
#[derive(Clone, Debug)]
pub struct Limit {
    bytes: usize,
    overflow: Overflow,
    seen: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Within,
    Over,
}

/// What to do about the bytes that were appended to the kept ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep them.
    Keep,
    /// Cut what is kept to this length and end the child.
    Fail {
        /// The limit.
        keep: usize,
    },
    /// Drop this many bytes from the front.
    DropFront(usize),
    /// Write what is kept to the file first if it is new, then the rest; cut to this length.
    Spill {
        /// Bytes of the kept ones that are not in the file yet start here.
        from: usize,
        /// The limit.
        keep: usize,
    },
}

impl Limit {
    /// Keeps up to `bytes`.
    #[must_use]
    pub fn new(bytes: usize, overflow: Overflow) -> Self {
        Self {
            bytes,
            overflow,
            seen: 0,
            state: State::Within,
        }
    }

    /// Judges `added` bytes that made the kept ones `kept` long.
    pub fn judge(&mut self, kept: usize, added: usize) -> Verdict {
        self.seen += added as u64;
        if self.state == State::Within && kept <= self.bytes {
            return Verdict::Keep;
        }
        let first = self.state == State::Within;
        self.state = State::Over;
        match self.overflow {
            Overflow::Fail => Verdict::Fail { keep: self.bytes },
            // Amortised: each byte is moved once for every limit's worth that passes.
            Overflow::KeepTail if kept >= self.bytes.saturating_mul(2) => {
                Verdict::DropFront(kept - self.bytes)
            }
            Overflow::KeepTail => Verdict::Keep,
            Overflow::Spill => {
                let from = if first { 0 } else { kept - added };
                Verdict::Spill {
                    from,
                    keep: self.bytes,
                }
            }
        }
    }

    /// How many of `kept` bytes have to go from the front at the end.
    #[must_use]
    pub fn surplus(&self, kept: usize) -> usize {
        kept.saturating_sub(self.bytes)
    }

    /// How many bytes have arrived, kept or not.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether there was too much.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// How many bytes may be kept at one time, but for those of the last read.
    #[must_use]
    pub fn most_kept(&self) -> usize {
        match self.overflow {
            Overflow::KeepTail => self.bytes.saturating_mul(2),
            Overflow::Fail | Overflow::Spill => self.bytes,
        }
    }

    /// The limit in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The longest prefix of at most `limit` bytes that does not cut a UTF-8 character.
///
/// Bytes that are no UTF-8 are cut at the limit.
#[must_use]
pub fn cut_at_character(bytes: &[u8], limit: usize) -> usize {
    if bytes.len() <= limit {
        return bytes.len();
    }
    let is_start = |byte: u8| byte & 0xC0 != 0x80;
    // A character has at most three bytes that are no start.
    (limit.saturating_sub(3)..=limit)
        .rev()
        .find(|at| is_start(bytes[*at]))
        .unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs chunks through a limit as a driver does; gives (kept, spilled, failed).
    fn run(chunks: &[Vec<u8>], bytes: usize, overflow: Overflow) -> (Vec<u8>, Vec<u8>, bool) {
        let tail = overflow == Overflow::KeepTail;
        let mut limit = Limit::new(bytes, overflow);
        let (mut kept, mut file) = (Vec::new(), Vec::new());
        for chunk in chunks {
            kept.extend_from_slice(chunk);
            match limit.judge(kept.len(), chunk.len()) {
                Verdict::Keep => {}
                Verdict::Fail { keep } => {
                    kept.truncate(keep);
                    return (kept, file, true);
                }
                Verdict::DropFront(count) => drop(kept.drain(..count)),
                Verdict::Spill { from, keep } => {
                    file.extend_from_slice(&kept[from..]);
                    kept.truncate(keep);
                }
            }
        }
        if tail {
            kept.drain(..limit.surplus(kept.len()));
        }
        (kept, file, false)
    }

    proptest! {
        #[test]
        fn each_policy_keeps_what_it_promises(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..12),
            bytes in 1_usize..20,
        ) {
            let whole: Vec<u8> = chunks.concat();
            let head = &whole[..bytes.min(whole.len())];
            let tail = &whole[whole.len().saturating_sub(bytes)..];

            let (kept, _, failed) = run(&chunks, bytes, Overflow::Fail);
            prop_assert_eq!(failed, whole.len() > bytes);
            prop_assert_eq!(&kept[..], head);

            let (kept, _, _) = run(&chunks, bytes, Overflow::KeepTail);
            prop_assert_eq!(&kept[..], tail);

            let (kept, file, _) = run(&chunks, bytes, Overflow::Spill);
            prop_assert_eq!(&kept[..], head);
            let expected = if whole.len() > bytes { &whole[..] } else { &[] };
            prop_assert_eq!(&file[..], expected);
        }

        #[test]
        fn a_cut_never_splits_a_character(text in "\\PC{0,20}", limit in 0_usize..40) {
            let cut = cut_at_character(text.as_bytes(), limit);
            prop_assert!(cut <= limit.max(text.len().min(limit)));
            prop_assert!(text.is_char_boundary(cut));
            prop_assert!(text.len() <= limit || limit - cut < 4);
        }
    }
}
