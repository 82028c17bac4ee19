//! The test binaries: built by one cargo invocation, so that dependencies are built once, then run
//! one by one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::command::cargo;
use super::{Outcome, kubernetes, python};
use crate::{say, tree};

/// Names of the tests that need mosquitto.
pub(super) const MOSQUITTO: &str = "mosquitto::";
/// The package whose integration tests run real processes.
const PROCESSES: &str = "cli";

/// One test binary.
#[derive(Clone, Debug)]
pub(super) struct Suite {
    /// Folder of its package.
    package: String,
    /// `lib`, `bin` or `test`.
    kind: String,
    executable: PathBuf,
}

impl Suite {
    /// Whether it runs real processes.
    pub(super) fn is_e2e(&self) -> bool {
        self.package == PROCESSES && self.kind == "test"
    }

    /// Runs it with arguments of the test harness and extra environment.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn run(&self, arguments: &[&str], environment: &[(&str, &Path)]) -> Result<Ran> {
        let dir = tree::root().join(&self.package);
        say::line(format!(
            "── {} ({}) {}",
            self.package,
            self.kind,
            arguments.join(" ")
        ));
        let output = Command::new(&self.executable)
            .args(arguments)
            .envs(environment.iter().copied())
            .env("CARGO_MANIFEST_DIR", &dir)
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {}", self.executable.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        say::line(text.trim_end());
        Ok(Ran {
            good: output.status.success(),
            tests: passed(&text),
        })
    }
}

/// What a suite did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ran {
    /// All passed.
    pub(super) good: bool,
    /// How many passed.
    pub(super) tests: usize,
}

/// Builds every test binary and every program of the workspace.
///
/// # Errors
/// When something does not compile.
pub(super) fn build() -> Result<Vec<Suite>> {
    let output = cargo(["test", "--workspace", "--no-run"])
        .arg("--message-format=json-render-diagnostics")
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
    let mut suites: Vec<Suite> = messages.filter_map(|message| suite(&message)).collect();
    suites.sort_by(|a, b| (&a.package, &a.kind).cmp(&(&b.package, &b.kind)));
    Ok(suites)
}

/// Runs all suites of crates; real processes are another tier.
pub(super) fn run_unit(suites: &[Suite]) -> Result<Outcome> {
    let mut tests = 0;
    let mut broken = Vec::new();
    for suite in suites.iter().filter(|suite| !suite.is_e2e()) {
        let others = [kubernetes::FILTER, python::FILTER, MOSQUITTO];
        let skipped = others.map(|filter| ["--skip", filter]).concat();
        let ran = suite.run(&[&["--quiet"], &skipped[..]].concat(), &[])?;
        tests += ran.tests;
        if !ran.good {
            broken.push(format!("{} ({})", suite.package, suite.kind));
        }
    }
    Ok(if broken.is_empty() {
        Outcome::Passed(format!("{tests} tests"))
    } else {
        Outcome::Failed(broken.join(", "))
    })
}

/// Runs the tests of the process suite with these arguments.
pub(super) fn run_e2e(
    suites: &[Suite],
    arguments: &[&str],
    environment: &[(&str, &Path)],
) -> Result<Outcome> {
    let Some(suite) = suites.iter().find(|suite| suite.is_e2e()) else {
        bail!("the process tests were not built");
    };
    let ran = suite.run(arguments, environment)?;
    Ok(match ran {
        Ran {
            good: true,
            tests: 0,
        } => Outcome::Failed("no test matched".to_owned()),
        Ran { good: true, tests } => Outcome::Passed(format!("{tests} tests")),
        Ran { good: false, .. } => Outcome::Failed("see above".to_owned()),
    })
}

/// Runs the tests of all suites whose names contain `filter`, two at a time.
pub(super) fn run_filtered(
    suites: &[Suite],
    filter: &str,
    environment: &[(&str, &Path)],
) -> Result<Outcome> {
    let mut tests = 0;
    let mut broken = Vec::new();
    for suite in suites.iter().filter(|suite| suite.kind != "bin") {
        let ran = suite.run(&[filter, "--quiet", "--test-threads=2"], environment)?;
        tests += ran.tests;
        if !ran.good {
            broken.push(format!("{} ({})", suite.package, suite.kind));
        }
    }
    Ok(match (tests, broken.is_empty()) {
        (0, true) => Outcome::Failed("no test matched".to_owned()),
        (_, true) => Outcome::Passed(format!("{tests} tests")),
        (_, false) => Outcome::Failed(broken.join(", ")),
    })
}

fn suite(message: &Value) -> Option<Suite> {
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let executable = PathBuf::from(message["executable"].as_str()?);
    let manifest = Path::new(message["manifest_path"].as_str()?);
    let package = manifest.parent()?.strip_prefix(tree::root()).ok()?;
    let package = package.to_str()?.to_owned();
    let kind = message["target"]["kind"][0].as_str()?.to_owned();
    Some(Suite {
        package,
        kind,
        executable,
    })
}

/// The number in `test result: ok. 12 passed; …`.
fn passed(text: &str) -> usize {
    let results = text
        .lines()
        .filter_map(|line| line.strip_prefix("test result: "));
    let counts = results.filter_map(|line| {
        let (_, rest) = line.split_once(". ")?;
        rest.split(' ').next()?.parse::<usize>().ok()
    });
    counts.sum()
}
