//! A run under the eyes of the oracle.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use procession::child_process::{Child, Command, Exit, Outcome, Signal, Stdio};
use procession_testkit::leaks::Oracle;
use procession_testkit::wait;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};

/// Answers with its process id.
pub(crate) const HELLO: &str = "
require('http').createServer((request, response) => response.end(String(process.pid)))
  .listen(process.env.PORT || 0, '127.0.0.1');
";

/// Nobody, as most systems call it.
pub(crate) const NOBODY: u32 = 65_534;

/// The files of a run.
const OUT: &str = "run.out";
const ERR: &str = "run.err";

/// A folder with programs.
pub(crate) struct Stage {
    // Ends before the oracle looks.
    runtime: Option<Rc<Runtime>>,
    home: TempDir,
    oracle: Oracle,
}

/// A `procession run` that runs, and the files that it writes to.
pub(crate) struct Running {
    /// Until it was waited for.
    child: Option<(Child, Rc<Runtime>)>,
    pid: u32,
    home: PathBuf,
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

    /// What is in a file by now.
    pub(crate) fn text(&self, name: &str) -> String {
        text(&self.path(name))
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// `procession WORDS`, in the folder.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_procession"));
        command.args(words).timeout(wait::LIMIT);
        self.prepare(&mut command);
        command
    }

    /// Lets other users in, with a copy of the program: the test's own may lie where
    /// nobody may look.
    pub(crate) fn open_to_all(&self) {
        // Whoever is started here may make files.
        fs::set_permissions(self.home.path(), PermissionsExt::from_mode(0o777)).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_procession"), self.path("procession")).unwrap();
    }

    /// `procession WORDS` by that user, in a folder that is open to all.
    pub(crate) fn command_by(&self, user: u32, words: &[&str]) -> Command {
        let mut command = Command::new(self.path("procession"));
        command.args(words).timeout(wait::LIMIT);
        if user != own_user() {
            command.uid(user).gid(user);
        }
        self.prepare(&mut command);
        command
    }

    /// For a command that starts one.
    pub(crate) fn prepare<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.current_dir(self.home.path());
        command.envs([self.oracle.tag()]);
        for name in ["NODE_OPTIONS", "PORT", "NO_COLOR"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs it to its end; gives the code, standard output and standard error.
    pub(crate) fn screen(&self, words: &[&str]) -> (Option<i32>, String, String) {
        seen(&self.command(words).outcome_blocking().unwrap())
    }

    /// Starts `procession run WORDS`.
    pub(crate) fn run(&self, words: &[&str]) -> Running {
        let words = [&["run"][..], words].concat();
        self.start(&mut self.command(&words))
    }

    /// Starts it, with its output in files.
    pub(crate) fn start(&self, command: &mut Command) -> Running {
        let out = Stdio::write(self.path(OUT));
        self.start_to(command, out)
    }

    /// Starts it, with standard output somewhere else.
    pub(crate) fn start_to(&self, command: &mut Command, out: Stdio) -> Running {
        command.stdout(out).stderr(Stdio::write(self.path(ERR)));
        let runtime = Rc::clone(self.runtime.as_ref().unwrap());
        let child = runtime.block_on(async { command.spawn() }).unwrap();
        Running {
            pid: child.id(),
            child: Some((child, runtime)),
            home: self.home.path().to_owned(),
        }
    }

    /// Nothing is left.
    pub(crate) fn end(mut self) {
        drop(self.runtime.take());
        self.oracle.check();
    }
}

/// Who runs the tests; 0 is root, who can be anybody.
pub(crate) fn own_user() -> u32 {
    fs::metadata("/proc/self").unwrap().uid()
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

pub(crate) fn seen(outcome: &Outcome) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        outcome.exit.code(),
        text(&outcome.stdout),
        text(&outcome.stderr),
    )
}

impl Running {
    pub(crate) fn out(&self) -> String {
        text(&self.home.join(OUT))
    }

    pub(crate) fn err(&self) -> String {
        text(&self.home.join(ERR))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until a line of standard error holds this; gives the line.
    pub(crate) fn said(&self, text: &str) -> String {
        let _shown = ShownOnPanic(self);
        wait::until(text, || {
            let err = self.err();
            err.lines()
                .find(|line| line.contains(text))
                .map(str::to_owned)
        })
    }

    /// Waits for a line so often.
    pub(crate) fn said_times(&self, text: &str, times: usize) {
        wait::until(text, || {
            (self.err().matches(text).count() >= times).then_some(())
        });
    }

    /// Where it says that it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        let line = self.said("listening on http://");
        let address = line.split("http://").nth(1).unwrap();
        address.split(' ').next().unwrap().parse().unwrap()
    }

    /// The process of a worker, by what was said when it was started.
    pub(crate) fn worker(&self, number: u32) -> u32 {
        let line = self.said(&format!("worker {number} started, pid "));
        let pid = line.split("pid ").nth(1).unwrap();
        pid.split(',').next().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let (child, _) = self.child.as_ref().unwrap();
        child.signal(signal.parse().unwrap()).unwrap();
    }

    /// Presses a key, where standard input is a pipe.
    pub(crate) fn press(&mut self, key: &[u8]) {
        let (child, runtime) = self.child.as_mut().unwrap();
        let pressed = child.stdin.as_mut().unwrap().write_all(key);
        runtime.block_on(pressed).unwrap();
    }

    pub(crate) fn wait(&mut self) -> Exit {
        let (mut child, runtime) = self.child.take().unwrap();
        let wait = async { tokio::time::timeout(wait::LIMIT, child.wait()).await };
        let ended = runtime.block_on(wait);
        let Ok(exit) = ended else {
            // Its workers leave with it.
            let _ = child.kill();
            panic!("it does not end: {}", self.err());
        };
        exit.unwrap()
    }

    pub(crate) fn stop(&mut self) -> Exit {
        self.signal("SIGTERM");
        self.wait()
    }
}

/// What it said instead of what was waited for.
struct ShownOnPanic<'a>(&'a Running);

impl Drop for ShownOnPanic<'_> {
    #[expect(clippy::print_stderr, reason = "a test that fails says why")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("standard error so far:\n{}", self.0.err());
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

/// One request; the body of the answer.
pub(crate) fn get(at: SocketAddr) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(wait::LIMIT)).unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split("\r\n\r\n").nth(1).unwrap().to_owned()
}

/// A port of ours that is taken.
pub(crate) fn taken() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

pub(crate) fn kill(pid: u32, signal: Signal) {
    let mut command = Command::new("kill");
    command.arg(format!("-{signal}")).arg(pid);
    assert!(command.outcome_blocking().unwrap().exit.success());
}

/// The lines of a text as JSON.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    let lines = BufReader::new(text.as_bytes()).lines();
    lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}
