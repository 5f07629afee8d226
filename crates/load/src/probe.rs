//! One connection to each target, before anything is asked of it.

use std::io;

use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::drive::Plan;
use crate::{Class, ProbeError, Spec, StartError};

/// Connects once to each target, TLS included, and sends no request. Blocks, for at most the
/// spec's time-out for each target; not to be called in a thread that runs a runtime.
///
/// # Errors
///
/// The first target that cannot be reached, and why.
pub fn probe(spec: &Spec) -> Result<(), ProbeError> {
    let plan = Plan::new(spec.clone())?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(StartError::Threads)?;
    for (number, target) in spec.targets.iter().enumerate() {
        let connected = async { timeout(spec.timeout, plan.connect(number)).await };
        let (class, source) = match runtime.block_on(connected) {
            Ok(Ok(())) => continue,
            Ok(Err(none)) => none,
            Err(_) => (Class::TimedOut, io::ErrorKind::TimedOut.into()),
        };
        return Err(error(class, target.url(spec.protocol), source));
    }
    Ok(())
}

fn error(class: Class, target: String, source: io::Error) -> ProbeError {
    if class == Class::Refused {
        ProbeError::Refused { target, source }
    } else if class == Class::Tls {
        ProbeError::Tls { target, source }
    } else {
        ProbeError::Unreachable { target, source }
    }
}
