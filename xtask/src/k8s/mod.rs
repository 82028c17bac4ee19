//! `cargo xtask k8s`: a real Kubernetes control plane on this machine.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use causeway_testbed::{Binaries, Component, ControlPlane, Options, binaries};

use crate::{say, tree};

pub(crate) mod manifests;

/// Start and end real Kubernetes control planes on this machine, for tests
#[derive(Debug, clap::Args)]
#[command(after_help = "\
etcd, kube-apiserver, kube-controller-manager and kube-scheduler on loopback, with TLS, RBAC, the
Node authorizer and NodeRestriction. They are built from Go modules the first time (some minutes;
Go is needed) and kept in ~/.cache/causeway/k8s, or where CAUSEWAY_K8S_CACHE says. About 500 MB of
memory each. For tests only: etcd does not sync its disk.

Examples:
  cargo xtask k8s up
  export KUBECONFIG=$(cargo xtask k8s path)
  kubectl get namespaces
  cargo xtask k8s down

  cargo xtask k8s up --name mine --node-grace 8 --eviction-after 5
  $(cargo xtask k8s path --programs)/kubectl version --client")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Build the programs, unless they are there
    Build,
    /// Start one, and say where its kubeconfig is
    Up(Up),
    /// End one; its state goes too
    Down {
        #[command(flatten)]
        which: Which,
        /// Keep its state: the next `up` of that name goes on from it
        #[arg(long)]
        keep: bool,
        /// End all of them
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// Print the path of its kubeconfig, or of the programs
    Path {
        #[command(flatten)]
        which: Which,
        /// The folder of kubectl, kubelet, helm and the others
        #[arg(long, conflicts_with = "name")]
        programs: bool,
    },
    /// Show which ones run
    List,
    /// Write deploy/kubernetes/causeway.yaml from the chart
    Manifests {
        /// Only say whether it is up to date
        #[arg(long)]
        check: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Up {
    #[command(flatten)]
    which: Which,
    /// Seconds a node may be silent before it is Unknown [default: 50, as Kubernetes]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(2..=3600))]
    node_grace: Option<u64>,
    /// Seconds a pod stays on such a node, unless it says otherwise [default: 300, as Kubernetes]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    eviction_after: Option<u64>,
    /// Write down who wrote what, in audit.log
    #[arg(long)]
    audit: bool,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Its name, when there are several
    #[arg(long, default_value = "default", value_parser = name)]
    name: String,
}

/// Does what was asked; `false` when there was nothing to do it with.
pub(crate) fn run(args: &Args) -> Result<bool> {
    match &args.command {
        Command::Build => {
            let programs = Binaries::build(&mut |text| say::line(text))?;
            say::line(programs.dir().display());
            Ok(true)
        }
        Command::Up(up) => start(up),
        Command::Down {
            all: true, keep, ..
        } => {
            for name in names()? {
                stop(&name, *keep)?;
            }
            Ok(true)
        }
        Command::Down { which, keep, .. } => stop(&which.name, *keep),
        Command::Path { programs: true, .. } => {
            let built = Binaries::find()?;
            say::line(built.with_context(not_built)?.dir().display());
            Ok(true)
        }
        Command::Path { which, .. } => {
            let Some(plane) = attach(&which.name)? else {
                let name = &which.name;
                bail!(
                    "no control plane {name:?} runs; `cargo xtask k8s up --name {name}` starts it"
                )
            };
            say::line(plane.kubeconfig().display());
            Ok(true)
        }
        Command::List => list(),
        Command::Manifests { check } => manifests::run(*check),
    }
}

fn start(up: &Up) -> Result<bool> {
    let Up {
        which: Which { name },
        node_grace,
        eviction_after,
        audit,
    } = up;
    if let Some(plane) = attach(name)? {
        say::line(format!("{name} runs already"));
        tell(name, &plane);
        return Ok(true);
    }
    let programs = Binaries::build(&mut |text| say::line(text))?;
    let options = Options {
        node_grace: node_grace.map(Duration::from_secs),
        eviction_after: eviction_after.map(Duration::from_secs),
        audit: *audit,
        api_server_flags: Vec::new(),
    };
    let mut plane = ControlPlane::start(programs, &dir(name), options)?;
    plane.leave();
    say::line(format!(
        "{name} serves Kubernetes {} on {}",
        binaries::version()?,
        plane.server()
    ));
    tell(name, &plane);
    Ok(true)
}

fn tell(name: &str, plane: &ControlPlane) {
    let which = match name {
        "default" => String::new(),
        name => format!(" --name {name}"),
    };
    say::line(format!("logs    {}/*.log", plane.dir().display()));
    say::line(format!(
        "use it  export KUBECONFIG={}",
        plane.kubeconfig().display()
    ));
    say::line(format!("end it  cargo xtask k8s down{which}"));
}

fn stop(name: &str, keep: bool) -> Result<bool> {
    let dir = dir(name);
    match attach(name)? {
        Some(mut plane) => plane.stop()?,
        None if dir.is_dir() && !keep => {}
        None => {
            say::line(format!("no control plane {name:?} runs"));
            return Ok(false);
        }
    }
    if keep {
        say::line(format!(
            "{name} ended; its state stays in {}",
            dir.display()
        ));
    } else {
        std::fs::remove_dir_all(&dir)
            .with_context(|| format!("cannot remove {}", dir.display()))?;
        say::line(format!("{name} ended"));
    }
    Ok(true)
}

fn list() -> Result<bool> {
    let mut rows = vec![
        ["NAME", "SERVER", "RUNS", "KUBECONFIG"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for name in names()? {
        let Some(plane) = attach(&name)? else {
            rows.push(vec![
                name,
                "-".to_owned(),
                "nothing".to_owned(),
                "-".to_owned(),
            ]);
            continue;
        };
        let running = Component::ALL.into_iter();
        let running: Vec<_> = running
            .filter(|component| plane.pid(*component).is_some())
            .map(Component::name)
            .collect();
        let runs = match running.len() {
            4 => "all".to_owned(),
            _ => running.join(", "),
        };
        rows.push(vec![
            name,
            plane.server(),
            runs,
            plane.kubeconfig().display().to_string(),
        ]);
    }
    say::table(&rows);
    Ok(true)
}

fn attach(name: &str) -> Result<Option<ControlPlane>> {
    match Binaries::find()? {
        Some(programs) => ControlPlane::attach(programs, &dir(name)),
        None => Ok(None),
    }
}

fn names() -> Result<Vec<String>> {
    let Ok(entries) = std::fs::read_dir(base()) else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn base() -> PathBuf {
    tree::target().join("k8s")
}

fn dir(name: &str) -> PathBuf {
    base().join(name)
}

fn not_built() -> &'static str {
    "nothing is built yet; `cargo xtask k8s build` does"
}

fn name(text: &str) -> Result<String, String> {
    let good =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if text.is_empty() || text.len() > 40 || !text.chars().all(good) {
        return Err("lowercase letters, digits and dashes, 40 at most".to_owned());
    }
    Ok(text.to_owned())
}
