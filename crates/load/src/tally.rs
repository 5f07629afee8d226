//! What a thread counts, and how counts become a [`Sample`] and the [`Report`].
//!
//! A thread counts into a tally of its own, and each sample interval swaps it for an empty one.
//! Whoever coordinates the threads merges what it gets, makes a sample of that, and merges it into
//! the sum. So a thread touches no more memory than it needs for an interval.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, SystemTime};

use crate::http1::Answer;
use crate::schedule::Latency;
use crate::{Class, Client, Histogram, Rate, Report, Sample, Seen, Spec};

/// No status is larger.
const STATUSES: usize = 1000;
/// How many pids are told apart: a body may begin with a number that is no pid.
const MOST_PIDS: usize = 4096;
/// Of how many pids latency is kept: a histogram is not small.
const PIDS_WITH_LATENCY: usize = 16;

/// What was counted.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Requests that were begun.
    pub(crate) sent: u64,
    /// Whole answers.
    pub(crate) answers: u64,
    /// Requests that were under way when it was over.
    pub(crate) unfinished: u64,
    /// Bytes read.
    pub(crate) bytes: u64,
    /// Connections made.
    pub(crate) connected: u64,
    /// Answers that are not 2xx have no latency and no bytes.
    exclude_errors: bool,
    /// Bytes of these.
    excluded: u64,
    raw: Histogram,
    /// `None` unless there is a rate.
    corrected: Option<Histogram>,
    /// By status: an array, because this is counted with each answer.
    statuses: Box<[u64]>,
    failures: BTreeMap<Class, Seen>,
    by_pid: BTreeMap<u32, u64>,
    pid_latency: BTreeMap<u32, Histogram>,
}

/// When a load was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    pub(crate) start: SystemTime,
    pub(crate) duration: Duration,
}

impl Tally {
    /// Nothing counted; for a spec whose latencies are corrected or not.
    pub(crate) fn new(spec: &Spec) -> Self {
        Self {
            sent: 0,
            answers: 0,
            unfinished: 0,
            bytes: 0,
            connected: 0,
            exclude_errors: spec.exclude_errors,
            excluded: 0,
            raw: Histogram::new(),
            corrected: is_corrected(spec).then(Histogram::new),
            statuses: vec![0; STATUSES].into(),
            failures: BTreeMap::new(),
            by_pid: BTreeMap::new(),
            pid_latency: BTreeMap::new(),
        }
    }

    /// Counts a whole answer, and its being wrong if it is.
    pub(crate) fn answer(&mut self, answer: &Answer, latency: Latency, at: Duration) {
        let status = answer.status;
        let is_good = (200..300).contains(&status);
        self.answers += 1;
        if let Some(count) = self.statuses.get_mut(usize::from(status)) {
            *count += 1;
        }
        if let Some(pid) = answer.pid {
            self.count_pid(pid, 1);
        }
        if is_good || !self.exclude_errors {
            self.latency(latency, answer.pid);
        } else {
            self.excluded += answer.bytes;
        }
        if !is_good {
            self.fail(Class::Non2xx, at, || format!("status {status}"));
        }
        if !answer.matches {
            let example = || format!("another body in an answer with status {status}");
            self.fail(Class::Mismatch, at, example);
        }
    }

    fn latency(&mut self, latency: Latency, pid: Option<u32>) {
        self.raw.record(latency.raw);
        if let Some(histogram) = pid.and_then(|pid| self.of_pid(pid)) {
            histogram.record(latency.raw);
        }
        if let (Some(histogram), Some(took)) = (&mut self.corrected, latency.corrected) {
            histogram.record(took);
        }
    }

    /// Counts a failure; `example` is asked for only the first time.
    pub(crate) fn fail(&mut self, class: Class, at: Duration, example: impl FnOnce() -> String) {
        match self.failures.get_mut(&class) {
            Some(seen) => {
                seen.count += 1;
                seen.first = seen.first.min(at);
                seen.last = seen.last.max(at);
            }
            None => {
                let seen = Seen {
                    count: 1,
                    first: at,
                    last: at,
                    example: example(),
                };
                self.failures.insert(class, seen);
            }
        }
    }

    /// Pids beyond the 4096th count as 0: a map that grows with each answer is a leak.
    fn count_pid(&mut self, pid: u32, count: u64) {
        if let Some(known) = self.by_pid.get_mut(&pid) {
            *known += count;
            return;
        }
        let others = usize::from(self.by_pid.contains_key(&0));
        let is_full = self.by_pid.len() - others >= MOST_PIDS;
        let pid = if is_full { 0 } else { pid };
        *self.by_pid.entry(pid).or_default() += count;
    }

    /// The latency of this pid, if it is kept.
    fn of_pid(&mut self, pid: u32) -> Option<&mut Histogram> {
        let is_kept = self.pid_latency.len() < PIDS_WITH_LATENCY;
        match self.pid_latency.entry(pid) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(new) => is_kept.then(|| new.insert(Histogram::coarse())),
        }
    }

    /// Adds what another counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.answers += other.answers;
        self.unfinished += other.unfinished;
        self.bytes += other.bytes;
        self.connected += other.connected;
        self.excluded += other.excluded;
        self.raw.merge(&other.raw);
        if let (Some(corrected), Some(other)) = (&mut self.corrected, &other.corrected) {
            corrected.merge(other);
        }
        for (count, other) in self.statuses.iter_mut().zip(&other.statuses) {
            *count += other;
        }
        for (class, seen) in &other.failures {
            self.merge_failure(*class, seen);
        }
        for (pid, count) in &other.by_pid {
            self.count_pid(*pid, *count);
        }
        for (pid, other) in &other.pid_latency {
            if let Some(histogram) = self.of_pid(*pid) {
                histogram.merge(other);
            }
        }
    }

    fn merge_failure(&mut self, class: Class, other: &Seen) {
        let Some(seen) = self.failures.get_mut(&class) else {
            self.failures.insert(class, other.clone());
            return;
        };
        if other.first < seen.first {
            seen.example.clone_from(&other.example);
        }
        seen.count += other.count;
        seen.first = seen.first.min(other.first);
        seen.last = seen.last.max(other.last);
    }

    /// This tally as a piece of the time line that ended at `at`.
    pub(crate) fn sample(&self, at: Duration, lasts: Duration) -> Sample {
        let latency = self.corrected.as_ref().unwrap_or(&self.raw);
        let failures = self.failures.iter();
        Sample {
            at,
            lasts,
            answers: self.answers,
            // An answer may have begun in the sample before.
            bytes: self.bytes.saturating_sub(self.excluded),
            failures: failures.map(|(class, seen)| (*class, seen.count)).collect(),
            p50: latency.percentile(50.0),
            p90: latency.percentile(90.0),
            p99: latency.percentile(99.0),
            max: latency.max(),
        }
    }

    /// This tally, the sum of all, as the report.
    pub(crate) fn report(
        self,
        spec: &Spec,
        ran: Ran,
        samples: Vec<Sample>,
        client: Client,
    ) -> Report {
        let statuses = (0..).zip(&self.statuses).filter(|(_, count)| **count > 0);
        let mut report = Report::new(spec, ran.start);
        report.duration = ran.duration;
        report.sent = self.sent;
        report.answers = self.answers;
        report.unfinished = self.unfinished;
        report.bytes = self.bytes.saturating_sub(self.excluded);
        report.connected = self.connected;
        report.statuses = statuses.map(|(status, count)| (status, *count)).collect();
        report.raw = self.raw;
        report.corrected = self.corrected;
        report.failures = self.failures;
        report.samples = samples;
        report.by_pid = self.by_pid;
        report.pid_latency = self.pid_latency;
        report.client = client;
        report
    }
}

fn is_corrected(spec: &Spec) -> bool {
    spec.correct && !matches!(spec.rate, Rate::Free)
}

#[cfg(test)]
mod tests {
    use std::mem;

    use proptest::prelude::*;

    use super::*;
    use crate::Target;

    fn spec(rate: Rate) -> Spec {
        let mut spec = Spec::new(Target::parse("http://127.0.0.1:1/").unwrap());
        spec.rate = rate;
        spec
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn answer(status: u16) -> Answer {
        Answer {
            status,
            keep_alive: true,
            pid: None,
            matches: true,
            bytes: 100,
        }
    }

    fn took(raw: u64, corrected: u64) -> Latency {
        Latency {
            raw: ms(raw),
            corrected: Some(ms(corrected)),
        }
    }

    fn report(tally: Tally, spec: &Spec) -> Report {
        let ran = Ran {
            start: SystemTime::UNIX_EPOCH,
            duration: ms(5),
        };
        tally.report(spec, ran, Vec::new(), Client::default())
    }

    #[test]
    fn answers_are_counted_by_what_they_are() {
        let spec = spec(Rate::Overall(1.0));
        let mut tally = Tally::new(&spec);
        tally.answer(&answer(200), took(1, 10), ms(1));
        tally.answer(&answer(503), took(2, 20), ms(2));
        let wrong = Answer {
            matches: false,
            pid: Some(7),
            ..answer(404)
        };
        tally.answer(&wrong, took(3, 30), ms(3));
        tally.fail(Class::Reset, ms(4), || "gone".into());
        let report = report(tally, &spec);
        assert_eq!(report.answers, 3);
        assert_eq!(report.statuses, [(200, 1), (404, 1), (503, 1)].into());
        assert_eq!(report.by_pid, [(7, 1)].into());
        let seen = |class| {
            let Seen {
                count,
                first,
                last,
                example,
            } = report.failures[&class].clone();
            (count, first, last, example)
        };
        assert_eq!(seen(Class::Non2xx), (2, ms(2), ms(3), "status 503".into()));
        let example = "another body in an answer with status 404";
        assert_eq!(seen(Class::Mismatch), (1, ms(3), ms(3), example.into()));
        assert_eq!(seen(Class::Reset), (1, ms(4), ms(4), "gone".into()));
        assert_eq!((report.raw.len(), report.raw.max() < ms(4)), (3, true));
        let corrected = report.corrected.unwrap();
        assert_eq!((corrected.len(), corrected.min() > ms(9)), (3, true));
        assert_eq!(report.duration, ms(5));
    }

    #[test]
    fn latency_is_corrected_only_under_a_rate() {
        let mut spec = spec(Rate::Free);
        let mut tally = Tally::new(&spec);
        tally.answer(&answer(200), took(1, 10), ms(1));
        assert!(tally.sample(ms(1), ms(1)).max < ms(2));
        assert!(report(tally, &spec).corrected.is_none());
        spec.rate = Rate::PerConnection(1.0);
        let mut tally = Tally::new(&spec);
        tally.answer(&answer(200), took(1, 10), ms(1));
        assert!(tally.sample(ms(1), ms(1)).max > ms(9));
        spec.correct = false;
        assert!(report(Tally::new(&spec), &spec).corrected.is_none());
    }

    #[test]
    fn errors_can_be_left_out_of_latency_and_bytes() {
        let mut spec = spec(Rate::Free);
        for (exclude, latencies, bytes) in [(false, 2, 200), (true, 1, 100)] {
            spec.exclude_errors = exclude;
            let mut tally = Tally::new(&spec);
            for status in [204, 500] {
                tally.bytes += 100;
                tally.answer(&answer(status), took(1, 1), ms(1));
            }
            assert_eq!(tally.sample(ms(1), ms(1)).bytes, bytes);
            let mut sum = Tally::new(&spec);
            sum.merge(&tally);
            let report = report(sum, &spec);
            assert_eq!(
                (report.raw.len(), report.bytes, report.answers),
                (latencies, bytes, 2)
            );
        }
    }

    #[test]
    fn a_body_that_begins_with_any_number_does_not_fill_the_memory() {
        let spec = spec(Rate::Free);
        let mut tally = Tally::new(&spec);
        let mut sum = Tally::new(&spec);
        for pid in 1..=10_000 {
            let numbered = Answer {
                pid: Some(pid),
                ..answer(200)
            };
            tally.answer(&numbered, took(1, 1), ms(1));
        }
        sum.merge(&tally);
        sum.merge(&tally);
        let by_pid = report(sum, &spec).by_pid;
        assert_eq!(by_pid.len(), MOST_PIDS + 1);
        assert_eq!((by_pid[&1], by_pid[&0]), (2, 2 * (10_000 - 4096)));
        assert_eq!(by_pid.values().sum::<u64>(), 20_000);
    }

    #[test]
    fn the_example_is_the_first_one_and_made_once() {
        let spec = spec(Rate::Free);
        let mut early = Tally::new(&spec);
        early.fail(Class::Hung, ms(3), || "early".into());
        early.fail(Class::Hung, ms(9), || unreachable!("there is one"));
        let mut late = Tally::new(&spec);
        late.fail(Class::Hung, ms(5), || "late".into());
        for (mut one, other) in [(early.clone(), &late), (late.clone(), &early)] {
            one.merge(other);
            let seen = Seen {
                count: 3,
                first: ms(3),
                last: ms(9),
                example: "early".into(),
            };
            assert_eq!(one.failures[&Class::Hung], seen);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Answer(u16, u64),
        Fail(Class),
        Sent(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (100_u16..1000, 0_u64..100).prop_map(|(status, took)| Step::Answer(status, took)),
            prop::sample::select(&Class::ALL[..]).prop_map(Step::Fail),
            (0_u64..9).prop_map(Step::Sent),
        ]
    }

    fn count(tally: &mut Tally, at: usize, step: &Step) {
        let at = ms(at as u64);
        match step {
            Step::Answer(status, millis) => {
                let pid = Some(u32::from(*status) % 5);
                tally.answer(
                    &Answer {
                        pid,
                        ..answer(*status)
                    },
                    took(*millis, millis * 2),
                    at,
                );
            }
            Step::Fail(class) => tally.fail(*class, at, || format!("{at:?}")),
            Step::Sent(count) => {
                tally.sent += count;
                tally.bytes += count * 1000;
                tally.connected += count / 2;
                tally.unfinished += count / 3;
            }
        }
    }

    proptest! {
        // Histograms are large.
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// However the steps are dealt out to threads and intervals, their sum is the same.
        #[test]
        fn tallies_merge_into_what_one_would_have_counted(
            steps in prop::collection::vec((step(), 0_usize..3, any::<bool>()), 0..60),
        ) {
            let mut spec = spec(Rate::Overall(1.0));
            spec.exclude_errors = true;
            let mut all = Tally::new(&spec);
            let mut threads = vec![Tally::new(&spec); 3];
            let mut sum = Tally::new(&spec);
            for (at, (step, thread, interval_ends)) in steps.iter().enumerate() {
                count(&mut all, at, step);
                count(&mut threads[*thread], at, step);
                if *interval_ends {
                    for thread in &mut threads {
                        sum.merge(&mem::replace(thread, Tally::new(&spec)));
                    }
                }
            }
            threads.iter().for_each(|thread| sum.merge(thread));
            prop_assert_eq!(sum.sample(ms(1), ms(1)), all.sample(ms(1), ms(1)));
            let (sum, all) = (report(sum, &spec), report(all, &spec));
            let counts = |r: &Report| (r.sent, r.answers, r.unfinished, r.bytes, r.connected);
            prop_assert_eq!(counts(&sum), counts(&all));
            prop_assert_eq!(&sum.statuses, &all.statuses);
            prop_assert_eq!(&sum.failures, &all.failures);
            prop_assert_eq!(&sum.by_pid, &all.by_pid);
            for (one, other) in [(&sum.raw, &all.raw), (sum.latency(), all.latency())] {
                prop_assert_eq!((one.len(), one.mean(), one.max()), (other.len(), other.mean(), other.max()));
            }
        }
    }
}
