//! Every invariant is named by a check that fails when it is broken.

use std::path::{Path, PathBuf};

use causeway_log::replication::Invariant;

/// Whether a file holds checks: tests, what makes worlds for them, the simulator.
fn checks(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    let places = [
        "/tests/",
        "/tests.rs",
        "/conformance/",
        "/proptests/src/",
        "/simulator/src/world/",
    ];
    is_rust
        && !path.ends_with("tests/it/invariants.rs")
        && places.iter().any(|at| text.contains(at))
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, found);
        } else if checks(&path) {
            found.push(path);
        }
    }
}

/// The id as a word, or the variant.
fn names(text: &str, invariant: Invariant) -> bool {
    let id = invariant.id();
    let is_end = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_digit());
    let by_id = text
        .match_indices(id)
        .any(|(at, _)| is_end(&text[at + id.len()..]));
    by_id || text.contains(&format!("Invariant::{invariant:?}"))
}

#[test]
fn every_invariant_is_named_by_a_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    files(root, &mut found);
    assert!(found.len() > 50, "the sources are not where they were");
    let texts: Vec<String> = found
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let unnamed: Vec<&str> = Invariant::ALL
        .iter()
        .filter(|invariant| !texts.iter().any(|text| names(text, **invariant)))
        .map(|invariant| invariant.id())
        .collect();
    assert!(unnamed.is_empty(), "no check names {unnamed:?}");
}
