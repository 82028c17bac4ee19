//! Rules about the crates: lints are inherited, and arrows point one way.

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use crate::tree;

/// What tests may use besides: the cloud's own tests talk to a real edge, and several crates' to a
/// real control plane.
const TEST_ARROWS: [(&str, &str); 4] = [
    ("cloud-sync", "edge-sync"),
    ("cloud-sync", "testbed"),
    ("cli", "testbed"),
    ("edge-sync", "testbed"),
];

/// Which crates of ours each crate may use. Daemons meet on the wire, never as crates.
const ARROWS: [(&str, &[&str]); 15] = [
    ("log", &["log"]),
    ("projections", &["log"]),
    ("kube-api", &["log", "projections"]),
    ("daemon", &["log", "projections", "kube-api"]),
    ("dmi", &[]),
    ("mapper", &["dmi"]),
    ("cloud-sync", &["log", "projections", "kube-api", "daemon"]),
    (
        "edge-sync",
        &["log", "projections", "kube-api", "daemon", "dmi"],
    ),
    ("edged", &["log", "projections", "kube-api", "daemon"]),
    ("edge", &["log", "daemon", "edge-sync", "edged"]),
    (
        "simulator",
        &[
            "log",
            "projections",
            "kube-api",
            "daemon",
            "cloud-sync",
            "edge-sync",
            "edged",
        ],
    ),
    (
        "proptests",
        &[
            "log",
            "projections",
            "kube-api",
            "daemon",
            "cloud-sync",
            "edge-sync",
            "edged",
            "simulator",
        ],
    ),
    (
        "cli",
        &[
            "log",
            "projections",
            "kube-api",
            "daemon",
            "cloud-sync",
            "edge",
            "edge-sync",
            "edged",
            "mapper",
            "simulator",
        ],
    ),
    (
        "xtask",
        &["log", "projections", "mapper", "simulator", "testbed"],
    ),
    ("xtask/k8s", &[]),
];

/// What is wrong with the manifests of the members.
pub(super) fn check() -> Result<Vec<String>> {
    let workspace = manifest("Cargo.toml")?;
    let members = workspace["workspace"]["members"]
        .as_array()
        .context("no members")?;
    let mut findings = Vec::new();
    for member in members.iter().filter_map(Value::as_str) {
        let manifest = manifest(&format!("{member}/Cargo.toml"))?;
        findings.extend(check_member(member, &manifest));
    }
    Ok(findings)
}

fn manifest(path: &str) -> Result<Table> {
    let text = tree::text(path.as_ref())?.with_context(|| format!("{path} is no text"))?;
    text.parse().with_context(|| format!("{path} is no TOML"))
}

pub(super) fn check_member(member: &str, manifest: &Table) -> Vec<String> {
    let mut findings = Vec::new();
    let inherited = manifest
        .get("lints")
        .and_then(|lints| lints.get("workspace"));
    if inherited.and_then(Value::as_bool) != Some(true) {
        findings.push(format!(
            "{member}/Cargo.toml: does not inherit the lints of the workspace"
        ));
    }
    let description = manifest
        .get("package")
        .and_then(|package| package.get("description"));
    if description
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        findings.push(format!("{member}/Cargo.toml: has no description"));
    }
    findings.extend(deliberate_bugs(member, manifest));
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == member) else {
        findings.push(format!(
            "{member}/Cargo.toml: xtask/src/tidy/members.rs knows no arrows of it"
        ));
        return findings;
    };
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(dependencies) = manifest.get(section).and_then(Value::as_table) else {
            continue;
        };
        for ours in dependencies
            .keys()
            .filter_map(|name| name.strip_prefix("causeway-"))
        {
            let for_tests = section == "dev-dependencies"
                && (ours == member || TEST_ARROWS.contains(&(member, ours)));
            if !allowed.contains(&ours) && !for_tests {
                findings.push(format!(
                    "{member}/Cargo.toml: may not use {ours} ({section})"
                ));
            }
        }
    }
    findings
}

/// Deliberate bugs can be switched on in the crate of the checks only, and not by default.
fn deliberate_bugs(member: &str, manifest: &Table) -> Vec<String> {
    let mut findings = Vec::new();
    let names = |value: &Value| value.as_str().is_some_and(|name| name.contains("mutants"));
    let features = manifest.get("features").and_then(Value::as_table);
    for (feature, implied) in features.into_iter().flatten() {
        let implies = implied
            .as_array()
            .is_some_and(|implied| implied.iter().any(names));
        if implies && (feature != "mutants" || member != "proptests") {
            findings.push(format!(
                "{member}/Cargo.toml: the feature {feature} switches on deliberate bugs"
            ));
        }
    }
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let dependencies = manifest.get(section).and_then(Value::as_table);
        for (name, dependency) in dependencies.into_iter().flatten() {
            let features = dependency.get("features").and_then(Value::as_array);
            if features.is_some_and(|features| features.iter().any(names)) {
                findings.push(format!(
                    "{member}/Cargo.toml: {name} is used with deliberate bugs"
                ));
            }
        }
    }
    findings
}
