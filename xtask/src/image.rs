//! `cargo xtask image`: the container image of cloud-sync, made and tried on this machine.
//!
//! Docker or podman makes it from `deploy/image/Containerfile` and what `cargo xtask dist` built, and
//! fetches nothing. It is then run as the chart runs it: as nobody in particular, with no
//! capabilities, on a root that cannot be written.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{dist, say, tree};

/// Make the container image of cloud-sync, and try it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Docker or podman is needed. What goes into the image is built first (cargo xtask dist).")]
pub(crate) struct Args {
    /// The name it gets
    #[arg(long, default_value = concat!("causeway/cloud-sync:", env!("CARGO_PKG_VERSION")))]
    tag: String,
    /// Use what `cargo xtask dist` built before
    #[arg(long)]
    built: bool,
}

/// What is copied into the image.
const BINARIES: [&str; 2] = ["cloud-sync", "causeway"];
/// What starting may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// As in the chart. Limits are named, as podman would raise them, which not every machine allows.
const CONFINED: [&str; 9] = [
    "--detach",
    "--network=none",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=1000:1000",
    "--stop-timeout=20",
    "--volume=/var/lib/causeway",
];
/// Without a cluster to serve.
const ARGUMENTS: [&str; 3] = [
    "--dir=/var/lib/causeway/cloud",
    "--api-listen=127.0.0.1:10080",
    "--sync-listen=0.0.0.0:10000",
];

/// Makes it and tries it.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let engine = engine().context("neither docker nor podman answers here")?;
    if !args.built {
        dist::run()?;
    }
    let scratch = tempfile::tempdir()?;
    let context = scratch.path().join("context");
    std::fs::create_dir_all(context.join("store"))?;
    for name in BINARIES {
        let from = dist::dir()?.join(name);
        std::fs::copy(&from, context.join(name))
            .with_context(|| format!("no {}; `cargo xtask dist` makes it", from.display()))?;
    }
    say::line(format!("{engine} builds {}", args.tag));
    let file = tree::root().join("deploy/image/Containerfile");
    let build = [
        "build",
        "--tag",
        &args.tag,
        "--file",
        &show(&file),
        &show(&context),
    ];
    said(engine, &build)?;
    let container = said(
        engine,
        &[&["run"], &CONFINED[..], &[&args.tag], &ARGUMENTS].concat(),
    )?;
    let tried = serves(engine, &container);
    if tried.is_err() {
        say::line(text(&output(engine, &["logs", &container])?));
    }
    let ended = stop(engine, &container);
    said(engine, &["rm", "--force", "--volumes", &container])?;
    say::line(tried?);
    ended?;
    say::line(format!("{} serves, and ends when it is told to", args.tag));
    Ok(true)
}

/// Waits until the probe of the chart succeeds; gives what it says.
#[expect(
    clippy::disallowed_methods,
    reason = "waiting for a container, in a program of one thread"
)]
fn serves(engine: &str, container: &str) -> Result<String> {
    let probe = [
        "exec",
        container,
        "/causeway",
        "status",
        "--cloud=127.0.0.1:10080",
    ];
    let begun = Instant::now();
    loop {
        match said(engine, &probe) {
            Ok(status) => return Ok(status),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// Ends it as Kubernetes does, and looks how it ended.
fn stop(engine: &str, container: &str) -> Result<()> {
    said(engine, &["stop", container])?;
    let code = said(
        engine,
        &["inspect", "--format={{.State.ExitCode}}", container],
    )?;
    ensure!(code == "0", "told to end, it ended with code {code}");
    Ok(())
}

/// The first engine that answers.
fn engine() -> Option<&'static str> {
    let answers = |name: &&str| output(name, &["info"]).is_ok_and(|output| output.status.success());
    ["docker", "podman"].into_iter().find(answers)
}

fn output(engine: &str, arguments: &[&str]) -> Result<Output> {
    let output = Command::new(engine).args(arguments).output();
    output.with_context(|| format!("cannot run {engine}"))
}

/// What it says when it succeeds.
fn said(engine: &str, arguments: &[&str]) -> Result<String> {
    let output = output(engine, arguments)?;
    if !output.status.success() {
        bail!("{engine} {}: {}", arguments.join(" "), text(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).trim().to_owned()
}

fn show(path: &Path) -> String {
    path.display().to_string()
}
