//! What `deny.toml` says of licences, bans and sources, checked by `cargo metadata` alone, for
//! machines without cargo-deny.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use toml::Table;

use super::Outcome;
use super::command::cargo;
use crate::{say, tree};

/// Checks every dependency.
///
/// # Errors
/// When cargo or `deny.toml` cannot be read.
pub(super) fn check() -> Result<Outcome> {
    let text = tree::text("deny.toml".as_ref())?.context("deny.toml is no text")?;
    let rules: Table = text.parse().context("deny.toml is no TOML")?;
    let output = cargo(["metadata", "--format-version=1", "--locked"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed");
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let findings: Vec<String> = packages
        .iter()
        .flat_map(|package| findings(package, &rules, &dependents(package, &metadata)))
        .collect();
    for finding in &findings {
        say::line(finding);
    }
    Ok(match findings.len() {
        0 => Outcome::Passed(format!(
            "{} packages; cargo-deny is not installed",
            packages.len()
        )),
        count => Outcome::Failed(format!("{count} findings")),
    })
}

/// The names of the packages that use one.
fn dependents<'a>(package: &Value, metadata: &'a Value) -> Vec<&'a str> {
    let items = |value: &'a Value| value.as_array().map_or(&[][..], Vec::as_slice);
    let users = items(&metadata["resolve"]["nodes"]).iter().filter(|node| {
        let mut used = items(&node["dependencies"]).iter();
        used.any(|used| *used == package["id"])
    });
    let named = |user: &Value| {
        let mut packages = items(&metadata["packages"]).iter();
        packages.find(|package| package["id"] == user["id"])?["name"].as_str()
    };
    users.filter_map(named).collect()
}

fn findings(package: &Value, rules: &Table, dependents: &[&str]) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let mut findings = Vec::new();
    let allowed = strings(rules, "licenses", "allow");
    let licence = package["license"].as_str().unwrap_or_default();
    if !licence_fits(licence, &allowed) {
        findings.push(format!("{name}: licence {licence:?} is not allowed"));
    }
    let bans = rules
        .get("bans")
        .and_then(|bans| bans.get("deny"))
        .and_then(toml::Value::as_array);
    for ban in bans.into_iter().flatten() {
        // A ban of some versions needs a resolver of requirements; `=` in the workspace holds them.
        let whole = ban.get("version").is_none();
        let wrappers = ban.get("wrappers").and_then(toml::Value::as_array);
        let wrapped = wrappers.is_some_and(|wrappers| {
            let wrappers: Vec<&str> = wrappers.iter().filter_map(toml::Value::as_str).collect();
            let is_wrapper = |name: &&str| wrappers.contains(name);
            dependents.iter().all(is_wrapper)
        });
        let it = ban.get("name").and_then(toml::Value::as_str) == Some(name);
        if it && whole && !wrapped {
            findings.push(format!("{name}: is banned"));
        }
    }
    if let Some(source) = package["source"].as_str() {
        let allowed = strings(rules, "sources", "allow-registry");
        let known = source
            .strip_prefix("registry+")
            .is_some_and(|from| allowed.contains(&from));
        if !known {
            findings.push(format!("{name}: comes from {source}"));
        }
    }
    findings
}

fn strings<'a>(rules: &'a Table, section: &str, field: &str) -> Vec<&'a str> {
    let list = rules.get(section).and_then(|section| section.get(field));
    let list = list.and_then(toml::Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(toml::Value::as_str)
        .collect()
}

/// Whether an SPDX expression can be met with the allowed licences. `/` is the old spelling of OR.
fn licence_fits(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = Words {
        rest: &words,
        allowed,
    };
    let fits = words.any();
    fits && words.rest.is_empty()
}

/// `any := all (OR all)*`, `all := one (AND one)*`, `one := "(" any ")" | name [WITH exception]`.
struct Words<'a> {
    rest: &'a [&'a str],
    allowed: &'a [&'a str],
}

impl Words<'_> {
    fn any(&mut self) -> bool {
        let mut fits = self.all();
        while self.take("OR") {
            // Both sides are read, whatever the first one said.
            let other = self.all();
            fits |= other;
        }
        fits
    }

    fn all(&mut self) -> bool {
        let mut fits = self.one();
        while self.take("AND") {
            let other = self.one();
            fits &= other;
        }
        fits
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let fits = self.any();
            return self.take(")") && fits;
        }
        let Some((name, rest)) = self.rest.split_first() else {
            return false;
        };
        self.rest = rest;
        let mut name = (*name).to_owned();
        if self.take("WITH")
            && let Some((exception, rest)) = self.rest.split_first()
        {
            self.rest = rest;
            name = format!("{name} WITH {exception}");
        }
        self.allowed.contains(&name.as_str())
    }

    fn take(&mut self, word: &str) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == word => {
                self.rest = rest;
                true
            }
            Some(_) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_met_or_not() {
        let allowed = ["MIT", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"];
        for fits in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR GPL-2.0",
        ] {
            assert!(licence_fits(fits, &allowed), "{fits}");
        }
        for does_not in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "Apache-2.0",
            "(MIT",
            "MIT MIT",
        ] {
            assert!(!licence_fits(does_not, &allowed), "{does_not}");
        }
    }
}
