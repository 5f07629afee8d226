//! One side of the scenarios of `interop/ipc/scenarios.json`, in Rust: does
//! what `interop/ipc/peer.cjs` does in Node, and is called as that is. It is
//! the child of other tests too: `echo`, `hostile ATTACK`, `soak-send COUNT SEED`,
//! `soak-receive COUNT SEED`.
#![forbid(unsafe_code)]

mod environment;
mod handles;
mod hostile;
mod scenario;
mod side;
mod soak;
mod steps;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use procession::child_process::{Child, Command, Exit, Stdio};
use procession::ipc::Serialization;
use procession_testkit::leaks::Oracle;
use scenario::Scenario;
use side::{Ending, Failure, Role, Side};

/// For one scenario; more than any of them takes.
const LIMIT: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["child", scratch, name] => as_child(Path::new(scratch), name),
        ["parent", serialization, scratch, child, ref names @ ..] => {
            as_parent(serialization, Path::new(scratch), child, names)
        }
        ["echo"] => alone(soak::echo()),
        ["hostile", kind] => hostile::attack(kind).map(|()| ExitCode::SUCCESS),
        ["soak-send", count, seed] => {
            numbers(count, seed).and_then(|(n, s)| alone(soak::send(n, s)))
        }
        ["soak-receive", count, seed] => {
            numbers(count, seed).and_then(|(n, s)| alone(soak::receive(n, s)))
        }
        _ => Err("usage: parent SERIALIZATION SCRATCH CHILD NAME... | child SCRATCH NAME".into()),
    };
    done.unwrap_or_else(|failure| {
        say("all", Role::Parent, &failure.to_string());
        ExitCode::FAILURE
    })
}

/// Runs it; what it returns is dropped after its runtime.
fn alone<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = runtime()?;
    let done = runtime.block_on(work)?;
    drop(runtime);
    drop(done);
    Ok(ExitCode::SUCCESS)
}

fn numbers(count: &str, seed: &str) -> Result<(u64, u64), Failure> {
    Ok((count.parse()?, seed.parse()?))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn as_child(scratch: &Path, name: &str) -> Result<ExitCode, Failure> {
    let scenario = Scenario::named(name)?;
    let runtime = runtime()?;
    let (code, _open) = runtime.block_on(async {
        let mut side = Side::of_child(scratch.to_owned(), &scenario.child)?;
        let done = side.run(&scenario.child).await;
        say(name, Role::Child, &outcome(&done));
        match (&done, side.ending) {
            (Err(_), _) => return Ok((1, Some(side))),
            // With the channel open: what was sent is written when the runtime ends.
            (Ok(()), Ending::Exit(code)) => return Ok((code, Some(side))),
            (Ok(()), Ending::Drop) => {}
            (Ok(()), Ending::Disconnect) => side.disconnect().await,
        }
        Ok::<_, Failure>((0, None))
    })?;
    drop(runtime);
    Ok(ExitCode::from(code))
}

fn as_parent(
    serialization: &str,
    scratch: &Path,
    child: &str,
    names: &[&str],
) -> Result<ExitCode, Failure> {
    let serialization = Serialization::from_name(serialization).ok_or("no serialization")?;
    std::fs::write(scratch.join("serialization"), serialization.name())?;
    let words: Vec<String> = serde_json::from_str(child)?;
    for (index, name) in names.iter().enumerate() {
        let scenario = Scenario::named(name)?;
        let scratch = scratch.join(format!("scenario-{index}"));
        std::fs::create_dir(&scratch)?;
        let oracle = Oracle::start();
        let runtime = runtime()?;
        let done = runtime.block_on(async {
            let one = one_scenario(&scenario, &words, serialization, scratch, &oracle);
            let in_time = tokio::time::timeout(LIMIT, one).await;
            in_time.unwrap_or_else(|_| Err(format!("not done after {LIMIT:?}").into()))
        });
        drop(runtime);
        if done.is_ok() {
            oracle.check();
        }
        say(name, Role::Parent, &outcome(&done));
    }
    Ok(ExitCode::SUCCESS)
}

async fn one_scenario(
    scenario: &Scenario,
    words: &[String],
    serialization: Serialization,
    scratch: PathBuf,
    oracle: &Oracle,
) -> Result<(), Failure> {
    let mut child = start(scenario, words, serialization, &scratch, oracle)?;
    let channel = child.channel.take().ok_or("the child has no channel")?;
    let mut side = Side::of_parent(scratch, channel, child.id());
    side.run(&scenario.parent).await?;
    let exit = child.wait().await?;
    if exit != Exit::Code(scenario.exit) {
        return Err(format!("the child ended with {exit:?}").into());
    }
    side.expect_disconnect().await
}

fn start(
    scenario: &Scenario,
    words: &[String],
    serialization: Serialization,
    scratch: &Path,
    oracle: &Oracle,
) -> Result<Child, Failure> {
    let (program, arguments) = words.split_first().ok_or("no program for the child")?;
    let mut command = match arguments {
        [module] => {
            let mut command = Command::node(module);
            command.exec_path(program);
            command
        }
        _ => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
    };
    command.arg("child").arg(scratch).arg(&scenario.name);
    for index in (0..3).filter(|index| *index != scenario.at) {
        command.stdio(index, Stdio::Inherit);
    }
    command.ipc_at(scenario.at, serialization);
    command.envs([oracle.tag()]).kill_on_drop();
    Ok(command.spawn()?)
}

fn outcome(done: &Result<(), Failure>) -> String {
    match done {
        Ok(()) => "ok".into(),
        Err(failure) => {
            let text = failure.to_string();
            let words: Vec<&str> = text.split_whitespace().collect();
            words.join(" ")
        }
    }
}

/// In one write, for both sides say it to the same pipe.
fn say(name: &str, role: Role, outcome: &str) {
    use std::io::Write as _;
    let line = format!("{name}\t{}\t{outcome}\n", role.name());
    // Nobody listens: then nobody waits for it either.
    let _ = std::io::stdout().write_all(line.as_bytes());
}
