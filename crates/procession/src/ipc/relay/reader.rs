//! One side's bytes as messages, or as what they are.

use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use procession_core::ipc::frame::{self, Framer};
use procession_core::ipc::handles::Arrivals;
use procession_core::ipc::internal::{self, Internal};
use procession_core::ipc::{Limits, Serialization, check};

use super::{Recoded, Seen, problem, recode};

/// Bun's mark before an internal message in `json`.
const BUN_MARK: u8 = 2;

/// What is to be passed on.
#[derive(Debug, Default)]
pub(super) struct Passed {
    pub(super) wire: Vec<u8>,
    pub(super) handle: Option<OwnedFd>,
    pub(super) seen: Option<Seen>,
}

/// Cuts what came into messages, and gives each the descriptor that is its own.
#[derive(Debug)]
pub(super) struct Reader {
    serialization: Serialization,
    framer: Framer,
    arrivals: Arrivals<OwnedFd>,
    /// Bytes that came, and those of them that were passed on.
    arrived: u64,
    consumed: u64,
    /// Whether there are messages to look for: not after a malformed one.
    raw: bool,
}

impl Reader {
    pub(super) fn new(serialization: Serialization) -> Self {
        let limits = Limits::default();
        Self {
            serialization,
            framer: Framer::new(serialization, limits.max_frame),
            arrivals: Arrivals::new(limits.max_pending_handles),
            arrived: 0,
            consumed: 0,
            raw: false,
        }
    }

    /// Takes what one read gave; `lost` when a descriptor was lost on the way.
    pub(super) fn received(
        &mut self,
        bytes: &[u8],
        handles: Vec<OwnedFd>,
        lost: bool,
    ) -> Vec<Passed> {
        if self.raw {
            return pass_raw(bytes, handles);
        }
        self.framer.feed(bytes);
        self.arrived += bytes.len() as u64;
        let lost = lost.then_some(None);
        for handle in handles.into_iter().map(Some).chain(lost) {
            self.arrivals.push(handle, self.arrived);
        }
        let mut passed = Vec::new();
        while let Some(next) = self.next() {
            passed.push(next);
        }
        passed
    }

    /// What is held of a message when no more will come.
    pub(super) fn end(&mut self) -> Passed {
        let rest = self.framer.buffer().split();
        Passed {
            seen: Some(Seen::End {
                partial: rest.len(),
            }),
            wire: rest.into(),
            handle: None,
        }
    }

    fn next(&mut self) -> Option<Passed> {
        if self.raw {
            return None;
        }
        match self.framer.next_frame() {
            Ok(Some(body)) => Some(self.frame(body)),
            Ok(None) if self.framer.is_bun() => Some(self.give_up(
                b"",
                "Bun's own `advanced` format, which is not Node's".into(),
            )),
            Ok(None) => None,
            Err(long) => Some(self.give_up(b"", long.to_string())),
        }
    }

    fn frame(&mut self, body: Bytes) -> Passed {
        let mut wire = Vec::with_capacity(body.len() + 4);
        frame::write(self.serialization, &body, &mut wire)
            .expect("a frame that was read is short enough to be written");
        let start = self.consumed;
        self.consumed += wire.len() as u64;
        let marked = self.serialization == Serialization::Json && body.first() == Some(&BUN_MARK);
        let body = if marked { body.slice(1..) } else { body };
        match check(self.serialization, &body) {
            Err(bad) => self.give_up(&wire, problem(&bad)),
            Ok(shape) => {
                let handle = self.claim(&body, shape.internal, start);
                let recoded = self.recode(&body, shape.internal);
                Passed {
                    seen: Some(Seen::Message {
                        handle: handle.as_ref().map(kind_of),
                        body,
                        recoded,
                    }),
                    wire,
                    handle,
                }
            }
        }
    }

    /// The descriptor of a message that says it has one. One that comes with
    /// any other is nobody's: left in the way, it would be taken for the next one's.
    fn claim(&mut self, body: &Bytes, internal: bool, start: u64) -> Option<OwnedFd> {
        if internal && self.is_hand_over(body) {
            return self.arrivals.claim(start);
        }
        self.arrivals.pass(start);
        None
    }

    fn is_hand_over(&self, body: &Bytes) -> bool {
        matches!(
            internal::parse(self.serialization, body),
            Ok(Internal::Handle(_))
        )
    }

    /// Written again twice: as the value it is and, if it is Node's own, as the order it is.
    fn recode(&self, body: &Bytes, internal: bool) -> Recoded {
        let recoded = recode(self.serialization, body);
        if !internal || recoded != Recoded::Same {
            return recoded;
        }
        match internal::parse(self.serialization, body) {
            // Its members are not known to us.
            Ok(Internal::Unknown { .. }) | Err(_) => recoded,
            Ok(message) => {
                let mut written = Vec::new();
                match internal::encode(self.serialization, &message, &mut written) {
                    Ok(()) if written == *body => recoded,
                    Ok(()) => Recoded::Differs(written.into()),
                    Err(error) => Recoded::Impossible(error.to_string()),
                }
            }
        }
    }

    /// From here on nothing is understood: the bytes and all that is held after them.
    fn give_up(&mut self, bytes: &[u8], problem: String) -> Passed {
        self.raw = true;
        let handle = self.arrivals.claim(0);
        let mut wire = bytes.to_vec();
        wire.extend_from_slice(&self.framer.buffer().split());
        let shown = if bytes.is_empty() { &wire } else { bytes };
        Passed {
            seen: Some(Seen::Malformed {
                bytes: Bytes::copy_from_slice(shown),
                problem,
            }),
            handle,
            wire,
        }
    }
}

/// Each descriptor goes with a byte of its own, for one write can take one along.
fn pass_raw(bytes: &[u8], handles: Vec<OwnedFd>) -> Vec<Passed> {
    let mut passed = Vec::new();
    let mut rest = bytes;
    for handle in handles {
        let Some((first, others)) = rest.split_at_checked(1) else {
            break;
        };
        passed.push(Passed {
            wire: first.to_vec(),
            handle: Some(handle),
            seen: None,
        });
        rest = others;
    }
    passed.push(Passed {
        wire: rest.to_vec(),
        handle: None,
        seen: Some(Seen::Raw {
            bytes: Bytes::copy_from_slice(bytes),
        }),
    });
    passed
}

fn kind_of(handle: &OwnedFd) -> String {
    procession_sys::fd_kind(handle.as_fd())
        .map_or_else(|error| error.to_string(), |kind| kind.to_string())
}
