//! On what it was measured: without that the numbers say nothing.

use std::fs;
use std::process::Command;
use std::thread;

/// One line.
pub(super) fn describe() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpu = value(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown processor".into());
    let memory = value(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let programs = [said("rustc", "--version"), said("node", "--version")];
    let [rustc, node] = programs.map(|it| it.unwrap_or("none".into()));
    format!("{cores} cores ({cpu}), {memory}, kernel {kernel}, {rustc}, node {node}")
}

fn value(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':')
        .map(|(_, value)| value.trim().to_owned())
}

fn said(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_stands_behind_the_colon() {
        let text = "processor\t: 0\nmodel name\t: A CPU @ 2 GHz\n";
        assert_eq!(value(text, "model name"), Some("A CPU @ 2 GHz".into()));
        assert_eq!(value(text, "MemTotal"), None);
    }
}
