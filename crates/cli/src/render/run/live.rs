//! The line at the bottom of a terminal.

use std::collections::HashMap;
use std::time::Duration;

use procession::cluster::{Phase, Status, WorkerId};

/// Takes the line off the screen.
pub(crate) const ERASE: &str = "\r\x1b[K";

/// What the line was made of the last time: shares are of what happened since.
#[derive(Debug, Default)]
pub(crate) struct Live {
    given: HashMap<WorkerId, u64>,
    cpu: HashMap<WorkerId, Duration>,
}

impl Live {
    /// The line, no longer than `width`: `2/2 ready | 812 conn/s | 1 restart | cpu 1: 52% 2: 48%`.
    ///
    /// Shares are of the connections that we handed over, or, while the kernel
    /// spreads them, of CPU time.
    pub(crate) fn line(&mut self, status: &Status, width: usize) -> String {
        let ready = status.workers.iter().filter(|w| w.phase == Phase::Ready);
        let mut parts = vec![format!("{}/{} ready", ready.count(), status.wanted)];
        let rates = status.listeners.iter().filter_map(|listener| listener.rate);
        parts.push(format!("{:.0} conn/s", rates.sum::<f64>()));
        match status.restarts {
            0 => {}
            1 => parts.push("1 restart".into()),
            many => parts.push(format!("{many} restarts")),
        }
        if status.gave_up {
            parts.push("gave up".into());
        }
        parts.extend(self.shares(status));
        let line = parts.join(" | ");
        line.chars().take(width).collect()
    }

    fn shares(&mut self, status: &Status) -> Option<String> {
        let given = status.workers.iter().map(|w| (w.worker, w.given)).collect();
        let given = since(&mut self.given, given, |now, before| {
            // Counts stay far below 2^53.
            #[expect(clippy::cast_precision_loss, reason = "a share on a screen")]
            let more = now.saturating_sub(before) as f64;
            more
        });
        let cpu = status
            .workers
            .iter()
            .filter_map(|w| Some((w.worker, w.cpu?)))
            .collect();
        let cpu = since(&mut self.cpu, cpu, |now, before| {
            now.saturating_sub(before).as_secs_f64()
        });
        share("connections", &given).or_else(|| share("cpu", &cpu))
    }
}

/// How much each has grown, in order; replaces what was before.
fn since<T: Copy + Default>(
    before: &mut HashMap<WorkerId, T>,
    now: HashMap<WorkerId, T>,
    growth: impl Fn(T, T) -> f64,
) -> Vec<(WorkerId, f64)> {
    let mut grown: Vec<_> = now
        .iter()
        .map(|(worker, value)| {
            let old = before.get(worker).copied().unwrap_or_default();
            (*worker, growth(*value, old))
        })
        .collect();
    grown.sort_unstable_by_key(|(worker, _)| *worker);
    *before = now;
    grown
}

fn share(of: &str, parts: &[(WorkerId, f64)]) -> Option<String> {
    let whole: f64 = parts.iter().map(|(_, part)| part).sum();
    if whole <= 0.0 || parts.len() < 2 {
        return None;
    }
    let parts = parts
        .iter()
        .map(|(worker, part)| format!(" {worker}: {:.0}%", part / whole * 100.0));
    Some(format!("{of}{}", parts.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_what_happened_since() {
        let (one, two) = (WorkerId(1), WorkerId(2));
        let growth = |now: u64, before: u64| (now - before) as f64;
        let mut before = HashMap::from([(one, 10)]);
        let grown = since(&mut before, [(two, 3), (one, 11)].into(), growth);
        assert_eq!(grown, [(one, 1.0), (two, 3.0)]);
        let line = share("cpu", &grown).unwrap();
        assert_eq!(line, "cpu 1: 25% 2: 75%");
        let still = since(&mut before, [(two, 3), (one, 11)].into(), growth);
        assert_eq!(share("cpu", &still), None);
    }
}
