//! The JSONPath that printer columns use: fields, indexes, `[*]` and equality filters.

use serde_json::Value;

/// The first value at a path such as `.status.conditions[?(@.type=="Ready")].status`. `None` when
/// nothing is there, or when the path is beyond this subset.
pub(super) fn first<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    walk(
        object,
        path.trim_start_matches(['{', '$']).trim_end_matches('}'),
    )
}

fn walk<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return Some(value);
    }
    if let Some(rest) = path.strip_prefix('.') {
        let (name, rest) = field(rest);
        return walk(value.get(name)?, rest);
    }
    let (inside, rest) = bracketed(path)?;
    if let Some(filter) = inside
        .strip_prefix("?(")
        .and_then(|it| it.strip_suffix(')'))
    {
        let (path, wanted) = filter.split_once("==")?;
        let path = path.trim().strip_prefix('@')?;
        let wanted = wanted.trim().trim_matches(['"', '\'']);
        let text = |found: &Value| {
            found
                .as_str()
                .map_or_else(|| found.to_string(), str::to_owned)
        };
        let matches =
            |element: &&Value| walk(element, path).is_some_and(|found| text(found) == wanted);
        return value
            .as_array()?
            .iter()
            .filter(matches)
            .find_map(|element| walk(element, rest));
    }
    if inside == "*" {
        return value
            .as_array()?
            .iter()
            .find_map(|element| walk(element, rest));
    }
    if let Ok(index) = inside.parse::<i64>() {
        let list = value.as_array()?;
        let index = match usize::try_from(index) {
            Ok(index) => index,
            Err(_) => list
                .len()
                .checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
        };
        return walk(list.get(index)?, rest);
    }
    walk(value.get(inside.trim_matches(['"', '\'']))?, rest)
}

/// Splits a name, in which `\.` is a dot, from what follows it.
fn field(path: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = path.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '.' | '[' => return (name, path.get(at..).unwrap_or("")),
            '\\' => name.extend(chars.next().map(|(_, char)| char)),
            _ => name.push(char),
        }
    }
    (name, "")
}

/// Splits `[…]` from what follows it; brackets in quotes or parentheses do not count.
fn bracketed(path: &str) -> Option<(&str, &str)> {
    let inside = path.strip_prefix('[')?;
    let mut quote = None;
    let mut depth = 0_u32;
    for (at, char) in inside.char_indices() {
        match (quote, char) {
            (Some(open), _) if open == char => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(char),
            (None, '[' | '(') => depth += 1,
            (None, ']') if depth == 0 => return Some((inside.get(..at)?, inside.get(at + 1..)?)),
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    None
}
