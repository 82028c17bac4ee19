//! The plain manifests: the chart with its defaults, in one file.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use causeway_testbed::Binaries;

use crate::{say, tree};

const HEADER: &str = "\
# cloud-sync for a Kubernetes cluster: kubectl apply -f causeway.yaml
# Made of the chart with its defaults by `cargo xtask k8s manifests`; edit that. Rights are those that
# every cluster knows (rbac.impersonate=users).
apiVersion: v1
kind: Namespace
metadata:
  name: causeway
";

/// Writes the file, or with `check` says whether it is as it would be written.
pub(super) fn run(check: bool) -> Result<bool> {
    let programs = Binaries::build(&mut |text| say::line(text))?;
    if check {
        return is_current(&programs);
    }
    let (fresh, path) = (plain(&programs)?, file());
    std::fs::write(&path, fresh).with_context(|| format!("cannot write {}", path.display()))?;
    say::line(format!("wrote {}", path.display()));
    Ok(true)
}

/// Whether the file is what the chart makes; says so when it is not.
pub(crate) fn is_current(programs: &Binaries) -> Result<bool> {
    let held = std::fs::read_to_string(file()).unwrap_or_default();
    let current = held == plain(programs)?;
    if !current {
        say::line("deploy/kubernetes/causeway.yaml is not what the chart makes of its defaults:");
        say::line("`cargo xtask k8s manifests` writes it");
    }
    Ok(current)
}

/// The manifests with the defaults of the chart. They are for any cluster, and cannot ask which it is.
pub(crate) fn plain(programs: &Binaries) -> Result<String> {
    let any = ["--include-crds", "--set", "rbac.impersonate=users"];
    let rendered = render(programs, &any)?;
    Ok(format!("{HEADER}{rendered}"))
}

/// What the chart makes of more arguments of `helm template`.
pub(crate) fn render(programs: &Binaries, more: &[&str]) -> Result<String> {
    let version = causeway_testbed::binaries::version()?;
    let output = Command::new(programs.path("helm"))
        .args(["template", "causeway"])
        .arg(tree::root().join("deploy/kubernetes/chart"))
        .args(["--namespace", "causeway", "--kube-version", &version])
        .current_dir(tree::root())
        .args(more)
        .output()
        .context("cannot run helm")?;
    if !output.status.success() {
        bail!(
            "helm template: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn file() -> PathBuf {
    tree::root().join("deploy/kubernetes/causeway.yaml")
}
