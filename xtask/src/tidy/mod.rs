//! Rules that neither the compiler nor clippy checks.

use std::path::Path;

use anyhow::Result;

use crate::tree;

mod functions;
mod members;
#[cfg(test)]
mod tests;

/// Lines of a source file.
const FILE_LINES_MAX: usize = 500;

/// Words that say "not finished"; composed, or this file would be a finding itself.
const LEFTOVERS: [&str; 6] = [
    concat!("to", "do!"),
    concat!("unimplemented", "!"),
    concat!("db", "g!"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
];

/// Paths that exist on one machine only.
const MACHINE_PATHS: [&str; 2] = [concat!("/ho", "me/"), concat!("/wo", "rk/")];

/// Which third party may be named where: one module each, so that it can be replaced there.
const FENCES: [(&str, &[&str]); 2] = [
    (
        "fjall::",
        &[
            "log/src/store/fjall",
            "log/src/store/mod.rs",
            "log/src/lib.rs",
            "daemon/src/store_dir",
        ],
    ),
    (
        "tungstenite::",
        &[
            "daemon/src/ws",
            "cli/tests/",
            "daemon/tests/",
            "edge-sync/tests/",
            "cloud-sync/tests/",
        ],
    ),
];

/// Everything that breaks a rule, one line each.
pub(crate) fn check() -> Result<Vec<String>> {
    let mut findings = members::check()?;
    for file in tree::files()? {
        let Some(text) = tree::text(&file)? else {
            continue;
        };
        findings.extend(check_file(&file, &text));
    }
    Ok(findings)
}

/// The rules that look at one file.
fn check_file(file: &Path, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let name = file.display();
    let rust = file.extension().is_some_and(|extension| extension == "rs");
    if rust {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            findings.push(format!("{name}: {lines} lines, {FILE_LINES_MAX} at most"));
        }
        findings.extend(functions::check(file, text));
        findings.extend(fences(file, text));
    }
    for (number, line) in text.lines().enumerate() {
        let place = format!("{name}:{}", number + 1);
        if rust && let Some(word) = LEFTOVERS.iter().find(|word| line.contains(**word)) {
            findings.push(format!("{place}: a leftover {word}"));
        }
        if MACHINE_PATHS.iter().any(|path| names_path(line, path)) {
            findings.push(format!("{place}: a path of one machine"));
        }
        if rust && (line.ends_with(' ') || line.contains('\t')) {
            findings.push(format!("{place}: a trailing space or a tab"));
        }
    }
    if file
        .extension()
        .is_some_and(|extension| extension == "toml")
        && let Err(error) = text.parse::<toml::Table>()
    {
        findings.push(format!("{name}: no TOML: {}", error.message()));
    }
    findings
}

/// Whether a line names an absolute path that begins so; a relative path may contain it.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(place, _)| {
        let before = line
            .get(..place)
            .and_then(|before| before.chars().next_back());
        before.is_none_or(|before| " \t\"'`(=:,<[".contains(before))
    })
}

fn fences(file: &Path, text: &str) -> Vec<String> {
    let name = file.to_string_lossy();
    let mut findings = Vec::new();
    for (word, places) in FENCES {
        let allowed =
            name.starts_with("xtask/") || places.iter().any(|place| name.starts_with(place));
        let used = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.match_indices(word).any(|(place, _)| {
                // `store::fjall::` is our own module of that name.
                let before = code
                    .get(..place)
                    .and_then(|before| before.chars().next_back());
                before.is_none_or(|before| before != ':')
            })
        });
        if used && !allowed {
            let word = word.trim_end_matches(':');
            findings.push(format!(
                "{name}: names {word}, which belongs behind {}",
                places[0]
            ));
        }
    }
    findings
}
