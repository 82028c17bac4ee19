//! How fast worlds of the simulator run, and how many states the models of a session have.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::figures::Samples;
use crate::test::cargo;
use crate::tree;

const IDLE_NODES: &str = "100";
const IDLE_RUNS: usize = 5;
const STORM_RUNS: usize = 3;

/// An hour of nodes with little to do.
pub(super) fn idle(samples: &mut Samples) -> Result<()> {
    let program = Example::build("causeway-simulator", "speed")?;
    for _ in 0..IDLE_RUNS {
        let measured = program.measure(&["idle", IDLE_NODES])?;
        let rate = number(&measured, "node_seconds_per_s")?;
        samples.add("sim_node_seconds_per_s", rate);
        samples.add("sim_events_per_s", number(&measured, "events_per_s")?);
        // What a machine that did something else at the same time would have given.
        if let Some(own) = measured["seconds_on_processor"].as_f64() {
            let took = number(&measured, "seconds")?;
            let note = format!(
                "last run: {own:.2} s of a processor in {took:.2} s; {:.0} a second of its own time",
                rate * took / own
            );
            samples.note("sim_node_seconds_per_s", note);
        }
    }
    Ok(())
}

/// A thousand nodes that reconnect at once.
pub(super) fn storm(samples: &mut Samples) -> Result<()> {
    let program = Example::build("causeway-simulator", "speed")?;
    for _ in 0..STORM_RUNS {
        let measured = program.measure(&["storm"])?;
        samples.add("sim_storm_1000_nodes_s", number(&measured, "seconds")?);
        let events = number(&measured, "events")?;
        samples.note("sim_storm_1000_nodes_s", format!("{events:.0} events"));
    }
    Ok(())
}

/// Explores every model completely.
pub(super) fn models(samples: &mut Samples) -> Result<()> {
    let text = Example::build("causeway-proptests", "models")?.run(&[])?;
    let last = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let states =
        last("model_states ").context("the models do not say how many states they have")?;
    samples.add("model_states", states.trim().parse()?);
    if let Some(seconds) = last("model_seconds ") {
        samples.note("model_states", format!("explored in {seconds} s"));
    }
    Ok(())
}

/// A program of a package, built with the profile of the simulator. What it measures it measures
/// by itself, without the start of a process.
struct Example(PathBuf);

impl Example {
    fn build(package: &str, name: &str) -> Result<Self> {
        let mut build = cargo(["build", "--quiet", "--profile", "sim"]);
        build.args(["--package", package, "--example", name]);
        if !build.status()?.success() {
            bail!("{name} of {package} does not build");
        }
        Ok(Self(tree::target().join("sim/examples").join(name)))
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        let program = self.0.display();
        let ran = Command::new(&self.0)
            .args(args)
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {program}"))?;
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        if !ran.status.success() {
            bail!("{program} failed: {text}");
        }
        Ok(text)
    }

    fn measure(&self, args: &[&str]) -> Result<Value> {
        let text = self.run(args)?;
        serde_json::from_str(&text).with_context(|| format!("{} says {text:?}", self.0.display()))
    }
}

fn number(measured: &Value, field: &str) -> Result<f64> {
    measured[field]
        .as_f64()
        .with_context(|| format!("{measured} has no {field}"))
}
