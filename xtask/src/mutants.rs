//! `cargo xtask mutants`: switches on one deliberate bug after the other and says which check finds
//! it, after how many cases.
//!
//! The checks are tests that exist anyway, in binaries built with the feature `mutants`. Every bug
//! runs in a process of its own; the same seed each time, so that the table can be made again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{say, tree};

/// Check the checks: each deliberate bug must be found
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only bugs whose name contains one of these
    names: Vec<String>,
}

/// What looks for bugs: a test of a package, and what it looks at.
struct Check {
    name: &'static str,
    package: &'static str,
    /// `lib` or `test`.
    kind: &'static str,
    filter: &'static str,
    areas: &'static [Area],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Area {
    Replication,
    Cloud,
    Fold,
    Watch,
    Planner,
    Selector,
}

use Area::{Cloud, Fold, Planner, Replication, Selector, Watch};

const CHECKS: [Check; 11] = [
    Check {
        name: "pair explored",
        package: "proptests",
        kind: "test",
        filter: "exhaustive::",
        areas: &[Replication],
    },
    Check {
        name: "pair histories",
        package: "log",
        kind: "lib",
        filter: "replication::tests::property",
        areas: &[Replication],
    },
    Check {
        name: "pair scenarios",
        package: "log",
        kind: "lib",
        filter: "replication::tests::re",
        areas: &[Replication],
    },
    Check {
        name: "cloud scenarios",
        package: "cloud-sync",
        kind: "lib",
        filter: "tests::",
        areas: &[Cloud],
    },
    Check {
        name: "sites",
        package: "proptests",
        kind: "test",
        filter: "sites::",
        areas: &[Replication, Cloud, Fold],
    },
    Check {
        name: "cluster",
        package: "cloud-sync",
        kind: "lib",
        filter: "cluster::tests::what_nodes",
        areas: &[Cloud],
    },
    Check {
        name: "interest",
        package: "cloud-sync",
        kind: "lib",
        filter: "interest::tests::incremental",
        areas: &[Cloud],
    },
    Check {
        name: "folds",
        package: "projections",
        kind: "lib",
        filter: "objects::tests",
        areas: &[Fold, Watch],
    },
    Check {
        name: "watches",
        package: "kube-api",
        kind: "lib",
        filter: "watch::tests::a_",
        areas: &[Fold, Watch],
    },
    Check {
        name: "planner",
        package: "edged",
        kind: "lib",
        filter: "plan::tests::properties",
        areas: &[Planner],
    },
    Check {
        name: "selectors",
        package: "proptests",
        kind: "test",
        filter: "selectors::",
        areas: &[Selector],
    },
];

/// Where to look for each bug; the list itself is `log/src/mutant.rs`, and a test keeps them equal.
const BUGS: [(&str, Area); 22] = [
    ("ack-before-durable", Replication),
    ("skip-record-on-resume", Replication),
    ("drop-tombstone", Replication),
    ("drop-withdrawn-in-reconcile", Replication),
    ("trust-foreign-past", Replication),
    ("resume-below-floor", Replication),
    ("forget-unfinished-reconcile", Replication),
    ("hello-without-barrier", Replication),
    ("unchecked-delta-base", Replication),
    ("forget-fencing", Cloud),
    ("lost-withdraw", Cloud),
    ("lost-update", Cloud),
    ("failed-round-keeps-graph", Cloud),
    ("write-back-twice", Cloud),
    ("write-back-skips", Cloud),
    ("fold-takes-older", Fold),
    ("watch-forgets-deletes", Watch),
    ("watch-skips-a-page", Watch),
    ("watch-keeps-unselected", Watch),
    ("planner-starts-twice", Planner),
    ("planner-leaves-orphans", Planner),
    ("notin-needs-the-label", Selector),
];

/// What a check said of a bug.
enum Said {
    /// It failed, after so many cases where that is known.
    Found(Option<u64>),
    Passed,
    NoTest,
}

/// Runs the chosen bugs; `false`: one was found by nobody.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let binaries = build()?;
    for check in &CHECKS {
        if !matches!(ask(&binaries, check, "")?, Said::Passed) {
            bail!("{} does not pass without a bug", check.name);
        }
    }
    let mut rows = Vec::new();
    for (bug, area) in BUGS {
        let chosen = args.names.is_empty() || args.names.iter().any(|name| bug.contains(name));
        if !chosen {
            continue;
        }
        let mut found = Vec::new();
        for check in CHECKS.iter().filter(|check| check.areas.contains(&area)) {
            let began = Instant::now();
            match ask(&binaries, check, bug)? {
                Said::Found(Some(cases)) => found.push(format!("{} ({cases})", check.name)),
                Said::Found(None) => found.push(check.name.to_owned()),
                Said::Passed => {}
                Said::NoTest => bail!("{} has no test", check.name),
            }
            let took = began.elapsed().max(Duration::from_millis(1));
            say::line(format!("{bug}: {} took {took:.1?}", check.name));
        }
        rows.push((bug, found));
    }
    say::line("| deliberate bug | found by (after so many cases) |\n|---|---|");
    for (bug, found) in &rows {
        let found = if found.is_empty() {
            "**nobody**".to_owned()
        } else {
            found.join(", ")
        };
        say::line(format!("| `{bug}` | {found} |"));
    }
    Ok(rows.iter().all(|(_, found)| !found.is_empty()))
}

/// The test binaries, by package and kind.
type Binaries = BTreeMap<(String, String), PathBuf>;

fn build() -> Result<Binaries> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "test",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]);
    cargo.args(["--features", "causeway-proptests/mutants"]);
    for package in [
        "log",
        "projections",
        "kube-api",
        "cloud-sync",
        "edged",
        "proptests",
    ] {
        cargo.args(["--package", &format!("causeway-{package}")]);
    }
    let output = cargo
        .current_dir(tree::root())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the tests do not compile");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    Ok(messages.filter_map(|message| binary(&message)).collect())
}

fn binary(message: &Value) -> Option<((String, String), PathBuf)> {
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let manifest = Path::new(message["manifest_path"].as_str()?);
    let package = manifest.parent()?.file_name()?.to_str()?.to_owned();
    let kind = message["target"]["kind"][0].as_str()?.to_owned();
    let executable = PathBuf::from(message["executable"].as_str()?);
    Some(((package, kind), executable))
}

fn ask(binaries: &Binaries, check: &Check, bug: &str) -> Result<Said> {
    let binary = binaries
        .get(&(check.package.to_owned(), check.kind.to_owned()))
        .with_context(|| format!("{} was not built", check.package))?;
    let output = Command::new(binary)
        .args([check.filter, "--nocapture"])
        .current_dir(tree::root().join(check.package))
        .env("CAUSEWAY_MUTANT", bug)
        .env("PROPTEST_RNG_SEED", "1")
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
        .env("PROPTEST_MAX_SHRINK_ITERS", "0")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        let is_empty = text.contains("0 passed; 0 failed");
        return Ok(if is_empty { Said::NoTest } else { Said::Passed });
    }
    Ok(Said::Found(cases(&text)))
}

/// Cases until the first failure: what proptest and the model say of it.
fn cases(text: &str) -> Option<u64> {
    let numbers = text.lines().filter_map(|line| {
        let line = line.trim();
        let passed = line
            .strip_prefix("successes: ")
            .and_then(|n| n.parse::<u64>().ok());
        let states = line
            .strip_prefix("states until then: ")
            .and_then(|n| n.parse().ok());
        passed.map(|passed| passed + 1).or(states)
    });
    numbers.min()
}

#[cfg(test)]
mod tests {
    use super::BUGS;

    #[test]
    fn the_list_of_bugs_is_the_one_of_the_log() {
        let source = include_str!("../../log/src/mutant.rs");
        for (bug, _) in BUGS {
            assert!(
                source.contains(&format!("\"{bug}\"")),
                "{bug} is not in the list"
            );
        }
        assert_eq!(
            BUGS.len(),
            source.matches("\n    (").count(),
            "the lists differ"
        );
    }
}
