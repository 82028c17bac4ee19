//! Documents that list what the code defines say the same.

use std::path::Path;

use crate::replication::Invariant;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_list_of_invariants_is_the_registry() {
    let text = document("invariants.md");
    let listed: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            Some((cells.next()?, cells.next()?))
        })
        .skip(1)
        .collect();
    let registered: Vec<(&str, &str)> = Invariant::ALL
        .iter()
        .map(|invariant| (invariant.id(), invariant.statement()))
        .collect();
    assert_eq!(listed, registered);
}
