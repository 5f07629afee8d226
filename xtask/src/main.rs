//! `cargo xtask COMMAND`: the checks of this workspace, the same for people and for CI.
//!
//! One file for each command; this one finds it and says how it ended.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a program for a terminal"
)]

mod bench;
mod cargo;
mod chaos;
mod ci;
mod code_only;
mod counts;
mod deps;
mod docs;
mod features;
mod interop;
mod outcome;
mod portable;
mod test;

use std::env;
use std::process::ExitCode;

use outcome::Outcome;

/// A command: its name, its line in the help, and what it does with its arguments.
struct Command {
    name: &'static str,
    arguments: &'static str,
    does: &'static str,
    run: fn(&[String]) -> Outcome,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "ci",
        arguments: "",
        does: "formatting, lints, deps, features, docs, test, portable",
        run: ci::run,
    },
    Command {
        name: "test",
        arguments: "[ARGUMENT]...",
        does: "all tests; arguments go to nextest, or to cargo test",
        run: test::run,
    },
    Command {
        name: "portable",
        arguments: "[ARGUMENT]...",
        does: "the tests of procession-sys and procession on plain POSIX",
        run: portable::run,
    },
    Command {
        name: "deps",
        arguments: "",
        does: "who depends on whom, and where unsafe code and system names are",
        run: deps::run,
    },
    Command {
        name: "chaos",
        arguments: "[--KIND N]...",
        does: "many rounds of kills, drops and failing system calls; takes minutes",
        run: chaos::run,
    },
    Command {
        name: "interop",
        arguments: "[--all-nodes]",
        does: "Node and Rust over the channel, each as either side",
        run: interop::run,
    },
    Command {
        name: "features",
        arguments: "",
        does: "procession with no feature, each alone, and all",
        run: features::run,
    },
    Command {
        name: "docs",
        arguments: "",
        does: "the documentation, without warnings",
        run: docs::run,
    },
    Command {
        name: "bench",
        arguments: "spawn|ipc|cluster|load|pool [OPTION]...",
        does: "ours beside the others: tables, nothing asserted",
        run: bench::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        eprint!("{}", help());
        return ExitCode::from(2);
    };
    if matches!(name.as_str(), "--help" | "-h" | "help") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprint!("error: no command `{name}`\n\n{}", help());
        return ExitCode::from(2);
    };
    let outcome = (command.run)(rest);
    if let Some(counts) = outcome.counts {
        println!("{counts}");
    }
    match outcome.failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    let mut text = "usage: cargo xtask COMMAND\n\n".to_owned();
    for command in COMMANDS {
        let usage = format!("{} {}", command.name, command.arguments);
        text += &format!("  {usage:<24} {}\n", command.does);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_command() {
        let help = help();
        for command in COMMANDS {
            assert!(
                help.contains(&format!("\n  {} ", command.name)),
                "{}\n{help}",
                command.name
            );
        }
    }
}
