//! The tier on a real control plane.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use causeway_testbed::{Binaries, ControlPlane, Options, binaries};

use super::Outcome;
use super::suites::{self, Suite};
use crate::k8s::manifests;
use crate::say;

/// Names of the tests that need it.
pub(super) const FILTER: &str = "kubernetes::";
/// Values far from the defaults, so that every branch of the chart is rendered.
const OTHER_VALUES: [&str; 2] = ["--values", "deploy/kubernetes/chart/ci/other-values.yaml"];

/// What builds and runs the control plane, or what to install for it.
pub(super) fn programs() -> Result<Result<Binaries, Outcome>> {
    if let Some(built) = Binaries::find()? {
        return Ok(Ok(built));
    }
    if binaries::go_version().is_none() {
        let why = "Go, to build a Kubernetes control plane (https://go.dev/dl)";
        return Ok(Err(Outcome::Skipped(why.to_owned())));
    }
    Binaries::build(&mut |text| say::line(text)).map(Ok)
}

/// Checks what is deployed against a real API server, then runs the tests that need one.
pub(super) fn run(programs: &Binaries, suites: &[Suite]) -> Result<Outcome> {
    if !manifests::is_current(programs)? {
        return Ok(Outcome::Failed(
            "run `cargo xtask k8s manifests`".to_owned(),
        ));
    }
    taken(programs)?;
    suites::run_filtered(suites, FILTER, &[])
}

/// Whether a real API server takes what is deployed, with the defaults and with other values.
fn taken(programs: &Binaries) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let plane = ControlPlane::start(programs.clone(), scratch.path(), Options::default())?;
    // What is only tried makes no namespace for what follows it.
    plane.kubectl(&["create", "namespace", "causeway"])?;
    for more in [&[][..], &OTHER_VALUES] {
        let rendered = manifests::render(programs, &[&["--include-crds"], more].concat())?;
        let mut apply = plane.kubectl_command(&["apply", "--dry-run=server", "-f", "-"]);
        let mut child = apply.stdin(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().context("kubectl has no input")?;
        stdin.write_all(rendered.as_bytes())?;
        drop(stdin);
        anyhow::ensure!(
            child.wait()?.success(),
            "the API server does not take what the chart makes of {more:?}"
        );
    }
    Ok(())
}
