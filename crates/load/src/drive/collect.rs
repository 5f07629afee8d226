//! What the threads counted, put together.

use std::collections::BTreeMap;
use std::time::Duration;

use super::core::Shared;
use super::worker::{Part, ThreadEnd};
use crate::tally::Tally;
use crate::{Event, Limit, Sample, Spec};

/// From this share of the time on a client that is at work may be the limit.
const NEARLY_ALL: f64 = 0.9;

/// What the threads counted.
#[derive(Debug)]
pub(super) struct Collect {
    /// How many parts each thread has sent; all there will be, when it has ended.
    heard: Vec<usize>,
    /// Intervals of which parts are missing, by number.
    open: BTreeMap<usize, Tally>,
    pub(super) total: Tally,
    pub(super) samples: Vec<Sample>,
    ends: Vec<ThreadEnd>,
}

impl Collect {
    pub(super) fn new(spec: &Spec) -> Self {
        Self {
            heard: vec![0; spec.threads],
            open: BTreeMap::new(),
            total: Tally::new(spec),
            samples: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Adds a part, and tells the intervals that are complete by it.
    pub(super) fn add(&mut self, part: Part, shared: &Shared) {
        let heard = &mut self.heard[part.thread];
        let number = *heard;
        *heard = match part.end {
            Some(_) => usize::MAX,
            None => number + 1,
        };
        self.ends.extend(part.end);
        self.total.merge(&part.tally);
        match self.open.get_mut(&number) {
            Some(tally) => tally.merge(&part.tally),
            None => drop(self.open.insert(number, part.tally)),
        }
        let complete = self.heard.iter().copied().min().unwrap_or_default();
        // When all threads have ended, the last interval ends with them.
        if complete == usize::MAX {
            self.close(shared);
        }
        while self
            .open
            .first_key_value()
            .is_some_and(|(number, _)| *number < complete)
        {
            if let Some((number, tally)) = self.open.pop_first() {
                let lasts = shared.plan.spec.sample;
                let at = lasts * u32::try_from(number + 1).unwrap_or(u32::MAX);
                self.tell(tally.sample(at, lasts), shared);
            }
        }
    }

    fn close(&mut self, shared: &Shared) {
        let lasts = shared.plan.spec.sample;
        while let Some((number, tally)) = self.open.pop_first() {
            let begin = lasts * u32::try_from(number).unwrap_or(u32::MAX);
            let (at, lasts) = if self.open.is_empty() {
                (self.duration(), self.duration().saturating_sub(begin))
            } else {
                (begin + lasts, lasts)
            };
            self.tell(tally.sample(at, lasts), shared);
        }
    }

    fn tell(&mut self, sample: Sample, shared: &Shared) {
        shared.events.tell(Event::Sample(sample.clone()));
        self.samples.push(sample);
    }

    /// When the last thread ended.
    pub(super) fn duration(&self) -> Duration {
        self.ends.iter().map(|end| end.at).max().unwrap_or_default()
    }

    /// How late the client itself was at most.
    pub(super) fn latest(&self) -> Duration {
        let latest = self.ends.iter().map(|end| end.latest);
        latest.max().unwrap_or_default()
    }

    /// Where the client may have set the figures.
    pub(super) fn limits(&self, spec: &Spec) -> Vec<Limit> {
        let threads = self.ends.len().min(spec.connections);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let sum = |of: fn(&ThreadEnd) -> Duration| {
            let sum: Duration = self.ends.iter().map(of).sum();
            sum.as_secs_f64() / self.duration().as_secs_f64()
        };
        let (used, waited) = (sum(|end| end.cpu), sum(|end| end.waited));
        let busy = used / threads.min(cores) as f64;
        let wanted = (used + waited) / threads as f64;
        let no_ports = self.ends.iter().map(|end| end.no_ports).sum();
        let no_descriptors = self.ends.iter().map(|end| end.no_descriptors).sum();
        let is_starved = busy < NEARLY_ALL && wanted >= NEARLY_ALL;
        [
            (busy >= NEARLY_ALL).then_some(Limit::Cpu(busy)),
            is_starved.then_some(Limit::Starved(waited / threads as f64)),
            (no_ports > 0).then_some(Limit::Ports(no_ports)),
            (no_descriptors > 0).then_some(Limit::Descriptors(no_descriptors)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::drive::events::Events;
    use crate::drive::limits::Limits;
    use crate::drive::plan::Plan;
    use crate::{Spec, Target};

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Two threads, an interval of 100 ms.
    fn shared() -> Shared {
        let mut spec = Spec::new(Target::parse("http://127.0.0.1:1").unwrap());
        (spec.threads, spec.sample) = (2, ms(100));
        Shared {
            limits: Arc::new(Limits::of(&spec)),
            plan: Arc::new(Plan::new(spec).unwrap()),
            halt: Arc::default(),
            events: Events::silent(),
            epoch: Instant::now(),
        }
    }

    fn end(at: Duration) -> ThreadEnd {
        ThreadEnd {
            at,
            cpu: ms(0),
            waited: ms(0),
            latest: ms(0),
            no_ports: 0,
            no_descriptors: 0,
        }
    }

    /// A part in which so many bytes came.
    fn part(shared: &Shared, thread: usize, bytes: u64, end: Option<ThreadEnd>) -> Part {
        let mut tally = Tally::new(&shared.plan.spec);
        tally.bytes = bytes;
        Part { thread, tally, end }
    }

    #[test]
    fn an_interval_is_told_when_all_threads_have_told_theirs() {
        let shared = shared();
        let mut collect = Collect::new(&shared.plan.spec);
        let mut add = |thread, bytes, at: Option<u64>| {
            let end = at.map(|at| end(ms(at)));
            collect.add(part(&shared, thread, bytes, end), &shared);
            let told = |sample: &Sample| (sample.at, sample.lasts, sample.bytes);
            collect.samples.iter().map(told).collect::<Vec<_>>()
        };
        assert_eq!(add(0, 1, None), []);
        assert_eq!(add(0, 10, None), []);
        let first = (ms(100), ms(100), 101);
        assert_eq!(add(1, 100, None), [first]);
        // The second thread has nothing to do any more; the first one goes on.
        let second = (ms(200), ms(100), 1010);
        assert_eq!(add(1, 1000, Some(110)), [first, second]);
        let third = (ms(300), ms(100), 10_000);
        assert_eq!(add(0, 10_000, None), [first, second, third]);
        let last = (ms(325), ms(25), 100_000);
        assert_eq!(add(0, 100_000, Some(325)), [first, second, third, last]);
        assert_eq!(
            (collect.total.bytes, collect.duration()),
            (111_111, ms(325))
        );
    }

    #[test]
    fn who_is_the_limit() {
        let shared = shared();
        let limits = |change: fn(&mut ThreadEnd)| {
            let mut collect = Collect::new(&shared.plan.spec);
            for thread in 0..2 {
                let mut end = end(ms(1000));
                change(&mut end);
                collect.add(part(&shared, thread, 0, Some(end)), &shared);
            }
            collect.limits(&shared.plan.spec)
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        assert_eq!(limits(|_| {}), []);
        assert_eq!(limits(|end| (end.cpu, end.waited) = (ms(300), ms(500))), []);
        assert_eq!(
            limits(|end| (end.no_ports, end.no_descriptors) = (1, 2)),
            [Limit::Ports(2), Limit::Descriptors(4)]
        );
        if cores >= 2 {
            assert_eq!(limits(|end| end.cpu = ms(950)), [Limit::Cpu(0.95)]);
            let starved = limits(|end| (end.cpu, end.waited) = (ms(250), ms(750)));
            assert_eq!(starved, [Limit::Starved(0.75)]);
        }
    }
}
