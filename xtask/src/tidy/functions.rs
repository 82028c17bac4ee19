//! Lengths of functions. The code is formatted, so a function ends at the first line that is a
//! closing brace at the indentation of its first line; a declaration without a body at its semicolon.

use std::path::Path;

/// Lines of a function from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// Functions that are too long.
pub(super) fn check(file: &Path, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let end = lines.iter().skip(start).position(|line| {
            let here = line.len() - line.trim_start().len();
            here == indent && (line.trim() == "}" || ends_at_once(line) || ends_a_declaration(line))
        });
        let length = end.map_or(0, |end| end + 1);
        if length > FUNCTION_LINES_MAX {
            let place = format!("{}:{}", file.display(), start + 1);
            findings.push(format!(
                "{place}: {name} has {length} lines, {FUNCTION_LINES_MAX} at most"
            ));
        }
    }
    findings
}

/// A body or a declaration on one line.
fn ends_at_once(line: &str) -> bool {
    function_name(line).is_some() && (line.ends_with('}') || line.ends_with(';'))
}

/// The last line of a declaration whose arguments stand on lines of their own.
fn ends_a_declaration(line: &str) -> bool {
    line.trim_start().starts_with(')') && line.ends_with(';')
}

/// The name of the function that begins on this line.
fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    for word in [
        "pub(crate) ",
        "pub(super) ",
        "pub ",
        "const ",
        "async ",
        "unsafe ",
        "extern \"C\" ",
    ] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let rest = rest.strip_prefix("fn ")?;
    rest.split(['(', '<'])
        .next()
        .filter(|name| !name.is_empty())
}
