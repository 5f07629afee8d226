//! A server under `procession run`, with everything it says in a file.
//!
//! With `PROCESSION_RUN_UNDER=node` the same tests run under Node's own cluster:
//! the control that says whether a test asks for what Node does. With
//! `PROCESSION_NODE` another Node than the one on `PATH` is tested.

use std::cell::RefCell;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use procession::child_process::{Child, Command, Exit, Outcome, Signal, Stdio};
use procession_load::Spec;
use procession_testkit::leaks::{Leak, Oracle};
use procession_testkit::wait;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::load::{ask_for, load_of, requests};

/// Below what is here a test's server, its files and its processes live.
pub(crate) struct Stage {
    // Ends before the oracle looks.
    runtime: Option<Runtime>,
    pub(crate) home: TempDir,
    pub(crate) oracle: Oracle,
}

/// A primary that runs, and what it said.
pub(crate) struct Server<'a> {
    stage: &'a Stage,
    child: RefCell<Option<Child>>,
    pub(crate) pid: u32,
    log: PathBuf,
}

/// Whether the tests run under Node's own cluster instead of ours.
pub(crate) fn is_control() -> bool {
    env::var_os("PROCESSION_RUN_UNDER").is_some_and(|it| it == "node")
}

/// One of the servers in `interop/cluster`.
pub(crate) fn program(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/cluster");
    folder.canonicalize().unwrap().join(name)
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

impl Stage {
    pub(crate) fn new() -> Self {
        let oracle = Oracle::start();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self {
            runtime: Some(runtime),
            home: tempfile::tempdir().unwrap(),
            oracle,
        }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// `procession run` with these words.
    pub(crate) fn procession(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_procession"));
        command.arg("run").args(words);
        self.prepare(&mut command);
        command
    }

    /// `-i WORKERS [OPTION]... PROGRAM [ARGUMENT]...`, or the same under Node's cluster.
    pub(crate) fn cluster(&self, workers: u32, options: &[&str], program: &[&str]) -> Command {
        let count = workers.to_string();
        if !is_control() {
            return self.procession(&[&["-i", &count], options, program].concat());
        }
        let mut command = Command::new("node");
        command.arg(self::program("primary.js")).arg(&*count);
        command.args(program.iter().copied());
        self.prepare(&mut command);
        command
    }

    pub(crate) fn prepare(&self, command: &mut Command) {
        command
            .envs([self.oracle.tag()])
            .current_dir(self.home.path());
        command.env("TMPDIR", self.home.path());
        command.env("PATH", path_with_node());
        for name in ["NODE_OPTIONS", "PORT", "NODE_CLUSTER_SCHED_POLICY"] {
            command.env_remove(name);
        }
    }

    /// Starts it, both outputs into one file.
    pub(crate) fn start(&self, command: &mut Command) -> Server<'_> {
        let number = fs::read_dir(self.home.path()).unwrap().count();
        let log = self.home.path().join(format!("{number}.log"));
        command.stdin(Stdio::ignore());
        command
            .stdout(Stdio::append(&log))
            .stderr(Stdio::append(&log));
        let child = self.runtime().block_on(async { command.spawn() }).unwrap();
        let pid = child.id();
        Server {
            stage: self,
            child: RefCell::new(Some(child)),
            pid,
            log,
        }
    }

    /// Starts one of our servers with two workers and waits until both listen.
    pub(crate) fn two(&self, options: &[&str], program: &[&str]) -> Server<'_> {
        let server = self.start(&mut self.cluster(2, options, program));
        server.ready(2);
        server
    }

    /// Runs a command that ends by itself.
    pub(crate) fn outcome(&self, command: &mut Command) -> Outcome {
        command.timeout(wait::LIMIT).outcome_blocking().unwrap()
    }

    /// Runs `node` with these words, and returns what it printed.
    pub(crate) fn node(&self, words: &[&str]) -> String {
        let mut command = Command::new("node");
        command.args(words);
        self.prepare(&mut command);
        let outcome = self.outcome(&mut command);
        let error = String::from_utf8_lossy(&outcome.stderr);
        assert!(outcome.exit.success(), "{words:?}: {error}");
        String::from_utf8(outcome.stdout.to_vec()).unwrap()
    }

    /// Checks that no process is left. A primary that was killed cannot remove its
    /// control groups, but they are empty.
    pub(crate) fn end_after_sigkill(mut self) {
        drop(self.runtime.take());
        let leaks = self.oracle.leaks();
        let empty = |leak: &Leak| {
            let Leak::ControlGroup { path, inhabitants } = leak else {
                return false;
            };
            inhabitants.is_empty() && fs::remove_dir(path).is_ok()
        };
        let others: Vec<&Leak> = leaks.iter().filter(|leak| !empty(leak)).collect();
        assert!(others.is_empty(), "{others:?}");
    }

    /// Checks that nothing is left.
    pub(crate) fn end(mut self) {
        drop(self.runtime.take());
        self.oracle.check();
    }
}

/// With the Node under test in front.
fn path_with_node() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let Some(node) = env::var_os("PROCESSION_NODE") else {
        return path;
    };
    let folder = Path::new(&node).parent().unwrap().to_owned();
    env::join_paths([folder].into_iter().chain(env::split_paths(&path))).unwrap()
}

impl Server<'_> {
    /// All that was said so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// What stands behind `key=` on each line that has it.
    pub(crate) fn said(&self, key: &str) -> Vec<String> {
        let wanted = format!("{key}=");
        let word = |line: &str| {
            let mut words = line.split_whitespace();
            words.find_map(|word| word.strip_prefix(&*wanted).map(str::to_owned))
        };
        self.log().lines().filter_map(word).collect()
    }

    /// Waits for a fact; when it does not come true, the panic has the log.
    pub(crate) fn until<T>(&self, what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
        let mut last = || {
            if let Some(found) = fact() {
                return Some(Ok(found));
            }
            let exit = self.try_exit();
            exit.map(|exit| Err(format!("{what}: it has ended: {exit:?}\n{}", self.log())))
        };
        match wait::until(what, &mut last) {
            Ok(found) => found,
            Err(ended) => panic!("{ended}"),
        }
    }

    /// Waits until so many have said `ready` in all, and returns the port.
    pub(crate) fn ready(&self, count: usize) -> u16 {
        self.until("ready workers", || {
            (self.said("port").len() >= count).then_some(())
        });
        self.said("port")[0].parse().unwrap()
    }

    pub(crate) fn at(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ready(1)).into()
    }

    pub(crate) fn load(&self) -> Spec {
        load_of(self.at())
    }

    /// Asks for a path once and returns who answered.
    pub(crate) fn ask(&self, path: &str) -> u32 {
        let mut load = self.load();
        load.connections = 1;
        ask_for(path, &mut load);
        let report = requests(&load, 1);
        assert_eq!(report.good(), 1, "{path}: {report}\n{}", self.log());
        report.by_pid.keys().next().copied().unwrap()
    }

    /// The living children of the primary.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid));
        let lists = tasks.into_iter().flatten().flatten().map(|task| {
            let children = task.path().join("children");
            fs::read_to_string(children).unwrap_or_default()
        });
        let mut pids: Vec<u32> = lists
            .flat_map(|list| {
                list.split_whitespace()
                    .flat_map(str::parse)
                    .collect::<Vec<_>>()
            })
            .filter(|pid| state(*pid).is_some_and(|state| state != 'Z'))
            .collect();
        pids.sort_unstable();
        pids
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.child
            .borrow()
            .as_ref()
            .unwrap()
            .signal(signal)
            .unwrap();
    }

    pub(crate) fn try_exit(&self) -> Option<Exit> {
        // The task that owns the child runs in here.
        self.stage.runtime().block_on(tokio::task::yield_now());
        self.child.borrow().as_ref()?.try_wait().unwrap()
    }

    /// Waits until the primary has ended by itself.
    pub(crate) fn wait(&self) -> Exit {
        let mut child = self.child.borrow_mut().take().unwrap();
        let wait = async { tokio::time::timeout(wait::LIMIT, child.wait()).await };
        match self.stage.runtime().block_on(wait) {
            Ok(exit) => exit.unwrap(),
            Err(_) => {
                let _ = child.kill();
                panic!("it does not end\n{}", self.log());
            }
        }
    }

    /// Asks the primary to end, and waits for it.
    pub(crate) fn stop(self) -> Exit {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let Some(mut child) = self.child.borrow_mut().take() else {
            return;
        };
        // A test has failed. The workers leave when their channel ends, if they are not stopped.
        let workers = self.workers();
        let _ = child.kill();
        workers.into_iter().for_each(|pid| kill(pid, Signal::KILL));
        let _ = self.stage.runtime().block_on(child.wait());
    }
}

/// The state of a process: `R`, `S`, `T`, `Z`…
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// How long a process has used the processor by itself, in clock ticks of 10 ms.
pub(crate) fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    fields.nth(11)?.parse().ok()
}

/// How many descriptors a process has open.
pub(crate) fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Signals a process that a test's server has started; one that is gone already is no failure.
pub(crate) fn kill(pid: u32, signal: Signal) {
    let mut command = Command::new("kill");
    command.arg(format!("-{signal}")).arg(pid.to_string());
    let _ = command.stderr(Stdio::ignore()).status_blocking();
}

/// Whether somebody listens there.
pub(crate) fn is_open(at: SocketAddr) -> bool {
    TcpStream::connect(at).is_ok()
}
