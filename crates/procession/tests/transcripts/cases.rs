//! `interop/child_process/cases.json`: what is started, and what is done meanwhile.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession::child_process::{Command, MaxBuffer, Signal, Stdio, UnknownSignal};
use serde_json::{Map, Value};

/// Compiled in: a case may be run by a user who cannot read the file.
const TABLE: &str = include_str!("../../../../interop/child_process/cases.json");

/// One case.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    data: Map<String, Value>,
}

/// A reaction: on the n-th such event, do this.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) on: String,
    pub(crate) left: u64,
    pub(crate) action: Action,
}

/// What can be done to a child.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// The signal as it was written.
    Kill(String),
    Write(u32, String),
    End(u32),
    Abort,
    Dispose,
    /// Ours alone: waits until the process has ended, unnoticed.
    AwaitEnd,
}

/// When its AbortSignal is aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abort {
    Never,
    Before,
    Then,
}

/// The names of all cases, in alphabetical order.
pub(crate) fn names() -> Vec<String> {
    table()["cases"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

/// The case of that name.
pub(crate) fn case(name: &str) -> Case {
    let Some(Value::Object(data)) = table()["cases"].get(name).cloned() else {
        panic!("no case {name} in cases.json");
    };
    let name = name.to_owned();
    Case { name, data }
}

fn table() -> Value {
    serde_json::from_str(TABLE).unwrap()
}

impl Case {
    /// `spawn`, `exec`, `execFileSync` …
    pub(crate) fn call(&self) -> &str {
        self.text("call").unwrap()
    }

    /// What procession deliberately does otherwise.
    pub(crate) fn differs(&self) -> Option<&str> {
        self.text("differs")
    }

    /// Our transcript, where it differs.
    pub(crate) fn ours(&self) -> Option<String> {
        let lines = self.data.get("ours")?.as_array().unwrap();
        Some(
            lines
                .iter()
                .map(|line| format!("{}\n", line.as_str().unwrap()))
                .collect(),
        )
    }

    /// Whether Node may tell what another version of it was recorded to tell.
    pub(crate) fn varies(&self) -> bool {
        self.text("varies").is_some()
    }

    /// Why the case cannot be written in Rust.
    pub(crate) fn not_in_rust(&self) -> Option<&str> {
        self.text("not_in_rust")
    }

    pub(crate) fn is_canonical(&self) -> bool {
        match self.text("order") {
            Some("canonical") => true,
            Some("seen") => false,
            other => panic!("{}: no such order: {other:?}", self.name),
        }
    }

    /// Whether the streams have no listeners.
    pub(crate) fn hears_process_only(&self) -> bool {
        self.text("listen") == Some("process")
    }

    pub(crate) fn is_unprivileged(&self) -> bool {
        self.data.contains_key("unprivileged")
    }

    pub(crate) fn abort(&self) -> Abort {
        match self.text("abort") {
            None => Abort::Never,
            Some("before") => Abort::Before,
            Some("then") => Abort::Then,
            Some(other) => panic!("{}: no such time to abort: {other}", self.name),
        }
    }

    /// What is done meanwhile; `ours_then` where ours needs something else.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let rules = self.data.get("ours_then").or_else(|| self.data.get("then"));
        rules.map_or_else(Vec::new, |rules| {
            rules.as_array().unwrap().iter().map(rule).collect()
        })
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.data.get(key).map(|value| value.as_str().unwrap())
    }

    /// The command that the case starts, with `tmp` as its directory.
    pub(crate) fn command(&self, tmp: &Path) -> Result<Command, UnknownSignal> {
        let filled = |value: &Value| text(value, tmp);
        let option = |name: &str| self.data.get("options").and_then(|all| all.get(name));
        let mut command = match (self.data.get("line"), self.data.get("file")) {
            (Some(line), None) => Command::shell(filled(line)),
            (None, Some(line)) if option("shell").is_some() => Command::shell(filled(line)),
            (None, Some(file)) => Command::new(filled(file)),
            both => panic!("{}: either a line or a file: {both:?}", self.name),
        };
        if let Some(args) = self.data.get("args") {
            command.args(args.as_array().unwrap().iter().map(filled));
        }
        for (name, value) in self
            .data
            .get("options")
            .into_iter()
            .flat_map(|o| o.as_object().unwrap())
        {
            self.set(&mut command, name, value, tmp)?;
        }
        Ok(command)
    }

    fn set(
        &self,
        command: &mut Command,
        name: &str,
        value: &Value,
        tmp: &Path,
    ) -> Result<(), UnknownSignal> {
        let number = || value.as_u64().unwrap();
        let id = || u32::try_from(number()).unwrap();
        match name {
            // The program is a line already.
            "shell" => command,
            "cwd" => command.current_dir(text(value, tmp)),
            "argv0" => command.argv0(text(value, tmp)),
            "env" => {
                let all = value.as_object().unwrap().iter();
                command
                    .env_clear()
                    .envs(all.map(|(name, value)| (name, text(value, tmp))))
            }
            "detached" => command.detached(),
            "uid" => command.uid(id()),
            "gid" => command.gid(id()),
            "timeout" => command.timeout(Duration::from_millis(number())),
            "killSignal" => command.kill_signal(text(value, tmp).parse::<Signal>()?),
            "maxBuffer" => command.max_buffer(MaxBuffer::fail(usize::try_from(number()).unwrap())),
            "input" => command.input(text(value, tmp)),
            "stdio" => self.set_stdio(command, value),
            other => panic!("{}: no such option here: {other}", self.name),
        };
        Ok(())
    }

    fn set_stdio<'c>(&self, command: &'c mut Command, value: &Value) -> &'c mut Command {
        let all = match value {
            Value::Array(all) => all.clone(),
            one => vec![one.clone(); 3],
        };
        for (index, one) in (0..).zip(&all) {
            match one.as_str() {
                // What is not said is a pipe for every call that can have it.
                Some("pipe") if index < 3 => continue,
                Some("pipe") => command.stdio(index, Stdio::pipe()),
                Some("ignore") => command.stdio(index, Stdio::ignore()),
                other => panic!("{}: no such stdio here: {other:?}", self.name),
            };
        }
        command
    }

    /// Makes the directory `<tmp>` with what the cases look for in it.
    pub(crate) fn fixtures(&self) -> tempfile::TempDir {
        let mut builder = tempfile::Builder::new();
        let tmp = builder.prefix("procession-probe-").tempdir().unwrap();
        for (name, file) in table()["fixtures"].as_object().unwrap() {
            let path: PathBuf = tmp.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, file["text"].as_str().unwrap()).unwrap();
            let mode = u32::from_str_radix(file["mode"].as_str().unwrap(), 8).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        tmp
    }
}

/// A text of the table, with `<tmp>` and `{repeat, times}` filled in.
fn text(value: &Value, tmp: &Path) -> String {
    match value {
        Value::String(text) => text.replace("<tmp>", tmp.to_str().unwrap()),
        Value::Object(long) => {
            let times = long["times"].as_u64().unwrap();
            long["repeat"]
                .as_str()
                .unwrap()
                .repeat(usize::try_from(times).unwrap())
        }
        other => panic!("not a text: {other}"),
    }
}

fn rule(data: &Value) -> Rule {
    let text = |key: &str| {
        data.get(key)
            .map(|value| value.as_str().unwrap().to_owned())
    };
    let fd = u32::try_from(data.get("fd").map_or(0, |fd| fd.as_u64().unwrap())).unwrap();
    let signal = || match data.get("signal") {
        None => "SIGTERM".into(),
        Some(Value::Number(number)) => number.to_string(),
        Some(name) => name.as_str().unwrap().to_owned(),
    };
    let action = match text("do").unwrap().as_str() {
        "kill" => Action::Kill(signal()),
        "write" => Action::Write(fd, text("text").unwrap()),
        "end" => Action::End(fd),
        "abort" => Action::Abort,
        "dispose" => Action::Dispose,
        "await end" => Action::AwaitEnd,
        other => panic!("no such action: {other}"),
    };
    Rule {
        on: text("on").unwrap(),
        left: data.get("nth").map_or(1, |nth| nth.as_u64().unwrap()),
        action,
    }
}
