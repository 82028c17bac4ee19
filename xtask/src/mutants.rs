//! `cargo xtask mutants`: switches on one deliberate bug after the other and says which check finds
//! it, after how many cases.
//!
//! The checks are tests that exist anyway and seeds of the simulator, in binaries built once with
//! the feature `mutants`. Every bug runs in a process of its own; the same seeds each time, so that
//! the table can be made again. A seed of the simulator finds a bug when it passes without it. A bug
//! may make a check run for ever: one that takes much longer than it may found the bug, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::test::command::cargo;
use crate::{say, tree};

use process::Ran;

mod process;

/// How long a check may take without a bug.
const PATIENCE: Duration = Duration::from_secs(3600);
/// With one it may take so many times as long, because machines may be busier later.
const PATIENCE_FACTOR: u32 = 8;
/// And no check is given up before this.
const PATIENCE_MIN: Duration = Duration::from_secs(120);

/// Check the checks: each deliberate bug must be found
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only bugs whose name contains one of these
    names: Vec<String>,

    /// How many seeds of the simulator may look for each bug
    #[arg(long, default_value_t = 200)]
    seeds: u64,
}

/// What looks for bugs, and at what.
struct Check {
    name: &'static str,
    looks: Looks,
    areas: &'static [Area],
}

/// How a check looks for bugs.
#[derive(Clone, Copy)]
enum Looks {
    /// With seeds of the simulator, that many at most.
    Seeds,
    /// With a property or a model: tests of a package, by kind (`lib`, `test`) and filter.
    Property(&'static str, &'static str, &'static str),
    /// With single tests: these show what happens, and are not meant to find what nobody thought of.
    Scenario(&'static str, &'static str, &'static str),
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
use Looks::{Property, Scenario, Seeds};

const CHECKS: [Check; 13] = [
    Check {
        name: "simulator",
        looks: Seeds,
        areas: &[Replication, Cloud, Fold, Watch, Planner],
    },
    Check {
        name: "pair explored",
        looks: Property("proptests", "test", "exhaustive::"),
        areas: &[Replication],
    },
    Check {
        name: "pair histories",
        looks: Property("log", "lib", "replication::tests::property"),
        areas: &[Replication],
    },
    Check {
        name: "pair scenarios",
        looks: Scenario("log", "lib", "replication::tests::re"),
        areas: &[Replication],
    },
    Check {
        name: "cloud scenarios",
        looks: Scenario("cloud-sync", "lib", "tests::"),
        areas: &[Cloud],
    },
    Check {
        name: "rounds explored",
        looks: Property("proptests", "test", "rounds::"),
        areas: &[Cloud],
    },
    Check {
        name: "sites",
        looks: Property("proptests", "test", "sites::"),
        areas: &[Replication, Cloud, Fold],
    },
    Check {
        name: "cluster",
        looks: Property("cloud-sync", "lib", "cluster::tests::what_nodes"),
        areas: &[Cloud],
    },
    Check {
        name: "interest",
        looks: Property("cloud-sync", "lib", "interest::tests::incremental"),
        areas: &[Cloud],
    },
    Check {
        name: "folds",
        looks: Property("projections", "lib", "objects::tests"),
        areas: &[Fold, Watch],
    },
    Check {
        name: "watches",
        looks: Property("kube-api", "lib", "watch::tests::a_"),
        areas: &[Fold, Watch],
    },
    Check {
        name: "planner",
        looks: Property("edged", "lib", "plan::tests::properties"),
        areas: &[Planner],
    },
    Check {
        name: "selectors",
        looks: Property("proptests", "test", "selectors::"),
        areas: &[Selector],
    },
];

/// Where to look for each bug; the list itself is `log/src/mutant.rs`, and a test keeps them equal.
const BUGS: [(&str, Area); 23] = [
    ("ack-before-durable", Replication),
    ("skip-record-on-resume", Replication),
    ("drop-tombstone", Replication),
    ("drop-withdrawn-in-reconcile", Replication),
    ("drop-fact", Replication),
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
    /// It did not come to its end.
    Hung(Option<u64>),
    Passed,
    NoTest,
}

/// Runs the chosen bugs; `false`: one was found neither by the simulator nor by a property.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let mut binaries = build()?;
    let chosen: Vec<(&str, Area)> = BUGS
        .into_iter()
        .filter(|(bug, _)| {
            args.names.is_empty() || args.names.iter().any(|name| bug.contains(name))
        })
        .collect();
    let is_needed = |check: &&Check| chosen.iter().any(|(_, area)| check.areas.contains(area));
    for check in CHECKS.iter().filter(is_needed) {
        let began = Instant::now();
        let passes = match check.looks {
            Seeds => true,
            Property(..) | Scenario(..) => {
                matches!(binaries.ask(check, "", args.seeds)?, Said::Passed)
            }
        };
        if !passes {
            bail!("{} does not pass without a bug", check.name);
        }
        let patience = began.elapsed().saturating_mul(PATIENCE_FACTOR);
        binaries
            .patience
            .insert(check.name, patience.max(PATIENCE_MIN));
    }
    let mut rows = Vec::new();
    let mut all_found = true;
    for (bug, area) in chosen {
        let mut found = Vec::new();
        let mut is_found = false;
        for check in CHECKS.iter().filter(|check| check.areas.contains(&area)) {
            let began = Instant::now();
            let said = binaries.ask(check, bug, args.seeds)?;
            let took = began.elapsed().max(Duration::from_millis(1));
            let name = check.name;
            let is_general = matches!(check.looks, Seeds | Property(..));
            is_found |= is_general && matches!(said, Said::Found(_) | Said::Hung(_));
            let what = match said {
                Said::Found(Some(cases)) => format!("{name} ({cases})"),
                Said::Found(None) => name.to_owned(),
                Said::Hung(Some(cases)) => format!("{name} ({cases}, never ends)"),
                Said::Hung(None) => format!("{name} (never ends)"),
                Said::Passed => format!("not {name}"),
                Said::NoTest => bail!("{name} has no test"),
            };
            say::line(format!("{bug}: {what}, {took:.1?}"));
            found.extend((!what.starts_with("not ")).then_some(what));
        }
        all_found &= is_found;
        rows.push((bug, found));
    }
    tell(&rows);
    if let Some(seeds) = binaries.failing_seeds() {
        say::line(format!(
            "seeds that fail without a bug count for none: {seeds}"
        ));
    }
    Ok(all_found)
}

/// The table of docs/testing.md.
fn tell(rows: &[(&str, Vec<String>)]) {
    say::line("| deliberate bug | found by (after so many seeds, cases or states) |\n|---|---|");
    for (bug, found) in rows {
        let found = if found.is_empty() {
            "**nobody**".to_owned()
        } else {
            found.join(", ")
        };
        say::line(format!("| `{bug}` | {found} |"));
    }
}

/// What was built: one binary of each check, for all bugs.
struct Binaries {
    /// By package and kind.
    tests: BTreeMap<(String, String), PathBuf>,
    seeds: PathBuf,
    /// Seeds that fail without a bug.
    failing: BTreeSet<u64>,
    /// How long each check may take.
    patience: BTreeMap<&'static str, Duration>,
}

fn build() -> Result<Binaries> {
    let mut cargo = cargo([
        "test",
        "--no-run",
        "--profile=sim",
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
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the tests do not compile");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let messages: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let seeds = messages.iter().find_map(|message| {
        let is_seeds =
            message["target"]["kind"][0] == "example" && message["target"]["name"] == "seeds";
        let executable = message["executable"].as_str();
        executable.filter(|_| is_seeds).map(PathBuf::from)
    });
    Ok(Binaries {
        tests: messages.iter().filter_map(binary).collect(),
        seeds: seeds.context("the program that runs seeds was not built")?,
        failing: BTreeSet::new(),
        patience: BTreeMap::new(),
    })
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

impl Binaries {
    fn ask(&mut self, check: &Check, bug: &str, seeds: u64) -> Result<Said> {
        match check.looks {
            Seeds => self.sweep(bug, seeds),
            Property(package, kind, filter) | Scenario(package, kind, filter) => {
                let command = self.test(package, kind, filter, bug)?;
                let patience = self.patience.get(check.name).copied();
                Ok(match process::run(command, patience.unwrap_or(PATIENCE))? {
                    Ran::Passed(text) if text.contains("0 passed; 0 failed") => Said::NoTest,
                    Ran::Passed(_) => Said::Passed,
                    Ran::Failed(text) => Said::Found(cases(&text)),
                    Ran::Hung => Said::Hung(None),
                })
            }
        }
    }

    fn test(&self, package: &str, kind: &str, filter: &str, bug: &str) -> Result<Command> {
        let binary = self
            .tests
            .get(&(package.to_owned(), kind.to_owned()))
            .with_context(|| format!("{package} was not built"))?;
        let mut command = Command::new(binary);
        command
            .args([filter, "--nocapture"])
            .current_dir(tree::root().join(package))
            .env("CAUSEWAY_MUTANT", bug)
            .env("PROPTEST_RNG_SEED", "1")
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
            .env("PROPTEST_MAX_SHRINK_ITERS", "0")
            .env("RUST_BACKTRACE", "0");
        Ok(command)
    }

    /// The first seed that fails with the bug and not without it, among the first `seeds`.
    fn sweep(&mut self, bug: &str, seeds: u64) -> Result<Said> {
        for seed in 0..seeds {
            let failed = self.seed(bug, seed)?;
            if matches!(failed, Said::Passed) || self.failing.contains(&seed) {
                continue;
            }
            if matches!(self.seed("", seed)?, Said::Passed) {
                let skipped = self.failing.range(..seed).count();
                let tried = Some(seed + 1 - skipped as u64);
                return Ok(match failed {
                    Said::Hung(_) => Said::Hung(tried),
                    Said::Found(_) | Said::Passed | Said::NoTest => Said::Found(tried),
                });
            }
            self.failing.insert(seed);
        }
        Ok(Said::Passed)
    }

    fn seed(&self, bug: &str, seed: u64) -> Result<Said> {
        let mut command = Command::new(&self.seeds);
        command
            .args([seed.to_string(), (seed + 1).to_string()])
            .env("CAUSEWAY_MUTANT", bug);
        // An abort, as of a stack that overflows, is a failure too.
        Ok(match process::run(command, PATIENCE_MIN)? {
            Ran::Passed(_) => Said::Passed,
            Ran::Failed(_) => Said::Found(None),
            Ran::Hung => Said::Hung(None),
        })
    }

    fn failing_seeds(&self) -> Option<String> {
        let seeds: Vec<String> = self.failing.iter().map(u64::to_string).collect();
        (!seeds.is_empty()).then(|| seeds.join(", "))
    }
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
