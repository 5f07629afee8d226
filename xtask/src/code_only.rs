//! Rust source without what is no code: comments, strings and characters.

/// Replaces comments and the contents of literals by spaces; lines stay where they are.
pub(crate) fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = match skipped(rest, code.chars().last()) {
            Some(length) => {
                code.extend(
                    rest[..length]
                        .chars()
                        .map(|it| if it == '\n' { it } else { ' ' }),
                );
                length
            }
            None => {
                code.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    code
}

/// Whether the word stands in the line, not as a part of a longer one.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// How long the comment or literal is with which `rest` begins.
fn skipped(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    // `r"…"`, `br#"…"#` and so on, but not the end of a name such as `bar"`.
    let in_name = before.is_some_and(|it| it.is_alphanumeric() || it == '_');
    if in_name { None } else { raw(rest) }
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_u32;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        if is_escaped {
            is_escaped = false;
        } else if character == '\\' {
            is_escaped = true;
        } else if character == quote {
            return at + quote.len_utf8();
        }
    }
    rest.len()
}

/// A character literal; a lifetime begins in the same way and is code.
fn character(rest: &str) -> Option<usize> {
    let mut characters = rest.chars().skip(1);
    let is_literal = match characters.next()? {
        '\\' => true,
        _ => characters.next() == Some('\''),
    };
    is_literal.then(|| quoted(rest, '\''))
}

fn raw(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"]
        .into_iter()
        .find(|prefix| rest.starts_with(prefix))?;
    let after = &rest[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = prefix.len() + hashes + 1;
    Some(
        body.find(&end)
            .map_or(rest.len(), |at| start + at + end.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        for text in [
            "// unsafe\n",
            "/* unsafe /* unsafe */ unsafe */",
            r#"let x = "unsafe \" unsafe";"#,
            "let x = r#\"a \" unsafe\"#;",
            "let x = br\"unsafe\\\";",
            "let x = ['\"', '\\'', 'u']; // unsafe \"",
        ] {
            assert!(
                !has_word(&code_only(text), "unsafe"),
                "{text}: {}",
                code_only(text)
            );
        }
    }

    #[test]
    fn code_stays_in_its_line() {
        let text =
            "/* a\nb */ unsafe { 'a: loop {} }\nlet c = '\"'; unsafe {}\nfn bar<'a>() {} unsafe";
        let code = code_only(text);
        let lines: Vec<bool> = code.lines().map(|line| has_word(line, "unsafe")).collect();
        assert_eq!(lines, [false, true, true, true], "{code}");
    }

    #[test]
    fn a_part_of_a_word_is_not_the_word() {
        assert!(!has_word("#![forbid(unsafe_code)]", "unsafe"));
        assert!(has_word("#[unsafe(no_mangle)]", "unsafe"));
    }
}
