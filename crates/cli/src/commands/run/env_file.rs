//! Files of variables, as `node --env-file` reads them.

/// A line that is no variable.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// From 1.
    pub(super) line: usize,
}

/// The variables of a file, in order.
///
/// `NAME=value`, perhaps after `export`. Values may stand in `'`, `"` or `` ` ``, and
/// go over several lines then; within `"`, `\n` is a new line. `#` begins a remark.
/// Where Node skips a line that it does not understand, we refuse it.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, Malformed> {
    let mut variables = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
        rest = &rest[start..];
        let malformed = || Malformed {
            line: 1 + text[..text.len() - rest.len()].matches('\n').count(),
        };
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        if line.starts_with('#') {
            rest = after;
            continue;
        }
        let (name, _) = line.split_once('=').ok_or_else(malformed)?;
        let value = &rest[name.len() + 1..];
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        if !is_name(name) {
            return Err(malformed());
        }
        let (value, after) = take_value(value);
        variables.push((name.to_owned(), value));
        rest = after;
    }
    Ok(variables)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '\0')
}

/// A value, and what comes after its line.
fn take_value(text: &str) -> (String, &str) {
    let line_end = text.find('\n').unwrap_or(text.len());
    let first = text[..line_end].trim_start();
    let quote = first
        .chars()
        .next()
        .filter(|c| ['\'', '"', '`'].contains(c));
    if let Some(quote) = quote {
        let inner = &text[text.len() - text.trim_start().len() + 1..];
        if let Some((value, after)) = inner.split_once(quote) {
            let after = after.split_once('\n').map_or("", |(_, after)| after);
            let value = if quote == '"' {
                value.replace("\\n", "\n")
            } else {
                value.to_owned()
            };
            return (value, after);
        }
    }
    let value = first.split('#').next().unwrap_or_default().trim_end();
    (
        value.to_owned(),
        text.get(line_end + 1..).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_node_reads_them() {
        let text = "# remark\nPORT=8000 # another\n\nexport A = b c \nEMPTY=\nQ='a # b'\n\
                    TWO=\"x\ny\\nz\" # remark\nOPEN='no end\nURL=a=b&c\r\nLAST=`q\"q`";
        let expected = [
            ("PORT", "8000"),
            ("A", "b c"),
            ("EMPTY", ""),
            ("Q", "a # b"),
            ("TWO", "x\ny\nz"),
            ("OPEN", "'no end"),
            ("URL", "a=b&c"),
            ("LAST", "q\"q"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text), Ok(expected.to_vec()));
    }

    #[test]
    fn what_is_no_variable_is_told_by_its_line() {
        assert_eq!(parse("A=1\n\nnonsense\n"), Err(Malformed { line: 3 }));
        assert_eq!(parse("=1"), Err(Malformed { line: 1 }));
        assert_eq!(parse("a b=1"), Err(Malformed { line: 1 }));
    }
}
