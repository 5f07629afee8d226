//! Where the result goes: tables or JSON, and files.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use procession::ipc::relay::screen_width;
use procession_load::{Report, Spec};
use serde_json::Value;

use super::cluster::Part;
use crate::args::Bench;
use crate::commands::say;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::render::bench::{self, Named, Screen, Shown};
use crate::render::{self, Paint};

/// What is written where.
#[derive(Debug)]
pub(super) struct Output<'b> {
    bench: &'b Bench,
    /// Standard output.
    screen: Screen,
    /// The line that is drawn on standard error while it runs.
    bottom: Option<Screen>,
}

impl<'b> Output<'b> {
    pub(super) fn new(bench: &'b Bench) -> Self {
        let is_quiet = bench.shown.no_progress || is_json_only(bench);
        Self {
            bench,
            screen: stdout_screen(bench),
            bottom: (!is_quiet).then(|| bottom_screen(bench)).flatten(),
        }
    }

    pub(super) fn bottom(&self) -> Option<&Screen> {
        self.bottom.as_ref()
    }

    /// Says on standard error what will be asked of whom.
    pub(super) fn begin(&self, spec: &Spec) {
        if is_json_only(self.bench) {
            return;
        }
        let mut stderr = io::stderr().lock();
        // The result does not depend on who reads this.
        let _ = stderr.write_all(bench::heading(spec).as_bytes());
    }

    /// Writes the result, and what the workers of a cluster got of it.
    pub(super) fn result(
        &self,
        spec: &Spec,
        report: &Report,
        part: Option<&Part>,
    ) -> Result<(), Failure> {
        let mut json = procession_load::json(report);
        if let (Some(part), Some(members)) = (part, json.as_object_mut()) {
            members.insert("cluster".into(), part.to_json());
        }
        let line = format!("{json}\n");
        if is_json_only(self.bench) {
            say(&line)?;
        } else {
            self.tables(report, part)?;
        }
        if let Some(file) = self
            .bench
            .shown
            .json
            .as_deref()
            .filter(|file| !is_stdout(file))
        {
            write(file, &line)?;
        }
        match &self.bench.shown.html {
            Some(file) => write(file, &bench::html(report, spec)),
            None => Ok(()),
        }
    }

    fn tables(&self, report: &Report, part: Option<&Part>) -> Result<(), Failure> {
        let shown = Shown {
            latency_table: self.bench.shown.latency,
            status_codes: self.bench.shown.render_status_codes,
        };
        let mut text = bench::tables(report, shown, &self.screen);
        if let Some(part) = part {
            text += &render::sections(&[part.section()], self.screen.paint);
        }
        say(&text)
    }
}

fn is_stdout(file: &Path) -> bool {
    file == Path::new("-")
}

fn is_json_only(bench: &Bench) -> bool {
    bench.shown.json.as_deref().is_some_and(is_stdout)
}

fn stdout_screen(bench: &Bench) -> Screen {
    let stdout = io::stdout();
    let width = screen_width(&stdout).filter(|_| stdout.is_terminal());
    let paint = if bench.shown.no_color {
        Paint::Plain
    } else {
        Paint::of_stdout()
    };
    Screen::new(paint, width)
}

/// A terminal that can take a line off again.
fn bottom_screen(bench: &Bench) -> Option<Screen> {
    let stderr = io::stderr();
    let is_smart = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
    let width = screen_width(&stderr).filter(|_| stderr.is_terminal() && is_smart)?;
    let paint = if bench.shown.no_color {
        Paint::Plain
    } else {
        Paint::of_stderr()
    };
    Some(Screen::new(paint, Some(width)))
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| {
        let message = format!("cannot write `{}`", file.display());
        let hint = "is there room where it goes?";
        Failure::new(Exit::Failure, message, hint).caused_by(&error)
    })
}

/// Writes two results of `--json` beside each other.
pub(super) fn compare(bench: &Bench, before: &Path, after: &Path) -> Result<(), Failure> {
    let (one, other) = (read(before)?, read(after)?);
    let (name, other_name) = (name_of(before), name_of(after));
    let named = |name, result| Named { name, result };
    let text = bench::compare(
        &named(&name, &one),
        &named(&other_name, &other),
        &stdout_screen(bench),
    );
    let text = text.map_err(|wrong| {
        let message = format!(
            "`{}` is no result of a load: it lacks `{}`",
            wrong.name, wrong.lacks
        );
        let hint = "`procession bench --json=FILE` writes one; autocannon's are understood too";
        Failure::new(Exit::Usage, message, hint)
    })?;
    say(&text)
}

fn name_of(file: &Path) -> String {
    file.display().to_string()
}

fn read(file: &Path) -> Result<Value, Failure> {
    let refused = |what: &str, error: &dyn std::error::Error| {
        let message = format!("{what} `{}`", file.display());
        let hint = "`procession bench --json=FILE` writes one";
        Failure::new(Exit::Usage, message, hint).caused_by(error)
    };
    let text = fs::read(file).map_err(|error| refused("cannot read", &error))?;
    serde_json::from_slice(&text).map_err(|error| refused("there is no JSON in", &error))
}
