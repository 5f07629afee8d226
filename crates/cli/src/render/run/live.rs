//! The line at the bottom of a terminal.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use procession::cluster::{Phase, Status, WorkerId};

/// Takes the line off the screen.
pub(crate) const ERASE: &str = "\r\x1b[K";

/// What the line was made of the last time: shares are of what happened since.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pace: Pace,
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
        parts.extend(self.rate(status).map(|rate| format!("{rate:.0} conn/s")));
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

    /// New connections a second; `None` where nobody counts them, since the workers accept.
    fn rate(&mut self, status: &Status) -> Option<f64> {
        let mut known = None;
        let mut accepted = 0;
        for listener in &status.listeners {
            match listener.rate {
                Some(rate) => *known.get_or_insert(0.0) += rate,
                None => accepted += listener.accepted,
            }
        }
        let counted = self.pace.rate(status.up, accepted);
        if accepted > 0 || known.is_some() {
            Some(known.unwrap_or(0.0) + counted)
        } else {
            None
        }
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

/// How fast a count grows, over about the last second.
#[derive(Debug, Default)]
struct Pace {
    /// When it was what; the first is a second old, if there is one that old.
    seen: VecDeque<(Duration, u64)>,
}

impl Pace {
    fn rate(&mut self, now: Duration, count: u64) -> f64 {
        const OVER: Duration = Duration::from_secs(1);
        self.seen.push_back((now, count));
        while self.seen.get(1).is_some_and(|(at, _)| *at + OVER <= now) {
            self.seen.pop_front();
        }
        let (at, before) = self.seen[0];
        let seconds = now.saturating_sub(at).as_secs_f64();
        // A listener that was closed takes its count along.
        #[expect(clippy::cast_precision_loss, reason = "a rate on a screen")]
        let more = count.saturating_sub(before) as f64;
        if seconds > 0.0 { more / seconds } else { 0.0 }
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
    fn a_rate_is_of_the_last_second() {
        let mut pace = Pace::default();
        let mut rate = |ms: u64, count| pace.rate(Duration::from_millis(ms), count);
        assert_eq!(rate(0, 500), 0.0, "when those came is not known");
        assert_eq!(rate(250, 550), 200.0);
        assert_eq!(rate(1000, 600), 100.0);
        assert_eq!(rate(1250, 650), 100.0);
        assert_eq!(rate(9000, 650), 0.0);
        assert_eq!(rate(9250, 0), 0.0, "its listener was closed");
        let steps = (0..10_000).map(|step| rate(10_000 + step * 250, step * 10));
        assert_eq!(steps.last(), Some(40.0));
        assert!(pace.seen.len() < 8, "{}", pace.seen.len());
    }

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
