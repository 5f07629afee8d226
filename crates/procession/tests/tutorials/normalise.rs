//! Takes out of an output what differs from run to run: the rules of `interop/README.md`.

use std::collections::HashSet;
use std::path::Path;

use super::rows::Order;

/// Behind these the clusters of S1-10 and S2-21 say a pid: part of rule 3.
const PIDS_BEHIND: [&str; 7] = [
    "процесс ",
    "Воркер ",
    "воркера ",
    "[master] ",
    "[master] worker ",
    "[worker] ",
    "[worker:",
];

/// Applies the rules in their order; `tmp` and `program` are the directories of rule 1.
pub(crate) fn normalise(output: &str, tmp: &Path, program: &Path) -> String {
    let text = output
        .replace(tmp.to_str().unwrap(), "<tmp>")
        .replace(program.to_str().unwrap(), "<program>");
    let pids = said_pids(&text);
    let mut normal = String::new();
    let mut before = String::new();
    for line in fold_npm_help(&text).split_inclusive('\n') {
        let (line, ending) = line.strip_suffix('\n').map_or((line, ""), |l| (l, "\n"));
        let line = replace_words(line, "pid: ", "pid: <pid>", digits);
        let line = replace_words(&line, "ppid: ", "ppid: <its pid>", |rest| {
            digits(rest).filter(|length| pids.contains(&rest[..*length]))
        });
        let line = PIDS_BEHIND.iter().fold(line, |line, words| {
            replace_words(&line, words, &format!("{words}<pid>"), digits)
        });
        let line = replace_words(&line, "v", "<version>", version);
        let line = listing(&total(&line));
        let is_frame = line.starts_with("    at ") && ending == "\n";
        // The newline of a short text may come as a chunk of its own.
        let is_split = line == "stdout: " && before.len() > line.len() && before.starts_with(&line);
        if !is_frame && !is_split {
            normal.push_str(&line);
            normal.push_str(ending);
        }
        before = line;
    }
    normal
}

/// Rule 2: the help of npm is one line.
fn fold_npm_help(text: &str) -> String {
    let mut folded = String::new();
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        inside |= line.trim_end() == "npm <command>";
        if !inside {
            folded.push_str(line);
        } else if line.starts_with("npm@") {
            folded.push_str("<npm help>\n");
            inside = false;
        }
    }
    folded
}

/// Rule 3: replaces `prefix` with what `length` finds behind it, where a word begins.
fn replace_words(
    line: &str,
    prefix: &str,
    by: &str,
    length: impl Fn(&str) -> Option<usize>,
) -> String {
    let mut replaced = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(prefix) {
        let behind = &rest[at + prefix.len()..];
        let begins = !rest[..at].ends_with(is_word);
        match length(behind).filter(|_| begins) {
            Some(length) => {
                replaced.push_str(&rest[..at]);
                replaced.push_str(by);
                rest = &behind[length..];
            }
            None => {
                let next = at + prefix.len();
                replaced.push_str(&rest[..next]);
                rest = &rest[next..];
            }
        }
    }
    replaced + rest
}

/// The numbers that programs gave as their own, or as a child's.
fn said_pids(text: &str) -> HashSet<&str> {
    let places = text.match_indices("pid: ");
    let said = places.filter(|(at, _)| !text[..*at].ends_with(is_word));
    said.filter_map(|(at, prefix)| {
        let rest = &text[at + prefix.len()..];
        digits(rest).map(|length| &rest[..length])
    })
    .collect()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn digits(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    Some(end.unwrap_or(text.len())).filter(|length| *length > 0)
}

/// Three numbers with points between, and no word behind them.
fn version(text: &str) -> Option<usize> {
    let mut length = digits(text)?;
    for _ in 0..2 {
        let rest = text[length..].strip_prefix('.')?;
        length += 1 + digits(rest)?;
    }
    (!text[length..].starts_with(is_word)).then_some(length)
}

/// Rule 4: the first line of `ls -l`.
fn total(line: &str) -> String {
    let (prefix, rest) = line
        .strip_prefix("stdout: ")
        .map_or(("", line), |rest| ("stdout: ", rest));
    match rest.strip_prefix("total ") {
        Some(size) if !size.is_empty() && !size.contains(char::is_whitespace) => {
            format!("{prefix}total <size>")
        }
        Some(_) | None => line.to_owned(),
    }
}

/// Rule 5: mode, owner, size, date and name of a line of `ls -l`.
fn listing(line: &str) -> String {
    let is_mode = |word: &str| {
        let mode = word.as_bytes();
        mode.len() >= 10
            && b"-d".contains(&mode[0])
            && mode[1..10].iter().all(|b| b"-rwx".contains(b))
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [
            mode,
            _links,
            _owner,
            _group,
            size,
            _month,
            _day,
            _year,
            name @ ..,
        ] if is_mode(mode) => {
            format!("{} <owner> {size} <date> {}", &mode[..10], name.join(" "))
        }
        _ => line.to_owned(),
    }
}

/// Programs side by side print in any order: sorts the lines, without the blank ones.
///
/// `pairs` is what is left of the order: the n-th line that begins with the
/// second never comes before the n-th that begins with the first.
pub(crate) fn in_order(text: &str, order: &Order, pairs: &[(String, String)]) -> String {
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    for (first, second) in pairs {
        let mut ahead = 0;
        for line in &lines {
            ahead += i32::from(line.starts_with(first)) - i32::from(line.starts_with(second));
            assert!(
                ahead >= 0,
                "a line `{second}…` came before its `{first}…`:\n{text}"
            );
        }
    }
    match order {
        Order::Seen => return text.to_owned(),
        Order::Any => lines.sort_unstable(),
        // What one side says stays in its order.
        Order::Sides(sides) => lines.sort_by_key(|line| {
            let side = sides.iter().position(|prefix| line.starts_with(prefix));
            side.unwrap_or_else(|| panic!("who says `{line}`?"))
        }),
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_rules_take_out_what_differs_and_nothing_else() {
    let normal = |text: &str| normalise(text, Path::new("/tmp/x/work"), Path::new("/src/p"));
    for (text, expected) in [
        ("/tmp/x/work/a /src/p/b\n", "<tmp>/a <program>/b\n"),
        (
            "a\nnpm <command>\n\nUsage\nnpm@1 /x\nb\n",
            "a\n<npm help>\nb\n",
        ),
        ("pid: 12，进程0 pid: x\n", "pid: <pid>，进程0 pid: x\n"),
        (
            "ppid: 12 ppid: 13\nmy pid: 12\n",
            "ppid: <its pid> ppid: 13\nmy pid: <pid>\n",
        ),
        (
            "Воркер 12 процесс 1x воркер 12 [worker:7] [master] worker 8 worker 9\n",
            "Воркер <pid> процесс <pid>x воркер 12 [worker:<pid>] [master] worker <pid> worker 9\n",
        ),
        (
            "v20.1.22 v1.2 v1.2.3x rev1.2.3\n",
            "<version> v1.2 v1.2.3x rev1.2.3\n",
        ),
        (
            "stdout: total 8.0K\ntotal 4 x\n",
            "stdout: total <size>\ntotal 4 x\n",
        ),
        (
            "-rw-r--r-- 1 root root 23 Jun 26  2024 a b\n",
            "-rw-r--r-- <owner> 23 <date> a b\n",
        ),
        ("Error\n    at x (y:1)\nend", "Error\nend"),
        (
            "stdout: a\nstdout: \n\nstdout: \n",
            "stdout: a\n\nstdout: \n",
        ),
    ] {
        assert_eq!(normal(text), expected);
    }
}

#[test]
fn lines_are_sorted_or_stay_with_their_side() {
    let sides = Order::Sides(vec!["a".into(), "b".into()]);
    let pair = |first: &str, second: &str| [(first.into(), second.into())];
    let text = "b2\n\na2\nb1\na1\n";
    assert_eq!(in_order(text, &Order::Seen, &[]), text);
    assert_eq!(in_order(text, &Order::Any, &[]), "a1\na2\nb1\nb2\n");
    assert_eq!(in_order(text, &sides, &pair("b", "a")), "a2\na1\nb2\nb1\n");
    for (text, first, second) in [(text, "a", "b"), ("a\nc\n", "a", "b")] {
        let sorted = std::panic::catch_unwind(|| in_order(text, &sides, &pair(first, second)));
        assert!(sorted.is_err(), "{first} before {second} in {text}");
    }
}
