//! From flags to what is to be run; what makes no sense is told before anything starts.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use procession::child_process::{Command, Signal, Stdio};
use procession::cluster::{Budget, Policy, Ready, Restart, Spec, StopPlan, When};

use super::env_file;
use super::verdict::{App, Runner};
use crate::args::{Listen, Run};
use crate::exit::Exit;
use crate::failure::Failure;

/// What Node runs: everything else is a program of its own.
const MODULES: [&str; 6] = ["js", "mjs", "cjs", "ts", "mts", "cts"];

/// The cluster to be run.
pub(super) fn spec(run: &Run) -> Result<Spec, Failure> {
    let mut spec = Spec::new(command(run)?);
    spec.workers = run.instances.of(spec.workers);
    spec.balance = balance(run)?;
    spec.listen = run
        .listen
        .iter()
        .map(|Listen(listen)| listen.clone())
        .collect();
    spec.restart = restart(run);
    spec.ready = ready(run)?;
    spec.ready_timeout = run.ready_timeout;
    spec.stop = stop(run);
    spec.serialization = run.serialization;
    Ok(spec)
}

/// Whether the workers get a channel: those that get their sockets do not.
fn has_channel(run: &Run) -> bool {
    run.listen.is_empty()
}

fn balance(run: &Run) -> Result<Policy, Failure> {
    match &run.balance {
        Some(_) if !has_channel(run) => Err(Failure::new(
            Exit::Usage,
            "`--balance` is for programs that listen by themselves: with `--listen` the kernel \
             chooses",
            "leave one of the two out",
        )),
        Some(policy) => Ok(policy.clone()),
        None => Ok(Policy::default()),
    }
}

fn ready(run: &Run) -> Result<Ready, Failure> {
    let ready = run.ready.as_ref().map(|ready| &ready.0);
    match ready {
        Some(Ready::Listening | Ready::Message(_)) if !has_channel(run) => Err(Failure::new(
            Exit::Usage,
            "workers that get their sockets by `--listen` cannot say that they are ready",
            "`--ready started`, or a time that they must live: `--ready 2s`",
        )),
        Some(ready) => Ok(ready.clone()),
        None if has_channel(run) => Ok(Ready::Listening),
        None => Ok(Ready::Started),
    }
}

fn restart(run: &Run) -> Restart {
    let mut restart = Restart::default();
    if run.no_restart {
        restart.when = When::Never;
    }
    if let Some(most) = run.max_restarts {
        let budget = Budget::default();
        restart.budget = Some(Budget {
            starts: most,
            unproven: budget.unproven.min(most),
            ..budget
        });
    }
    restart
}

fn stop(run: &Run) -> StopPlan {
    let half = run.kill_timeout / 2;
    let (grace, term) = if has_channel(run) {
        (half, half)
    } else {
        (Duration::ZERO, run.kill_timeout)
    };
    StopPlan {
        grace,
        signal: Signal::TERM,
        term,
    }
}

fn command(run: &Run) -> Result<Command, Failure> {
    let (program, args) = run.command.split_first().ok_or_else(no_program)?;
    if program.as_encoded_bytes().starts_with(b"-") {
        let message = format!("unexpected `{}`", program.display());
        let hint = "`procession run --help` shows what there is";
        return Err(Failure::new(Exit::Usage, message, hint));
    }
    check_folder(run.cwd.as_deref())?;
    let mut command = start(run, program)?;
    command.args(args).stdin(Stdio::ignore());
    // A key at the terminal is for us: the workers are stopped one after the other.
    command.process_group(0);
    if !has_channel(run) {
        // With a channel they notice that we are gone.
        command.parent_death_signal(Signal::TERM);
    }
    if let Some(folder) = &run.cwd {
        command.current_dir(folder);
    }
    for (name, value) in variables(run)? {
        command.env(name, value);
    }
    Ok(command)
}

fn no_program() -> Failure {
    let hint = "`procession run server.js`";
    Failure::new(Exit::Usage, "there is no program to run", hint)
}

fn start(run: &Run, program: &OsStr) -> Result<Command, Failure> {
    let node_args = run
        .node_args
        .iter()
        .flat_map(|args| args.split_whitespace());
    if is_module(program) {
        check_file(run, program)?;
        let mut command = Command::node(program);
        if let Some(interpreter) = &run.interpreter {
            command.exec_path(interpreter);
        }
        command.exec_args(node_args);
        return Ok(command);
    }
    if !run.node_args.is_empty() {
        let message = format!(
            "`--node-args` is for JavaScript modules, and `{}` is none",
            program.display()
        );
        let hint = "their names end in js, mjs, cjs, ts, mts or cts";
        return Err(Failure::new(Exit::Usage, message, hint));
    }
    match &run.interpreter {
        Some(interpreter) => {
            check_file(run, program)?;
            let mut command = Command::new(interpreter);
            command.arg(program);
            Ok(command)
        }
        None => Ok(Command::new(program)),
    }
}

fn is_module(program: &OsStr) -> bool {
    let extension = Path::new(program).extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| MODULES.contains(&extension))
}

fn in_folder(run: &Run, path: impl AsRef<Path>) -> PathBuf {
    match &run.cwd {
        Some(folder) => folder.join(path),
        None => path.as_ref().to_owned(),
    }
}

/// Refuses a missing file here, where it is one line and not five stack traces.
fn check_file(run: &Run, program: &OsStr) -> Result<(), Failure> {
    let path = in_folder(run, program);
    if path.exists() {
        return Ok(());
    }
    let folder = run.cwd.clone().or_else(|| env::current_dir().ok());
    let hint = match folder {
        Some(folder) if Path::new(program).is_relative() => {
            format!("it is looked for in `{}`", folder.display())
        }
        _ => "is the path right?".to_owned(),
    };
    let message = format!("there is no `{}`", program.display());
    Err(Failure::new(Exit::NotFound, message, hint))
}

fn check_folder(folder: Option<&Path>) -> Result<(), Failure> {
    match folder {
        Some(folder) if !folder.is_dir() => {
            let message = format!("`--cwd {}` is no folder", folder.display());
            Err(Failure::new(Exit::Usage, message, "is the path right?"))
        }
        _ => Ok(()),
    }
}

/// Those of files that are not set already, then those of the command line.
fn variables(run: &Run) -> Result<Vec<(OsString, OsString)>, Failure> {
    let mut variables = Vec::new();
    for path in &run.env_file {
        let text = fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot read `{}`", path.display());
            Failure::new(Exit::Usage, message, "lines of NAME=value").caused_by(&error)
        })?;
        let read = env_file::parse(&text).map_err(|malformed| {
            let line = malformed.line;
            let message = format!("line {line} of `{}` is no variable", path.display());
            Failure::new(Exit::Usage, message, "NAME=value")
        })?;
        let unset = |(name, _): &(String, String)| env::var_os(name).is_none();
        variables.extend(read.into_iter().filter(unset));
    }
    variables.extend(run.env.iter().cloned());
    let owned = |(name, value): (String, String)| (name.into(), value.into());
    Ok(variables.into_iter().map(owned).collect())
}

/// What the last words will be about.
pub(super) fn app(run: &Run, spec: &Spec) -> App {
    let words = run.command.iter().map(|word| word.to_string_lossy());
    let words: Vec<_> = words.collect();
    let runner = match &run.interpreter {
        Some(_) => Runner::Named,
        None if words
            .first()
            .is_some_and(|word| is_module(OsStr::new(&**word))) =>
        {
            Runner::Node
        }
        None => Runner::Itself,
    };
    App {
        title: words.join(" "),
        program: words
            .first()
            .map(|word| word.clone().into_owned())
            .unwrap_or_default(),
        runner,
        ready: spec.ready.clone(),
        patience: run.kill_timeout,
        restarts: !run.no_restart,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{self, Request};

    fn planned(words: &[&str]) -> Result<Spec, Failure> {
        let line = ["procession", "run"].iter().chain(words);
        let Request::Run(run) = args::parse(line.map(OsString::from))? else {
            panic!("no request to run")
        };
        spec(&run)
    }

    #[test]
    fn a_module_runs_with_node_and_anything_else_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, "").unwrap();
            path.into_os_string().into_string().unwrap()
        };
        let (js, py) = (path("a.mjs"), path("a.py"));
        let command = |words: &[&str]| planned(words).unwrap().command.to_string();
        assert_eq!(command(&[&js, "-p", "1"]), format!("node {js} -p 1"));
        assert_eq!(
            command(&["--node-args", "--inspect -r x", "--interpreter", "/n", &js]),
            format!("/n --inspect -r x {js}")
        );
        assert_eq!(command(&["ls", "-l"]), "ls -l");
        let python = command(&["--interpreter", "python3", &py, "--raw"]);
        assert_eq!(python, format!("python3 {py} --raw"));
    }

    #[test]
    fn who_gets_sockets_has_no_channel_to_say_anything_by() {
        let spec = planned(&["--listen", "127.0.0.1:0", "--kill-timeout", "3", "ls"]).unwrap();
        assert_eq!(spec.ready, Ready::Started);
        assert_eq!(
            (spec.stop.grace, spec.stop.term.as_secs()),
            (Duration::ZERO, 3)
        );
        let failure = planned(&["--listen", "1", "--ready", "message", "ls"]).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);

        let spec = planned(&["--max-restarts", "2", "ls"]).unwrap();
        assert_eq!(spec.ready, Ready::Listening);
        assert_eq!(spec.stop.grace + spec.stop.term, Duration::from_secs(8));
        let budget = spec.restart.budget.unwrap();
        assert_eq!((budget.starts, budget.unproven), (2, 2));
    }

    #[test]
    fn files_of_variables_yield_to_what_is_set_and_to_flags() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("env");
        fs::write(&file, "PATH=/nowhere\nFILE_ONLY=1\nBOTH=file\n").unwrap();
        let words = [
            "--env-file",
            file.to_str().unwrap(),
            "--env",
            "BOTH=flag",
            "ls",
        ];
        let line = ["procession", "run"].iter().chain(&words);
        let Ok(Request::Run(run)) = args::parse(line.map(OsString::from)) else {
            panic!("no request to run")
        };
        let found = variables(&run).unwrap();
        let expected = [("FILE_ONLY", "1"), ("BOTH", "file"), ("BOTH", "flag")];
        assert_eq!(
            found,
            expected.map(|(name, value)| (name.into(), value.into()))
        );
    }
}
