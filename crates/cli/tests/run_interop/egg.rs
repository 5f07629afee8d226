//! egg under a foreign master: its agent is our child, its app workers are our cluster's,
//! and what its master passes on between the two we pass on (rows EG-01, 06, 09–11).

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use procession::child_process::{Child, Command, Signal, Stdio, Stop};
use procession::cluster::{Control, Event, Primary, Spec, WorkerId};
use procession::ipc::{Channel, Serialization};
use procession_load::start;
use procession_testkit::node;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::frameworks::install;
use crate::load::{Found, load_of, until};
use crate::stage::{Stage, free_port, program};

/// egg loads some hundred files in each of three processes.
const STARTING: Duration = Duration::from_secs(90);

/// egg's master, as far as agent and app workers need one.
struct Master {
    agent: Channel,
    agent_pid: u32,
    primary: Primary,
    control: Control,
    apps: Vec<(WorkerId, u32)>,
    /// How many app workers listen.
    listening: usize,
}

impl Master {
    /// Does what comes next; false when all workers have left.
    async fn step(&mut self) -> bool {
        tokio::select! {
            message = self.agent.rx.recv() => {
                // The agent leaves when it is told, after the apps.
                if let Some(message) = message.unwrap() {
                    self.pass_on(message.decode().unwrap(), "app").await;
                }
            }
            event = self.primary.next_event() => match event {
                None => return false,
                Some(event) => self.event(event).await,
            }
        }
        true
    }

    async fn event(&mut self, event: Event) {
        if let Event::Fork { worker, pid, .. } = event {
            self.apps.push((worker, pid));
        } else if let Event::Exit { worker, .. } = event {
            self.apps.retain(|(id, _)| *id != worker);
        } else if let Event::Listening { worker, .. } = event {
            self.listening += 1;
            let agents = json!({ "action": "egg-pids", "to": "app", "data": [self.agent_pid] });
            self.control.send(worker, &agents).await.unwrap();
        } else if let Event::Message { message, .. } = event {
            self.pass_on(message.decode().unwrap(), "agent").await;
        }
    }

    /// By pid, by role, or to the other role.
    async fn pass_on(&mut self, message: Value, default: &str) {
        let receiver = message["receiverPid"].as_str();
        let receiver: Option<u32> = receiver.and_then(|pid| pid.parse().ok());
        let to = match receiver {
            Some(pid) if pid == self.agent_pid => "agent",
            Some(_) => "app",
            None => message["to"].as_str().unwrap_or(default),
        };
        if to == "agent" {
            self.agent.tx.send(&message).await.unwrap();
        } else if to == "app" {
            for (worker, pid) in &self.apps {
                if receiver.is_none_or(|it| it == *pid) {
                    self.control.send(*worker, &message).await.unwrap();
                }
            }
        }
    }

    async fn until(&mut self, mut fact: impl FnMut(&Self) -> bool) {
        while !fact(self) {
            assert!(self.step().await, "all workers have left");
        }
    }
}

/// One of egg's own two programs, as its master would start it: the second port is the agent's.
fn worker(stage: &Stage, app: &Path, name: &str, [port, cluster_port]: [u16; 2]) -> Command {
    let modules = app.join("node_modules");
    let options = json!({
        "framework": modules.join("egg"), "baseDir": app, "workers": 2, "plugins": null,
        "https": false, "port": port, "clusterPort": cluster_port, "startMode": "process",
    });
    let mut command = Command::new("node");
    command.arg(modules.join("egg-cluster/lib").join(name));
    command.arg(options.to_string());
    stage.prepare(&mut command);
    command.env("EGG_SERVER_ENV", "prod").env("EGG_HOME", app);
    command
}

async fn start_agent(stage: &Stage, app: &Path, ports: [u16; 2]) -> (Child, Channel) {
    let mut command = worker(stage, app, "agent_worker.js", ports);
    command.ipc(Serialization::Json).stdin(Stdio::ignore());
    let log = app.join("agent.log");
    command
        .stdout(Stdio::append(&log))
        .stderr(Stdio::append(&log));
    let mut agent = command.spawn().unwrap();
    let mut channel = agent.channel.take().unwrap();
    loop {
        let message = channel.rx.recv().await.unwrap().unwrap();
        if message.decode::<Value>().unwrap()["action"] == "agent-start" {
            return (agent, channel);
        }
    }
}

async fn serve(stage: &Stage, app: &Path) -> Found {
    let ports = [free_port(), free_port()];
    let (mut agent, channel) = start_agent(stage, app, ports).await;
    let mut spec = Spec::new(worker(stage, app, "app_worker.js", ports));
    spec.workers = 2;
    let primary = Primary::start(spec).unwrap();
    let mut master = Master {
        agent: channel,
        agent_pid: agent.id(),
        control: primary.control(),
        primary,
        apps: Vec::new(),
        listening: 0,
    };
    master.until(|it| it.listening == 2).await;
    let load = load_of((Ipv4Addr::LOCALHOST, ports[0]).into());
    let mut asked = pin!(start(until(&load, 300)).unwrap().report());
    let report = loop {
        tokio::select! {
            report = &mut asked => break Found::new(report),
            goes_on = master.step() => assert!(goes_on, "all workers have left"),
        }
    };
    // The apps first, then the agent (EG-08).
    master.control.stop().await.unwrap();
    while master.step().await {}
    let stop = Stop {
        signal: Signal::TERM,
        grace: Duration::from_secs(10),
    };
    let stopped = agent.stop(stop).await.unwrap();
    assert!(!stopped.forced, "the agent had to be killed");
    report
}

#[test]
fn egg_serves_with_its_agent() {
    let Some(_) = node::or_skip("egg under our master") else {
        return;
    };
    let Some(installed) = install("egg@3") else {
        return;
    };
    let stage = Stage::new();
    // It writes beside its program.
    let app = stage.home.path().join("app");
    copy(&program("egg"), &app);
    symlink(installed.join("node_modules"), app.join("node_modules")).unwrap();
    let served = async { timeout(STARTING, serve(&stage, &app)).await };
    let served = stage.runtime().block_on(served);
    let report = served.expect("egg starts, serves and ends in time");
    assert_eq!((report.good(), report.by_pid.len()), (300, 2), "{report}");
    stage.end();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copied = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &copied),
            false => drop(fs::copy(entry.path(), copied).unwrap()),
        }
    }
}
