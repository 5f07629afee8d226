//! A load under the eyes of the oracle.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use procession::child_process::{Child, Command, Exit, Signal, Stdio, Verdict};
use procession_testkit::leaks::Oracle;
use procession_testkit::wait;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Answers with its process id.
pub(crate) const HELLO: &str = "
require('http').createServer((request, response) => response.end(String(process.pid)))
  .listen(0, '127.0.0.1');
";

const OUT: &str = "bench.out";
const ERR: &str = "bench.err";

/// A folder with files.
pub(crate) struct Stage {
    // Ends before the oracle looks.
    runtime: Option<Rc<Runtime>>,
    home: TempDir,
    oracle: Oracle,
}

/// What was seen of a run.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Seen {
    /// The result, where that was asked for as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }
}

impl Stage {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let oracle = Oracle::start();
        let home = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(home.path().join(name), text).unwrap();
        }
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self {
            runtime: Some(Rc::new(runtime)),
            home,
            oracle,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        text(&self.path(name))
    }

    /// `procession WORDS`, in the folder.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.like(&Command::new(env!("CARGO_BIN_EXE_procession")));
        command.args(words);
        command
    }

    /// The command in the folder, with a time-out, and without what would change the result.
    pub(crate) fn like(&self, command: &Command) -> Command {
        let mut command = command.clone();
        command.timeout(wait::LIMIT);
        command.current_dir(self.home.path());
        command.envs([self.oracle.tag()]);
        for name in ["NODE_OPTIONS", "PORT", "NO_COLOR"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs `procession bench WORDS` to its end.
    pub(crate) fn bench(&self, words: &[&str]) -> Seen {
        self.see(&self.command(&[&["bench"], words].concat()))
    }

    #[track_caller]
    pub(crate) fn see(&self, command: &Command) -> Seen {
        let outcome = command.outcome_blocking().unwrap();
        assert_eq!(outcome.verdict, Verdict::Finished, "{outcome:?}");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Seen {
            code: outcome.exit.code(),
            out: text(&outcome.stdout),
            err: text(&outcome.stderr),
        }
    }

    /// Starts it, with its output in files.
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        let mut command = self.command(words);
        command
            .stdout(Stdio::write(self.path(OUT)))
            .stderr(Stdio::write(self.path(ERR)));
        let runtime = Rc::clone(self.runtime.as_ref().unwrap());
        let child = runtime.block_on(async { command.spawn() }).unwrap();
        Running {
            child: Some((child, runtime)),
            out: self.path(OUT),
            err: self.path(ERR),
        }
    }

    /// Nothing is left.
    pub(crate) fn end(mut self) {
        drop(self.runtime.take());
        self.oracle.check();
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// One that runs.
pub(crate) struct Running {
    /// Until it was waited for.
    child: Option<(Child, Rc<Runtime>)>,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    /// Waits until this was written to standard error; gives the line.
    pub(crate) fn said(&self, part: &str) -> String {
        wait::until(part, || {
            let err = text(&self.err);
            let mut lines = err.lines();
            lines.find(|line| line.contains(part)).map(str::to_owned)
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let (child, _) = self.child.as_ref().unwrap();
        child.signal(signal).unwrap();
    }

    /// Whether it is there still.
    pub(crate) fn runs(&self) -> bool {
        let (child, _) = self.child.as_ref().unwrap();
        child.try_wait().unwrap().is_none()
    }

    pub(crate) fn wait(mut self) -> Seen {
        let (mut child, runtime) = self.child.take().unwrap();
        let wait = async { tokio::time::timeout(wait::LIMIT, child.wait()).await };
        let ended = runtime.block_on(wait);
        let Ok(exit) = ended else {
            let _ = child.kill();
            panic!("it does not end: {}", text(&self.err));
        };
        Seen {
            code: exit.map(Exit::shell_code).ok(),
            out: text(&self.out),
            err: text(&self.err),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some((mut child, runtime)) = self.child.take() else {
            return;
        };
        // A test has failed: politely, so that what is below ends too.
        let _ = child.signal(Signal::TERM);
        let wait = async { tokio::time::timeout(wait::LIMIT, child.wait()).await };
        if runtime.block_on(wait).is_err() {
            let _ = child.kill();
        }
    }
}
