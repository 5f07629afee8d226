//! The line that is drawn anew while a load runs.

use std::time::Duration;

use procession_load::{Sample, Until};

use super::Screen;
use super::figures::{cut, plural, rate, took};
use super::screen::{Glyphs, portion};
use crate::render::Tone;

/// Cells of the bar.
const BAR: usize = 20;

/// How far a load is.
#[derive(Debug)]
pub(crate) struct Progress {
    until: Until,
    answers: u64,
    failures: u64,
    last: Option<Sample>,
}

impl Progress {
    pub(crate) fn new(until: Until) -> Self {
        Self {
            until,
            answers: 0,
            failures: 0,
            last: None,
        }
    }

    /// Another piece of the time line is there.
    pub(crate) fn add(&mut self, sample: &Sample) {
        self.answers += sample.answers;
        self.failures += sample.failures.values().sum::<u64>();
        self.last = Some(sample.clone());
    }

    /// The line, no longer than the screen is wide: `4.2 / 10 s  [████    ]  18,234 req/s  p99 1.2 ms  3 errors`.
    pub(crate) fn line(&self, elapsed: Duration, screen: &Screen) -> String {
        let mut parts = vec![self.way(elapsed)];
        if let Some(share) = self.share(elapsed) {
            parts.push(bar(share, screen.glyphs));
        }
        if let Some(last) = &self.last {
            #[expect(clippy::cast_precision_loss, reason = "a rate on a screen")]
            let answers = last.answers as f64;
            let seconds = last.lasts.as_secs_f64().max(1e-6);
            parts.push(format!("{} req/s", rate(answers / seconds)));
            parts.push(format!("p99 {}", took(last.p99, screen.glyphs)));
        }
        if self.failures > 0 {
            parts.push(plural(self.failures, "error", "errors"));
        }
        // The last column stays free: a cursor there wraps on some terminals.
        let line = cut(
            &parts.join("  "),
            screen.width.saturating_sub(1),
            screen.glyphs,
        );
        if self.failures > 0 {
            screen.paint.dress(Tone::Bad, &line)
        } else {
            line
        }
    }

    /// What is done, and of how much.
    fn way(&self, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64();
        match self.until {
            Until::Elapsed(whole) => {
                let whole = whole.as_secs_f64();
                format!("{:.1} / {whole} s", seconds.min(whole))
            }
            Until::Requests(whole) => {
                let done = super::figures::count(self.done());
                format!("{done} / {}", plural(whole.get(), "request", "requests"))
            }
            Until::Stopped => format!("{seconds:.1} s"),
        }
    }

    fn share(&self, elapsed: Duration) -> Option<f64> {
        match self.until {
            Until::Elapsed(whole) => Some(elapsed.as_secs_f64() / whole.as_secs_f64().max(1e-6)),
            Until::Requests(whole) => Some(super::figures::share(self.done(), whole.get())),
            Until::Stopped => None,
        }
    }

    fn done(&self) -> u64 {
        self.answers + self.failures
    }
}

fn bar(share: f64, glyphs: Glyphs) -> String {
    let bar = match portion(share, BAR) {
        0 => String::new(),
        _ => glyphs.bar(share, BAR),
    };
    format!("[{bar:BAR$}]")
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use procession_load::Class;

    use super::*;
    use crate::render::Paint;

    const SCREEN: Screen = Screen {
        paint: Paint::Plain,
        width: 80,
        glyphs: Glyphs::Ascii,
    };

    fn sample(failures: u64) -> Sample {
        Sample {
            at: Duration::from_secs(4),
            lasts: Duration::from_millis(500),
            answers: 9_117,
            bytes: 1,
            failures: [(Class::Reset, failures)].into(),
            p50: Duration::ZERO,
            p90: Duration::ZERO,
            p99: Duration::from_micros(1_234),
            max: Duration::ZERO,
        }
    }

    #[test]
    fn it_says_how_far_how_fast_and_what_failed() {
        let mut progress = Progress::new(Until::Elapsed(Duration::from_secs(10)));
        let elapsed = Duration::from_millis(4_200);
        let bar = "[########            ]";
        assert_eq!(
            progress.line(elapsed, &SCREEN),
            format!("4.2 / 10 s  {bar}")
        );
        progress.add(&sample(1));
        let line = format!("4.2 / 10 s  {bar}  18,234 req/s  p99 1.23 ms  1 error");
        assert_eq!(progress.line(elapsed, &SCREEN), line);
        let narrow = Screen {
            width: 24,
            ..SCREEN
        };
        assert_eq!(progress.line(elapsed, &narrow), "4.2 / 10 s  [######## ~");
        let late = progress.line(Duration::from_secs(11), &SCREEN);
        assert!(
            late.starts_with("10.0 / 10 s  [####################]"),
            "{late}"
        );
    }

    #[test]
    fn other_ends_than_a_time() {
        let mut progress = Progress::new(Until::Requests(NonZeroU64::new(18_236).unwrap()));
        progress.add(&sample(1));
        let line = progress.line(Duration::from_secs(1), &SCREEN);
        assert!(
            line.starts_with("9,118 / 18,236 requests  [##########          ]"),
            "{line}"
        );
        let mut progress = Progress::new(Until::Stopped);
        progress.add(&sample(0));
        let line = progress.line(Duration::from_secs(61), &SCREEN);
        assert_eq!(line, "61.0 s  18,234 req/s  p99 1.23 ms");
    }
}
