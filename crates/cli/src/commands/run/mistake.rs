//! Mistakes that a program's last words give away, and that no restart heals.

/// What is wrong with a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// It is no JavaScript.
    Syntax,
    /// It forks workers itself, and is one here.
    ForksItself,
    /// What it requires is not there.
    NoModule,
}

impl Mistake {
    /// By what Node writes about it.
    pub(super) fn in_lines(lines: &[String]) -> Option<Self> {
        // An import of what a worker does not have is a syntax error too.
        const SAID: [(&str, Mistake); 8] = [
            ("fork is not a function", Mistake::ForksItself),
            ("setupPrimary is not a function", Mistake::ForksItself),
            ("setupMaster is not a function", Mistake::ForksItself),
            ("not provide an export named 'fork'", Mistake::ForksItself),
            (
                "not provide an export named 'setupPrimary'",
                Mistake::ForksItself,
            ),
            (
                "not provide an export named 'setupMaster'",
                Mistake::ForksItself,
            ),
            ("SyntaxError: ", Mistake::Syntax),
            ("MODULE_NOT_FOUND", Mistake::NoModule),
        ];
        // Node says how it ended at the very end; what went before may be a log.
        if !lines.iter().any(|line| line.starts_with("Node.js v")) {
            return None;
        }
        let said = |text: &str| lines.iter().any(|line| line.contains(text));
        SAID.iter()
            .find(|(text, _)| said(text))
            .map(|(_, mistake)| *mistake)
    }

    /// What helps, for the program and its arguments.
    pub(super) fn hint(self, title: &str) -> String {
        match self {
            Self::Syntax => format!("`node --check {title}` shows the place"),
            Self::ForksItself => format!(
                "it forks workers itself: run it with `node {title}`, \
                 or give `procession run` what its workers run"
            ),
            Self::NoModule => "is it installed (`npm install`), and the path right?".to_owned(),
        }
    }
}

/// The last line that names an error.
pub(super) fn telling<'l>(lines: impl DoubleEndedIterator<Item = &'l str>) -> Option<&'l str> {
    let names_it = |line: &&str| {
        let word = line.split([':', ' ']).next().unwrap_or_default();
        word.ends_with("Error") || word.ends_with("Exception")
    };
    lines.rev().find(names_it).map(str::trim_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_line_that_names_the_error_is_found() {
        let bad = lines(
            "/srv/bad.js:3\nSyntaxError: Unexpected token ')'\n    at wrapSafe\n\nNode.js v20",
        );
        let named = telling(bad.iter().map(String::as_str));
        assert_eq!(named, Some("SyntaxError: Unexpected token ')'"));
        assert_eq!(Mistake::in_lines(&bad), Some(Mistake::Syntax));
        assert_eq!(telling("Error\nno such thing".lines()), Some("Error"));
        assert_eq!(telling("all is well".lines()), None);
    }

    #[test]
    fn an_import_of_what_only_a_primary_has_is_no_syntax_mistake() {
        let imports = lines(
            "import { fork } from 'node:cluster';\n         ^^^^\n\
             SyntaxError: The requested module 'node:cluster' does not provide an export \
             named 'fork'\n\nNode.js v20.20.2",
        );
        assert_eq!(Mistake::in_lines(&imports), Some(Mistake::ForksItself));
    }

    #[test]
    fn a_log_of_a_mistake_is_none() {
        let logged = lines("a client sent SyntaxError: Unexpected end of JSON input");
        assert_eq!(Mistake::in_lines(&logged), None);
        let thrown = lines("TypeError: x is not a function\nNode.js v20.20.2");
        assert_eq!(Mistake::in_lines(&thrown), None);
    }
}
