//! Who takes part, and starting and ending it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::tools::{Load, Tools, kill};
use super::{WORKERS, process};

/// How long a start or an end may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Who distributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nobody: one process.
    Single,
    /// Node's cluster, by this `NODE_CLUSTER_SCHED_POLICY`.
    Node(&'static str),
    /// PM2's cluster mode.
    Pm2,
    /// `procession run` with this policy.
    Ours(&'static str),
}

/// Who takes part.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

const fn contender(name: &'static str, kind: Kind) -> Contender {
    Contender { name, kind }
}

/// In the order of the tables.
pub(super) const CONTENDERS: &[Contender] = &[
    contender("single", Kind::Single),
    contender("node-rr", Kind::Node("rr")),
    contender("node-none", Kind::Node("none")),
    contender("pm2", Kind::Pm2),
    contender("ours-auto", Kind::Ours("auto")),
    contender("ours-spread", Kind::Ours("spread")),
    contender("ours-least-busy", Kind::Ours("least-busy")),
    contender("ours-round-robin", Kind::Ours("round-robin")),
];

/// A server that runs; ended when dropped.
#[derive(Debug)]
pub(super) struct Server<'a> {
    tools: &'a Tools,
    kind: Kind,
    node: PathBuf,
    /// Not PM2's, which leaves by itself.
    child: Option<Child>,
    /// Who distributes; of `Single`, who serves.
    root: u32,
    pub(super) at: SocketAddr,
    home: PathBuf,
}

impl<'a> Server<'a> {
    /// Starts it, and waits until all its workers have answered.
    pub(super) fn start(
        tools: &'a Tools,
        contender: &Contender,
        node: &Path,
        program: &Path,
        env: &[(&str, &str)],
    ) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let at = listener.local_addr().map_err(failed)?;
        drop(listener);
        let home = tools.scratch()?;
        let mut command = command(tools, contender.kind, node, program);
        let log = fs::File::create(home.join("log")).map_err(failed)?;
        command
            .env("PATH", tools.path_with(node))
            .env("PORT", at.port().to_string())
            .env("PM2_HOME", home.join("pm2"))
            .env_remove("NODE_OPTIONS")
            .envs(env.iter().copied())
            .current_dir(&home)
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log);
        let mut server = Self {
            tools,
            kind: contender.kind,
            node: node.to_owned(),
            child: None,
            root: 0,
            at,
            home,
        };
        if contender.kind == Kind::Pm2 {
            let status = command.status().map_err(failed)?;
            // Also what has started only in part is ended by the drop.
            server.root = pm2_daemon(&server.home.join("pm2"))?;
            if !status.success() {
                return Err(format!("pm2 start: {status}"));
            }
        } else {
            let child = command.spawn().map_err(failed)?;
            server.root = child.id();
            server.child = Some(child);
        }
        server.wait_until_all_answer()?;
        Ok(server)
    }

    pub(super) fn workers_wanted(&self) -> usize {
        if self.kind == Kind::Single {
            1
        } else {
            WORKERS
        }
    }

    /// The primary, if there is one, and the workers.
    pub(super) fn processes(&self) -> (Vec<u32>, Vec<u32>) {
        if self.kind == Kind::Single {
            return (Vec::new(), vec![self.root]);
        }
        (vec![self.root], process::children(self.root))
    }

    fn wait_until_all_answer(&self) -> Result<(), String> {
        let end = Instant::now() + LIMIT;
        loop {
            // An error: nobody listens yet.
            let report = self.tools.load(self.at, &["-a", "64", "-c", "8"]);
            let all = |it: &Load| it.failures == 0 && it.by_pid.len() >= self.workers_wanted();
            if report.as_ref().is_ok_and(all) {
                return Ok(());
            }
            if Instant::now() > end {
                let log = self.log();
                return Err(format!("not all workers answer: {report:?}\n{log}"));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    /// Asks it to end.
    pub(super) fn stop(mut self) -> Result<(), String> {
        self.end()
    }

    fn end(&mut self) -> Result<(), String> {
        if self.root == 0 {
            return Ok(());
        }
        let (root, workers) = (self.root, process::children(self.root));
        self.root = 0;
        if self.kind == Kind::Pm2 {
            self.tools.pm2(&self.node, &self.home.join("pm2"), "kill");
        } else {
            kill("TERM", root);
        }
        let end = Instant::now() + LIMIT;
        while self.is_alive(root) {
            if Instant::now() > end {
                kill("KILL", root);
                workers.iter().for_each(|pid| kill("KILL", *pid));
                let child = self.child.as_mut();
                child
                    .map(Child::wait)
                    .transpose()
                    .map_err(|error| error.to_string())?;
                return Err(format!("it did not end by itself\n{}", self.log()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        // What its own tree could not be killed with it.
        workers
            .into_iter()
            .filter(|pid| process::is_alive(*pid))
            .for_each(|pid| kill("KILL", pid));
        // Logs of runs that went well are of no use.
        let _ = fs::remove_dir_all(&self.home);
        Ok(())
    }

    fn is_alive(&mut self, root: u32) -> bool {
        match &mut self.child {
            Some(child) => child.try_wait().is_ok_and(|exit| exit.is_none()),
            None => process::is_alive(root),
        }
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // Something else has failed already, and is told.
        let _ = self.end();
    }
}

fn command(tools: &Tools, kind: Kind, node: &Path, program: &Path) -> Command {
    let workers = WORKERS.to_string();
    let mut command = Command::new(node);
    match kind {
        Kind::Single => {
            command.arg(program);
        }
        Kind::Node(policy) => {
            command
                .arg(tools.server("primary.js"))
                .arg(workers)
                .arg(program);
            command.env("NODE_CLUSTER_SCHED_POLICY", policy);
        }
        Kind::Pm2 => {
            command.args(&tools.pm2).arg("start").arg(program);
            command.args(["-i", &workers]);
        }
        Kind::Ours(policy) => {
            command = Command::new(&tools.ours);
            command.args(["run", "-i", &workers, "--balance", policy, "--interpreter"]);
            command.arg(node).arg(program);
        }
    }
    command
}

fn pm2_daemon(home: &Path) -> Result<u32, String> {
    let file = home.join("pm2.pid");
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    text.trim()
        .parse()
        .map_err(|_| format!("{text:?} is no pid"))
}
