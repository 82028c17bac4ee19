//! `cargo xtask test`: the tiers that this machine can run, and one table of what became of them.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::say;

pub(crate) mod command;
pub(crate) use command::cargo;
mod kubernetes;
mod licences;
mod python;
mod suites;
mod tiers;

use tiers::TIERS;

/// Run the test tiers this machine can run, and print one table
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Tiers:
  fmt      rustfmt agrees with every file
  tidy     lengths, leftovers, arrows between crates, lints inherited, configs parse
  clippy   no warning in any target
  unit     unit, conformance, property and integration tests of every crate
  doc      examples in docs run, docs build without a warning
  pure     log and projections build for wasm32: no clock, no entropy, no files in them
  e2e      real processes: cuts, kill -9 loops, wiped and restored disks
  kubectl  a stock kubectl against cloud and edge
  dmi      a device mapper in Python, by Google's gRPC
  mqtt     mosquitto: as broker of an edge, and its clients against the embedded broker
  disk     a full disk at the edge and in the cloud
  k8s      a real Kubernetes control plane, built here: manifests, cuts, outages, stock clients
  deny     licences, bans and sources of dependencies

Examples:
  cargo xtask test                what this machine can do
  cargo xtask test fmt unit       only these
  cargo xtask test --all          a tier that cannot run is a failure (CI=true means the same)")]
pub(crate) struct Args {
    /// A tier that cannot run here is a failure
    #[arg(long)]
    all: bool,
    /// Only these tiers
    tiers: Vec<String>,
}

/// What became of a tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Ran, and all is well; with a word about how much.
    Passed(String),
    /// Ran, and found something.
    Failed(String),
    /// Could not run; what to install.
    Skipped(String),
}

/// Runs them; `false` when one failed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    for name in &args.tiers {
        if !TIERS.iter().any(|tier| tier.name == name) {
            let names: Vec<_> = TIERS.iter().map(|tier| tier.name).collect();
            bail!("there is no tier {name:?}; tiers: {}", names.join(", "));
        }
    }
    let strict = args.all || std::env::var("CI").is_ok_and(|value| value == "true");
    let mut context = tiers::Context::default();
    let mut rows = vec![["TIER", "RESULT", "TIME", ""].map(str::to_owned).to_vec()];
    let mut good = true;
    for tier in &TIERS {
        if !args.tiers.is_empty() && !args.tiers.iter().any(|name| name == tier.name) {
            continue;
        }
        say::line(format!("── {} ──", tier.name));
        let begun = Instant::now();
        let outcome = (tier.run)(&mut context).unwrap_or_else(|error| {
            say::line(format!("{error:#}"));
            Outcome::Failed(format!("{error}"))
        });
        let (word, note) = match outcome {
            Outcome::Passed(note) => ("ran", note),
            Outcome::Failed(note) => {
                good = false;
                ("FAILED", note)
            }
            Outcome::Skipped(note) => {
                good &= !strict;
                (if strict { "MISSING" } else { "skipped" }, note)
            }
        };
        rows.push(vec![
            tier.name.into(),
            word.into(),
            seconds(begun.elapsed()),
            note,
        ]);
    }
    say::line("");
    say::table(&rows);
    say::line(match (good, strict) {
        (true, _) => "\nall that ran is well",
        (false, true) => "\nnot well: a tier failed, or could not run (--all, CI=true)",
        (false, false) => "\nnot well: a tier failed",
    });
    Ok(good)
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
