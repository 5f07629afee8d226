//! `procession doctor`: what this machine offers for starting and ending processes.

use std::path::Path;

use procession::node::{self, NodeError, NodeInstall};
use procession::platform::{self, Platform, TreeLevel};
use serde::Serialize;

use super::say;
use crate::args::Format;
use crate::exit::Exit;
use crate::failure::{Failure, one_line};
use crate::render::{self, Paint, Row, Section, Tone};

/// Looks, and says what there is.
pub(crate) fn run(format: Format) -> Result<(), Failure> {
    let report = Report::new(platform::probe(), node::probe_all());
    say(&match format {
        Format::Text => report.to_text(Paint::of_stdout()),
        Format::Json => report.to_json()?,
    })?;
    match report.missing {
        None => Ok(()),
        Some(missing) => Err(Failure::new(
            Exit::Unfit,
            missing,
            "procession needs Linux 5.4 or later",
        )),
    }
}

/// The report as `--json` writes it; fields are added, not renamed.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    kernel: String,
    /// Which side of the system layer was built: `linux` or `portable`.
    side: &'static str,
    pidfd: bool,
    close_range: bool,
    parent_death_signal: bool,
    subreaper: bool,
    cgroup_kill: Cgroup,
    tree_level: &'static str,
    tree_meaning: &'static str,
    cpus: usize,
    open_files: Limit,
    processes: Limit,
    node: Vec<Node>,
    /// What procession cannot do without and is not here.
    missing: Option<&'static str>,
}

/// Where control groups for trees are made, or why nowhere.
#[derive(Debug, Serialize)]
struct Cgroup {
    place: Option<String>,
    problem: Option<String>,
}

/// A limit of this process; `null` is none.
#[derive(Clone, Copy, Debug, Serialize)]
struct Limit {
    soft: Option<u64>,
    hard: Option<u64>,
}

/// Something called `node`: its version, or what is wrong with it.
#[derive(Debug, Serialize)]
struct Node {
    path: String,
    version: Option<String>,
    error: Option<String>,
}

impl Report {
    fn new(platform: Platform, nodes: Vec<Result<NodeInstall, NodeError>>) -> Self {
        let limit = |(soft, hard)| Limit { soft, hard };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            // The portable side waits by threads and needs no pidfd.
            missing: (platform.side == "linux" && !platform.pidfd)
                .then_some("this kernel has no pidfd, so no child can be started"),
            kernel: platform.kernel,
            side: platform.side,
            pidfd: platform.pidfd,
            close_range: platform.close_range,
            parent_death_signal: platform.parent_death_signal,
            subreaper: platform.subreaper,
            cgroup_kill: Cgroup {
                place: platform.cgroup_kill.as_deref().map(text_of),
                problem: platform.cgroup_problem,
            },
            tree_level: name_of(platform.tree_level),
            tree_meaning: meaning_of(platform.tree_level),
            cpus: platform.cpus,
            open_files: limit(platform.open_files),
            processes: limit(platform.processes),
            node: nodes.into_iter().map(Node::new).collect(),
        }
    }

    fn to_json(&self) -> Result<String, Failure> {
        let json = serde_json::to_string_pretty(self).map_err(|error| {
            let hint = "this is a mistake of procession; leave `--json` out";
            Failure::new(Exit::Failure, "cannot write the report as JSON", hint).caused_by(&error)
        })?;
        Ok(json + "\n")
    }

    fn to_text(&self, paint: Paint) -> String {
        let head = format!("procession {} on {}\n", self.version, self.kernel);
        let sections = [self.starting(), self.trees(), self.limits(), self.nodes()];
        head + &render::sections(&sections, paint)
    }

    fn starting(&self) -> Section {
        let row = |label, there, with, without| {
            let (value, tone) = yes_or_no(there);
            Row::new(label, value, tone).note(if there { with } else { without })
        };
        let rows = vec![
            row(
                "pidfd",
                self.pidfd,
                "signals and waits never meet a reused process id",
                "a thread waits for each child",
            ),
            row(
                "close_range",
                self.close_range,
                "one call keeps our other descriptors from a child",
                "descriptors are kept from a child one by one",
            ),
            row(
                "parent-death signal",
                self.parent_death_signal,
                "a child can be told when we are gone",
                "a child cannot be told when we are gone",
            ),
        ];
        Section {
            title: "Starting",
            rows,
        }
    }

    fn trees(&self) -> Section {
        let (there, tone) = yes_or_no(self.cgroup_kill.place.is_some());
        let where_or_why = match &self.cgroup_kill {
            Cgroup {
                place: Some(place), ..
            } => format!("groups are made in {place}"),
            Cgroup {
                problem: Some(problem),
                ..
            } => problem.clone(),
            Cgroup { .. } => String::new(),
        };
        let (subreaper, subreaper_tone) = yes_or_no(self.subreaper);
        let level_tone = if self.cgroup_kill.place.is_some() {
            Tone::Good
        } else {
            Tone::Weak
        };
        let rows = vec![
            Row::new("cgroup kill", there, tone).note(where_or_why),
            Row::new("subreaper", subreaper, subreaper_tone)
                .note("what is used where no group can be made"),
            Row::new("in force", self.tree_level, level_tone).note(self.tree_meaning),
        ];
        Section {
            title: "Ending trees (Tree::Contain)",
            rows,
        }
    }

    fn limits(&self) -> Section {
        let cpus = self.cpus.to_string();
        let rows = vec![
            Row::new("CPUs", cpus, Tone::Plain).note("that this process may use"),
            Row::new("open files", self.open_files.to_text(), Tone::Plain)
                .note("soft and hard limit"),
            Row::new("processes", self.processes.to_text(), Tone::Plain)
                .note("soft and hard limit"),
        ];
        Section {
            title: "Limits",
            rows,
        }
    }

    fn nodes(&self) -> Section {
        let mut rows: Vec<Row> = self.node.iter().map(Node::to_row).collect();
        if rows.is_empty() {
            rows.push(Row::new("none on PATH", "", Tone::Plain));
        }
        Section {
            title: "Node",
            rows,
        }
    }
}

impl Limit {
    fn to_text(self) -> String {
        let text = |limit: Option<u64>| limit.map_or_else(|| "unlimited".into(), |n| n.to_string());
        if self.soft == self.hard {
            text(self.soft)
        } else {
            format!("{} of {}", text(self.soft), text(self.hard))
        }
    }
}

impl Node {
    fn new(found: Result<NodeInstall, NodeError>) -> Self {
        match found {
            Ok(node) => Self {
                path: text_of(&node.path),
                version: Some(node.version),
                error: None,
            },
            Err(error) => Self {
                path: text_of(error.path()),
                version: None,
                error: Some(one_line(&error)),
            },
        }
    }

    fn to_row(&self) -> Row {
        match (&self.version, &self.error) {
            (Some(version), _) => Row::new(version, &self.path, Tone::Plain),
            (None, error) => {
                Row::new("broken", &self.path, Tone::Bad).note(error.clone().unwrap_or_default())
            }
        }
    }
}

/// A path as text, without a slash at its end.
fn text_of(path: &Path) -> String {
    path.components().as_path().display().to_string()
}

fn yes_or_no(there: bool) -> (&'static str, Tone) {
    if there {
        ("yes", Tone::Good)
    } else {
        ("no", Tone::Weak)
    }
}

fn name_of(level: TreeLevel) -> &'static str {
    match level {
        TreeLevel::Cgroup => "cgroup",
        TreeLevel::Subreaper => "subreaper",
        TreeLevel::Walk => "walk",
        TreeLevel::Group => "group",
        TreeLevel::Process => "process",
    }
}

/// What the level means for somebody who wants everything gone, in one sentence.
fn meaning_of(level: TreeLevel) -> &'static str {
    match level {
        TreeLevel::Cgroup => "nothing escapes, forks that race the kill included",
        TreeLevel::Subreaper => {
            "only a process that wiped its environment and outlived the child escapes"
        }
        TreeLevel::Walk => "a process that lost its parent before the end escapes",
        TreeLevel::Group => {
            "only a child that leads a process group takes the group along; \
             what has left it (setsid) escapes"
        }
        TreeLevel::Process => "only the child itself is ended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Platform {
        Platform {
            side: "linux",
            kernel: "Linux 6.1.0".into(),
            pidfd: true,
            close_range: true,
            cgroup_kill: Some("/sys/fs/cgroup/user.slice/".into()),
            cgroup_problem: None,
            subreaper: true,
            parent_death_signal: true,
            tree_level: TreeLevel::Cgroup,
            cpus: 2,
            open_files: (Some(1024), Some(524_288)),
            processes: (None, None),
        }
    }

    fn screen(platform: Platform, nodes: Vec<Node>) -> String {
        let mut report = Report::new(platform, Vec::new());
        report.version = "0.1.0";
        report.node = nodes;
        report.to_text(Paint::Plain)
    }

    #[test]
    fn the_screen_of_a_good_machine() {
        let node = |version: &str, path: &str| Node {
            path: path.into(),
            version: Some(version.into()),
            error: None,
        };
        let nodes = vec![
            node("20.20.2", "/usr/bin/node"),
            node("24.3.0", "/opt/node24/bin/node"),
        ];
        let expected = "\
procession 0.1.0 on Linux 6.1.0

Starting
  pidfd                yes  signals and waits never meet a reused process id
  close_range          yes  one call keeps our other descriptors from a child
  parent-death signal  yes  a child can be told when we are gone

Ending trees (Tree::Contain)
  cgroup kill  yes     groups are made in /sys/fs/cgroup/user.slice
  subreaper    yes     what is used where no group can be made
  in force     cgroup  nothing escapes, forks that race the kill included

Limits
  CPUs        2               that this process may use
  open files  1024 of 524288  soft and hard limit
  processes   unlimited       soft and hard limit

Node
  20.20.2  /usr/bin/node
  24.3.0   /opt/node24/bin/node
";
        assert_eq!(screen(machine(), nodes), expected);
    }

    #[test]
    fn the_screen_of_a_machine_without_control_groups() {
        let platform = Platform {
            cgroup_kill: None,
            cgroup_problem: Some(
                "/sys/fs/cgroup/user.slice: Permission denied (os error 13)".into(),
            ),
            tree_level: TreeLevel::Subreaper,
            ..machine()
        };
        let expected = "
Ending trees (Tree::Contain)
  cgroup kill  no         /sys/fs/cgroup/user.slice: Permission denied (os error
                          13)
  subreaper    yes        what is used where no group can be made
  in force     subreaper  only a process that wiped its environment and outlived
                          the child escapes
";
        let screen = screen(platform, Vec::new());
        assert!(screen.contains(expected), "{screen}");
        assert!(screen.ends_with("\nNode\n  none on PATH\n"), "{screen}");
    }

    #[test]
    fn only_the_linux_side_needs_pidfds() {
        let old = Platform {
            pidfd: false,
            ..machine()
        };
        let portable = Platform {
            side: "portable",
            ..old.clone()
        };
        assert!(Report::new(old, Vec::new()).missing.is_some());
        assert!(Report::new(portable, Vec::new()).missing.is_none());
    }

    #[test]
    fn a_broken_node_says_why_below_a_long_path() {
        let broken = Node {
            path: "/home/somebody/.local/share/versions/node/v24.3.0/bin/node".into(),
            version: None,
            error: Some("it did not say its version".into()),
        };
        let text = screen(machine(), vec![broken]);
        let expected = "
  broken  /home/somebody/.local/share/versions/node/v24.3.0/bin/node
    it did not say its version
";
        assert!(text.ends_with(expected), "{text}");
    }
}
