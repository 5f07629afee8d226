//! When a request is due, and what its wait was worth.
//!
//! A client that waits for an answer before it asks again is kept by a stalling server from
//! asking, and so never measures the stall (*coordinated omission*). Under a [`Rate`] each request
//! has a time when it is due; if the connection is not free then, its latency counts from that
//! time.
//!
//! A request can also be late because the client itself was: its timer is coarse, its thread had
//! no core. That is not the server's, and is counted apart.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Rate;

/// The requests of one of the connections that are open at a time, and of its successors.
///
/// All times are since the start of the load.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// None: a request is due as soon as there is room.
    due: Option<Due>,
    /// How many were sent or skipped.
    sent: u64,
    /// The room in the pipeline, in the order in which it came to be.
    room: VecDeque<Room>,
    /// How late the client itself was at most.
    latest: Duration,
}

/// Request `k` is due `first + k * interval` after the start, in seconds.
#[derive(Clone, Copy, Debug)]
struct Due {
    first: f64,
    interval: f64,
}

/// Room for one request.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// Since when it would be there, had the client not been late.
    since: Duration,
    /// How late that is behind the schedule by the client's own fault.
    late: Duration,
}

/// A request that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// When.
    pub(crate) at: Duration,
    /// What its corrected latency counts from.
    from: Duration,
    late: Duration,
}

/// How long an answer took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latency {
    /// From when the request was sent.
    pub(crate) raw: Duration,
    /// From when it was due, if the connection was not free then; under a rate.
    pub(crate) corrected: Option<Duration>,
}

impl Schedule {
    /// The schedule of `connection` (from 0) of so many, which has `pipelining` requests in
    /// flight at most. The connections' requests alternate.
    pub(crate) fn new(
        rate: Rate,
        connection: usize,
        connections: usize,
        pipelining: usize,
    ) -> Self {
        let all = connections.max(1) as f64;
        let overall = match rate {
            Rate::Free => None,
            Rate::PerConnection(each) => Some(each * all),
            Rate::Overall(overall) => Some(overall),
        };
        let now = Room {
            since: Duration::ZERO,
            late: Duration::ZERO,
        };
        Self {
            due: overall.map(|rate| Due {
                first: connection as f64 / rate,
                interval: all / rate,
            }),
            sent: 0,
            room: VecDeque::from(vec![now; pipelining.max(1)]),
            latest: Duration::ZERO,
        }
    }

    /// When the next request is to be sent; `None`: there is no room, an answer must come first.
    /// Under [`Rate::Free`] that is at once.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.room.front()?;
        Some(self.next_due().unwrap_or_default())
    }

    fn next_due(&self) -> Option<Duration> {
        let Due { first, interval } = self.due?;
        let seconds = first + self.sent as f64 * interval;
        // A rate of nothing: never.
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// The next request is sent.
    pub(crate) fn send(&mut self, now: Duration) -> Sent {
        let due = self.next_due();
        self.sent += 1;
        let room = self.room.pop_front();
        let (Some(due), Some(room)) = (due, room) else {
            return Sent {
                at: now,
                from: now,
                late: Duration::ZERO,
            };
        };
        let late = if room.since <= due {
            // The connection was free, so all the delay is the client's.
            let late = now.saturating_sub(due);
            self.latest = self.latest.max(late);
            late
        } else {
            room.late
        };
        Sent {
            at: now,
            from: due.saturating_add(late).min(now),
            late,
        }
    }

    /// Its answer is whole.
    pub(crate) fn answer(&mut self, sent: Sent, now: Duration) -> Latency {
        self.give_room(sent, now);
        Latency {
            raw: now.saturating_sub(sent.at),
            corrected: self.due.map(|_| now.saturating_sub(sent.from)),
        }
    }

    /// It will not be answered. If the connection is lost, this is to be said of all that it had in
    /// flight, and [`connect`](Self::connect) when another is made.
    pub(crate) fn fail(&mut self, sent: Sent, now: Duration) {
        self.give_room(sent, now);
    }

    fn give_room(&mut self, sent: Sent, now: Duration) {
        self.room.push_back(Room {
            since: now.saturating_sub(sent.late),
            late: sent.late,
        });
    }

    /// The client has come to the next request, and begins a connection for it. If it could have
    /// done so when that was due, all the delay is its own.
    pub(crate) fn wake(&mut self, now: Duration) {
        let (Some(due), Some(room)) = (self.next_due(), self.room.front_mut()) else {
            return;
        };
        if room.since <= due {
            room.late = now.saturating_sub(due);
            self.latest = self.latest.max(room.late);
        }
    }

    /// A connection was made: until now there was none to send on, and that was the server's doing.
    pub(crate) fn connect(&mut self, now: Duration) {
        for room in &mut self.room {
            room.since = now.saturating_sub(room.late);
        }
    }

    /// The next request failed before it was sent: there is no connection for it.
    pub(crate) fn skip(&mut self) {
        self.sent += 1;
    }

    /// How late the client itself sent what was due, at most, while the connection was free.
    pub(crate) fn latest(&self) -> Duration {
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Histogram;

    const MS: Duration = Duration::from_millis(1);

    fn ms(count: u32) -> Duration {
        MS * count
    }

    /// Sends what is due on each connection, in virtual time, until `end`.
    ///
    /// `awake` says when a client that wants to send at a time comes to it; `serve` says when the
    /// answer is there to what a connection sends at a time.
    fn simulate(
        schedules: &mut [Schedule],
        end: Duration,
        awake: impl Fn(Duration) -> Duration,
        mut serve: impl FnMut(usize, Duration) -> Duration,
    ) -> Vec<Latency> {
        let mut free = vec![Duration::ZERO; schedules.len()];
        let mut latencies = Vec::new();
        loop {
            let next = schedules.iter().zip(&free).enumerate();
            let next = next.map(|(i, (schedule, free))| {
                let due = schedule.next().unwrap();
                // An answer wakes the client, too.
                (if due >= *free { awake(due) } else { *free }, due, i)
            });
            let (at, due, i) = next.min().unwrap();
            if due >= end {
                return latencies;
            }
            let sent = schedules[i].send(at);
            free[i] = serve(i, at);
            latencies.push(schedules[i].answer(sent, free[i]));
        }
    }

    fn schedules(rate: Rate, connections: usize) -> Vec<Schedule> {
        let schedule = |i| Schedule::new(rate, i, connections, 1);
        (0..connections).map(schedule).collect()
    }

    /// Serves in order, 1 ms each, but nothing from 4 s to 6 s.
    fn stalls(free: &mut Duration, at: Duration) -> Duration {
        let begin = at.max(*free);
        let stall = ms(4000)..ms(6000);
        let begin = if stall.contains(&begin) {
            stall.end
        } else {
            begin
        };
        *free = begin + MS;
        *free
    }

    fn histogram(latencies: impl IntoIterator<Item = Duration>) -> Histogram {
        let mut histogram = Histogram::new();
        latencies
            .into_iter()
            .for_each(|took| histogram.record(took));
        histogram
    }

    fn close_to(found: Duration, expected: Duration) {
        let off = found.abs_diff(expected).as_secs_f64() / expected.as_secs_f64();
        assert!(off < 0.01, "{found:?} instead of {expected:?}");
    }

    /// 1000 requests in 10 s, one each 10 ms. The stall keeps request j (from 4 s on) until
    /// 6 s + (j + 1) ms, while it was due at 4 s + 10 j ms: it took 2001 - 9 j ms. That is more
    /// than 1 ms until j = 222. So 777 requests took 1 ms, and then come 3, 12, …, 2001 ms: the
    /// n-th of a thousand took 2001 - 9 * (1000 - n) ms.
    #[test]
    fn a_stall_is_seen_by_all_who_would_have_asked_in_it() {
        for connections in [1_u32, 4, 10] {
            let mut server = Duration::ZERO;
            let latencies = simulate(
                &mut schedules(Rate::Overall(100.0), connections as usize),
                ms(10_000),
                |due| due,
                |_, at| stalls(&mut server, at),
            );
            assert_eq!(latencies.len(), 1000);
            let corrected = histogram(latencies.iter().map(|l| l.corrected.unwrap()));
            for (percentile, took) in [
                (50.0, 1),
                (77.7, 1),
                (77.8, 3),
                (90.0, 1101),
                (95.0, 1551),
                (99.0, 1911),
                (99.9, 1992),
                (100.0, 2001),
            ] {
                close_to(corrected.percentile(percentile), ms(took));
            }
            close_to(corrected.mean(), Duration::from_secs_f64(0.224_223));
            assert_eq!(corrected.between(MS * 2, ms(3000)), 223);
            // Raw, a stall is seen once by each connection.
            let raw = histogram(latencies.iter().map(|l| l.raw));
            assert_eq!(raw.between(ms(1900), ms(3000)), u64::from(connections));
            // In the queue after it, each waits for one of each other connection.
            close_to(raw.percentile(90.0), ms(connections));
        }
    }

    /// Each connection is served for itself: on connection i of 4 the m-th request after 4 s is
    /// due at 4 s + 40 m + 10 i ms and answered at 6 s + (m + 1) ms.
    #[test]
    fn connections_wait_for_their_own_answers_only() {
        let mut servers = [Duration::ZERO; 4];
        let latencies = simulate(
            &mut schedules(Rate::PerConnection(25.0), 4),
            ms(10_000),
            |due| due,
            |i, at| stalls(&mut servers[i], at),
        );
        let waits = (0..4).flat_map(|i| (0..52).map(move |m| 2001 - 39 * m - 10 * i));
        let mut expected: Vec<_> = waits.filter(|took| *took > 1).collect();
        expected.resize(1000, 1);
        expected.sort_unstable();
        let mut corrected: Vec<_> = latencies.iter().filter_map(|l| l.corrected).collect();
        corrected.sort_unstable();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|took| ms(u32::try_from(took).unwrap()))
            .collect();
        for (found, expected) in corrected.iter().zip(&expected) {
            assert!(
                found.abs_diff(*expected) < Duration::from_micros(1),
                "{found:?} {expected:?}"
            );
        }
    }

    /// A timer of 1 ms and a request due each 100 µs: ten are late in a row, the last nine because
    /// the first one was. The server needs 50 µs for each.
    #[test]
    fn the_own_lateness_of_the_client_is_no_latency() {
        let service = Duration::from_micros(50);
        let mut all = schedules(Rate::Overall(10_000.0), 1);
        let tick = |due: Duration| ms(u32::try_from(due.as_nanos().div_ceil(1_000_000)).unwrap());
        let latencies = simulate(&mut all, ms(100), tick, |_, at| at + service);
        assert_eq!(latencies.len(), 1000);
        for latency in latencies {
            assert_eq!((latency.raw, latency.corrected), (service, Some(service)));
        }
        assert!(all[0].latest() > Duration::from_micros(800) && all[0].latest() <= MS);
    }

    /// A request a connection: due at 10 ms, the client wakes at 15 ms, is connected at 17 ms and
    /// answered at 20 ms. The server took 5 ms of that.
    #[test]
    fn a_connection_that_is_begun_late_is_not_the_servers_fault() {
        let mut schedule = Schedule::new(Rate::Overall(100.0), 0, 1, 1);
        let sent = schedule.send(Duration::ZERO);
        schedule.answer(sent, MS);
        schedule.wake(ms(15));
        schedule.connect(ms(17));
        let sent = schedule.send(ms(17));
        let latency = schedule.answer(sent, ms(20));
        assert_eq!((latency.raw, latency.corrected), (ms(3), Some(ms(5))));
        assert_eq!(schedule.latest(), ms(5));
    }

    /// 2000 requests a second of 1 ms each: every one waits half a millisecond longer. That the
    /// client was 10 ms late at first is in none of them.
    #[test]
    fn a_backlog_is_the_servers_but_for_what_the_client_was_late() {
        for late in [0, 10] {
            let mut all = schedules(Rate::Overall(2000.0), 1);
            let latencies = simulate(&mut all, ms(100), |due| due + ms(late), |_, at| at + MS);
            for (k, latency) in latencies.iter().enumerate() {
                let waited = Duration::from_micros(500) * u32::try_from(k).unwrap();
                assert_eq!(latency.corrected, Some(MS + waited), "request {k}");
            }
        }
    }

    /// The client sleeps for 50 ms, and while it catches up the server stalls. Had it been awake,
    /// request 2 would have been sent at 20 ms and answered at 120 ms, and request 3, due at
    /// 30 ms, at 121 ms.
    #[test]
    fn a_stall_counts_in_full_while_the_client_catches_up() {
        let mut schedule = Schedule::new(Rate::Overall(100.0), 0, 1, 1);
        let mut corrected = Vec::new();
        for (at, answered) in [(50, 51), (51, 52), (52, 152), (152, 153)] {
            let sent = schedule.send(ms(at));
            corrected.extend(schedule.answer(sent, ms(answered)).corrected);
        }
        assert_eq!(corrected, [ms(1), ms(1), ms(100), ms(91)]);
        assert_eq!(schedule.latest(), ms(50));
    }

    #[test]
    fn requests_are_spread_over_connections() {
        let due = |rate, i, pipelining| {
            let mut schedule = Schedule::new(rate, i, 4, pipelining);
            let due = std::iter::repeat_with(|| {
                let due = schedule.next().unwrap();
                let sent = schedule.send(due);
                schedule.answer(sent, due);
                due
            });
            due.take(3).collect::<Vec<_>>()
        };
        for rate in [Rate::Overall(100.0), Rate::PerConnection(25.0)] {
            assert_eq!(due(rate, 0, 1), [ms(0), ms(40), ms(80)]);
            assert_eq!(due(rate, 3, 2), [ms(30), ms(70), ms(110)]);
        }
        assert_eq!(due(Rate::Free, 3, 1), [ms(0); 3]);
    }

    #[test]
    fn a_pipeline_has_room_for_so_many() {
        let mut schedule = Schedule::new(Rate::Free, 0, 1, 2);
        let first = schedule.send(ms(1));
        let second = schedule.send(ms(2));
        assert_eq!(schedule.next(), None);
        let latency = schedule.answer(first, ms(5));
        assert_eq!((latency.raw, latency.corrected), (ms(4), None));
        assert!(schedule.next().is_some());
        schedule.fail(second, ms(6));
        schedule.send(ms(6));
        assert!(schedule.next().is_some());
    }

    #[test]
    fn what_was_due_while_there_was_no_connection_counts_from_then() {
        let mut schedule = Schedule::new(Rate::Overall(10.0), 0, 1, 1);
        let sent = schedule.send(ms(0));
        schedule.fail(sent, ms(10));
        // One that was due meanwhile is given up: nobody listened.
        assert_eq!(schedule.next(), Some(ms(100)));
        schedule.skip();
        assert_eq!(schedule.next(), Some(ms(200)));
        schedule.connect(ms(500));
        let sent = schedule.send(ms(500));
        let latency = schedule.answer(sent, ms(501));
        assert_eq!((latency.raw, latency.corrected), (ms(1), Some(ms(301))));
        assert_eq!(schedule.latest(), Duration::ZERO);
    }

    #[test]
    fn a_rate_that_is_none_is_never_due() {
        for rate in [0.0, -1.0, f64::NAN, f64::MIN_POSITIVE] {
            let mut schedule = Schedule::new(Rate::PerConnection(rate), 1, 2, 1);
            assert_eq!(schedule.next(), Some(Duration::MAX), "{rate}");
            schedule.send(ms(1));
        }
        let schedule = Schedule::new(Rate::Overall(f64::INFINITY), 1, 2, 1);
        assert_eq!(schedule.next(), Some(Duration::ZERO));
    }
}
