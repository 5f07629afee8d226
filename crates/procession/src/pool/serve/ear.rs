//! What the pool says, as orders.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use procession_core::ipc::Shape;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::ipc::{Blob, Handle};
use crate::pool::claims::Claims;
use crate::pool::line::{Line, Reader, Wait};
use crate::pool::payload;
use crate::pool::processes::chain;
use crate::pool::threads::words;
use crate::pool::wire::{FromWorker, ToWorker};
use crate::pool::worker::ServeError;

/// What is on its way in; whoever has it may read.
pub(super) struct Ear {
    reader: Reader,
    /// Tasks whose blobs have not come yet.
    parcels: Vec<(u64, Body)>,
}

type Body = (Bytes, Shape);

/// What the pool wants.
pub(super) enum Order<T> {
    /// A task will follow.
    Expect {
        id: u64,
    },
    Run {
        id: u64,
        task: Result<T, String>,
        claim: Option<u32>,
    },
    /// From now on tasks may have places in these.
    Claims(Claims),
    Cancel {
        id: u64,
    },
}

impl Ear {
    pub(super) fn new(line: &Line) -> Self {
        Self {
            reader: line.reader(),
            parcels: Vec::new(),
        }
    }

    /// Reads once; `false` at the end.
    pub(super) fn read<T: DeserializeOwned>(
        &mut self,
        line: &Line,
        wait: Wait,
        orders: &mut Vec<Order<T>>,
    ) -> Result<bool, ServeError> {
        let Self { reader, parcels } = self;
        reader.read(line, wait, |body, shape, handle| {
            orders.extend(understand(parcels, line, (body, shape), handle));
        })
    }
}

fn understand<T: DeserializeOwned>(
    parcels: &mut Vec<(u64, Body)>,
    line: &Line,
    body: Body,
    handle: Option<OwnedFd>,
) -> Option<Order<T>> {
    let (said, is_missing) = decode(line, &body, None);
    let reason = match said {
        Ok(ToWorker::Run { id, task, claim }) => {
            let task = Ok(task);
            return Some(Order::Run { id, task, claim });
        }
        Ok(ToWorker::Claims) => {
            let handle = Handle::UnixStream(handle?.into());
            // Without them nothing comes ahead.
            let claims = Claims::from_handle(handle).ok()?;
            line.say(&FromWorker::HasClaims);
            return Some(Order::Claims(claims));
        }
        Ok(ToWorker::Cancel { id }) => return Some(Order::Cancel { id }),
        Ok(ToWorker::Blob { id }) => return unpack(parcels, line, id, handle),
        Err(reason) => reason,
    };
    // A message that is none of ours is nothing to us.
    let shape = line.decode::<ToWorker<IgnoredAny>>(&body.0, body.1).ok()?;
    let ToWorker::Run { id, claim, .. } = shape else {
        return None;
    };
    if is_missing {
        parcels.push((id, body));
        return Some(Order::Expect { id });
    }
    let task = Err(format!("the task cannot be read: {reason}"));
    Some(Order::Run { id, task, claim })
}

/// The blob of a task that came before.
fn unpack<T: DeserializeOwned>(
    parcels: &mut Vec<(u64, Body)>,
    line: &Line,
    id: u64,
    handle: Option<OwnedFd>,
) -> Option<Order<T>> {
    let at = parcels.iter().position(|(own, _)| *own == id)?;
    let (_, body) = parcels.swap_remove(at);
    let blob = match handle {
        Some(fd) => Blob::from_handle(Handle::UnixStream(fd.into()), payload::MOST)
            .map_err(|error| chain(&error)),
        None => Err("the pool could not share it".to_owned()),
    };
    let said = blob.and_then(|blob| decode(line, &body, Some(blob)).0);
    let task = match said {
        Ok(ToWorker::Run { task, .. }) => Ok(task),
        Ok(ToWorker::Cancel { .. } | ToWorker::Blob { .. } | ToWorker::Claims) => return None,
        Err(reason) => Err(format!("the task cannot be read: {reason}")),
    };
    // With a blob none comes ahead.
    let claim = None;
    Some(Order::Run { id, task, claim })
}

/// Also says whether it is a blob that is missing.
fn decode<T: DeserializeOwned>(
    line: &Line,
    (body, shape): &Body,
    blob: Option<Blob>,
) -> (Result<ToWorker<T>, String>, bool) {
    // A user's code may panic, and the task is to fail for it, not the worker.
    let decode = AssertUnwindSafe(|| line.decode::<ToWorker<T>>(body, *shape));
    let (read, is_missing) = payload::read(blob, || catch_unwind(decode));
    let said = match read {
        Ok(said) => said.map_err(|error| chain(&error)),
        Err(panic) => Err(words(&*panic)),
    };
    (said, is_missing)
}
