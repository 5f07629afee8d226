//! Children with children.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Ended, LONGEST_SLEEP, Trick, argument, misused, parsed, rest, say};

pub(super) const TRICKS: &[Trick] = &[
    Trick {
        name: "grandchild-holds-stdout",
        arguments: "SECONDS",
        does: "leaves a sleeper with its stdout, prints its pid, exits",
        run: grandchild_holds_stdout,
    },
    Trick {
        name: "tree",
        arguments: "",
        does: "starts a child, a session leader and a daemon; prints their pids, `ready`, sleeps",
        run: tree,
    },
    Trick {
        name: "tree-clean-env",
        arguments: "",
        does: "the same, with empty environments",
        run: tree_clean_env,
    },
    Trick {
        name: "daemonise",
        arguments: "",
        does: "prints the pid of a sleeper in a session without a leader, exits",
        run: daemonise,
    },
    Trick {
        name: "session-leader",
        arguments: "",
        does: "makes a session, prints its pid, lets go of stdout, sleeps",
        run: session_leader,
    },
    Trick {
        name: "fork-loop",
        arguments: "GENERATIONS [setsid]",
        does: "prints `ready`; each generation starts the next and exits",
        run: fork_loop,
    },
];

/// More would outlast the longest sleep.
const MOST_GENERATIONS: u32 = 20_000;

/// Whether the processes of a tree keep the environment, and with it the test's tag.
#[derive(Debug, Clone, Copy)]
enum Environment {
    Kept,
    Empty,
}

fn grandchild_holds_stdout(arguments: &[OsString]) -> Ended {
    let mut command = this_program(&["sleep"])?;
    let child = command
        .arg(argument(arguments, 0, "SECONDS")?)
        .stdout(Stdio::inherit())
        .spawn()?;
    say(child.id().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn tree(_: &[OsString]) -> Ended {
    grow(Environment::Kept)
}

fn tree_clean_env(_: &[OsString]) -> Ended {
    grow(Environment::Empty)
}

fn grow(environment: Environment) -> Ended {
    let command = |words: &[&str]| {
        let mut command = this_program(words)?;
        if matches!(environment, Environment::Empty) {
            command.env_clear();
        }
        io::Result::Ok(command)
    };
    let plain = command(&["sleep", "60"])?.spawn()?;
    let (_leader, leader) = start_and_read_pid(&mut command(&["session-leader"])?)?;
    let (mut middle, daemon) = start_and_read_pid(&mut command(&["daemonise"])?)?;
    // Only when it is gone has the daemon a new parent.
    middle.wait()?;
    say(format!("{}\n{leader}\n{daemon}\nready", plain.id()))?;
    rest(LONGEST_SLEEP);
    Ok(ExitCode::SUCCESS)
}

fn start_and_read_pid(command: &mut Command) -> io::Result<(Child, u32)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("no pipe"))?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok((child, line.trim().parse().map_err(io::Error::other)?))
}

fn daemonise(_: &[OsString]) -> Ended {
    rustix::process::setsid()?;
    let daemon = this_program(&["sleep", "60"])?.spawn()?;
    say(daemon.id().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn session_leader(_: &[OsString]) -> Ended {
    rustix::process::setsid()?;
    say(std::process::id().to_string())?;
    rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    rest(LONGEST_SLEEP);
    Ok(ExitCode::SUCCESS)
}

/// The third argument is for the later generations: when to give up, in milliseconds.
fn fork_loop(arguments: &[OsString]) -> Ended {
    let left: u32 = parsed(arguments, 0, "GENERATIONS")?;
    if left > MOST_GENERATIONS {
        return Err(misused(format!("at most {MOST_GENERATIONS} generations")));
    }
    let mode = arguments
        .get(1)
        .map_or("plain".into(), |mode| mode.to_string_lossy());
    if mode == "setsid" {
        // It is refused to a group leader, which the first generation may be.
        let _ = rustix::process::setsid();
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let is_first = arguments.len() < 3;
    let deadline = if is_first {
        say("ready")?;
        now + LONGEST_SLEEP
    } else {
        Duration::from_millis(parsed(arguments, 2, "the deadline")?)
    };
    if left > 0 && now < deadline {
        let (left, deadline) = ((left - 1).to_string(), deadline.as_millis().to_string());
        this_program(&["fork-loop", &left, &mode, &deadline])?.spawn()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// This program with another trick, holding nothing of ours.
fn this_program(words: &[&str]) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(command)
}
