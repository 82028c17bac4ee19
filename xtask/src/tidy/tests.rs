use std::path::Path;

use super::*;

fn findings(text: &str) -> Vec<String> {
    check_file(Path::new("log/src/x.rs"), text)
}

#[test]
fn tidy_code_has_no_findings() {
    assert_eq!(
        findings("//! Doc.\n\nfn short() {\n    work();\n}\n"),
        Vec::<String>::new()
    );
}

#[test]
fn a_long_function_is_found_where_it_begins() {
    let body = "    work();\n".repeat(69);
    let long = format!("impl X {{\n    pub(crate) async fn long(&self) {{\n{body}    }}\n}}\n");
    assert_eq!(
        findings(&long),
        ["log/src/x.rs:2: long has 71 lines, 70 at most"]
    );
    let fits = "    work();\n".repeat(68);
    assert!(findings(&format!("fn fits() {{\n{fits}}}\n")).is_empty());
}

#[test]
fn a_declaration_ends_at_its_semicolon() {
    let declared = "    fn declared(\n        &self,\n    ) -> Answer;\n";
    let text = format!("trait X {{\n{declared}}}\n{}", "work();\n".repeat(90));
    assert!(findings(&text).is_empty());
}

#[test]
fn leftovers_and_machine_paths_are_found() {
    let leftover = format!("// {}: later\n", LEFTOVERS[4]);
    assert_eq!(findings(&leftover).len(), 1);
    let path = format!("let x = \"{}me\";\n", MACHINE_PATHS[0]);
    assert_eq!(findings(&path).len(), 1);
    let relative = format!("let x = \"a{}b\";\n", MACHINE_PATHS[1]);
    assert!(
        findings(&relative).is_empty(),
        "a relative path that contains it"
    );
}

#[test]
fn a_third_party_is_named_behind_its_fence_only() {
    assert_eq!(findings("use fjall::Database;\n").len(), 1);
    assert!(findings("use crate::store::fjall::FjallStore;\n").is_empty());
    let fenced = check_file(
        Path::new("log/src/store/fjall/open.rs"),
        "use fjall::Database;\n",
    );
    assert!(fenced.is_empty());
}

#[test]
fn arrows_point_one_way() {
    let manifest = "\
[package]
description = \"x\"
[lints]
workspace = true
[dependencies]
causeway-edge-sync.workspace = true
causeway-log.workspace = true
";
    let findings = members::check_member("cloud-sync", &manifest.parse().unwrap());
    assert_eq!(
        findings,
        ["cloud-sync/Cargo.toml: may not use edge-sync (dependencies)"]
    );
}

#[test]
fn deliberate_bugs_are_for_the_checks_alone() {
    let manifest = "[package]
description = \"x\"
[lints]
workspace = true
[features]
default = [\"causeway-log/mutants\"]
[dependencies.causeway-log]
workspace = true
features = [\"mutants\"]
";
    let findings = members::check_member("cloud-sync", &manifest.parse().unwrap());
    assert_eq!(
        findings,
        [
            "cloud-sync/Cargo.toml: the feature default switches on deliberate bugs",
            "cloud-sync/Cargo.toml: causeway-log is used with deliberate bugs",
        ]
    );
}
