//! `causeway up`: a cloud, edge nodes and the links between them, as processes of this machine.
//!
//! ```text
//!  causeway up ─┬─ process: causeway cloud ◀──────────┐
//!               ├─ link of edge-1 (in this process) ──┘◀─┐   control: DIR/up.sock
//!               ├─ process: causeway edge --node edge-1 ─┘   (causeway link, causeway node)
//!               └─ …
//! ```
//!
//! The daemons are processes of their own so that killing one is a real crash.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{Code, Coded};
use crate::output::talk;

mod apply;
mod control;
mod dir;
mod mapper;
mod plane;
mod ports;
mod progress;
mod site;
mod story;

use dir::Directory;
use plane::{Cluster, ClusterArgs};
pub(crate) use plane::{Plane, PlaneError};
use progress::Steps;
use site::Site;

/// Nodes of one `up`: each is a process on this machine.
const NODES_MAX: u16 = 32;

/// Start a cloud, edge nodes and faulty links between them, with an example to play with
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway up                                one node, with examples/hello and a thermostat
  causeway up --nodes 3 --no-example         three nodes, empty
  causeway up --manifest my/pods.yaml        one node, with your manifests
  causeway up --dir /tmp/road                somewhere else
  causeway up --kubernetes                   for the cluster of your kubeconfig

Ctrl-C stops everything. State stays in the directory: the next `up` goes on from it. Remove the
directory to start anew. Pods run as host processes, with your rights.

With --kubernetes the nodes join that cluster: its scheduler binds pods to them, its API shows what
they do. The thermostat comes along if the cluster knows devices. Nodes and example stay in it until
you delete them.")]
pub(crate) struct Args {
    /// How many edge nodes: edge-1, edge-2, …
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    nodes: u16,
    /// Where everything is kept
    #[arg(
        long,
        default_value = ".causeway",
        env = "CAUSEWAY_DIR",
        value_name = "PATH"
    )]
    dir: PathBuf,
    /// Apply these manifests (files, or directories of .yaml files) instead of the example
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with = "no_example")]
    manifest: Vec<PathBuf>,
    /// Apply nothing
    #[arg(long)]
    no_example: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// API of the cloud [default: 127.0.0.1:10080, or the next free port]
    #[arg(long, value_name = "ADDRESS")]
    api_listen: Option<SocketAddr>,
    /// Where edges dial in [default: 127.0.0.1:10000, or the next free port]
    #[arg(long, value_name = "ADDRESS")]
    sync_listen: Option<SocketAddr>,
    /// First local API of an edge; further nodes take the ports after it
    /// [default: 127.0.0.1:10550, or the next free port]
    #[arg(long, value_name = "ADDRESS")]
    edge_listen: Option<SocketAddr>,
    /// Leave the pods' processes running when `up` ends; the next `up` picks them up again
    #[arg(long)]
    keep: bool,
    /// End once everything runs, instead of waiting for Ctrl-C
    #[arg(long)]
    once: bool,
    /// Print addresses and paths as JSON once everything runs
    #[arg(long)]
    json: bool,
}

/// Starts everything, tells the story, waits, stops everything.
pub(crate) async fn run(args: Args) -> Result<Code> {
    let documents = apply::load(&args)?;
    let cluster = args.cluster.find()?;
    let directory = Directory::claim(&args.dir)?;
    let mut steps = Steps::new();
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let site = Site::plan(&args, cluster, &directory, &mut steps).await?;
    let result = tokio::select! {
        result = Box::pin(play(&args, &site, &directory, &documents, &mut steps)) => result,
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    };
    steps.clear();
    stop(&args, &site, &directory, &mut interrupted).await;
    result.map(|()| Code::Done)
}

async fn play(
    args: &Args,
    site: &Site,
    directory: &Directory,
    documents: &[apply::Document],
    steps: &mut Steps,
) -> Result<()> {
    let _control = control::serve(site.clone(), &directory.control())?;
    directory.write(&site.describe())?;
    let _mappers = mapper::serve(site, directory);
    let knows_devices = tokio::select! {
        result = Box::pin(bring_up(site, documents, steps)) => result?,
        died = site.first_end() => bail!(died),
    };
    steps.clear();
    if args.json {
        crate::output::json(&serde_json::to_value(site.describe())?)?;
    } else {
        let is_applied = args.manifest.is_empty() && !args.no_example;
        let example = story::Example {
            is_applied,
            has_device: is_applied && knows_devices,
        };
        story::tell(site, directory, example).await?;
    }
    if args.once {
        return Ok(());
    }
    loop {
        // A process may die again and again; each end is told, none ends the others.
        let died = site.first_end().await;
        talk(format_args!("\n{died}"));
        talk("Everything else goes on. Start it again with `causeway node start NAME`.");
    }
}

/// Everything up to the point where the cloud sees that the pods run. Gives whether nothing was left
/// out for want of the Device API.
async fn bring_up(site: &Site, documents: &[apply::Document], steps: &mut Steps) -> Result<bool> {
    steps.begin("starting the cloud");
    site.cloud().start().await?;
    site.cloud_ready().await?;
    steps.done(match site.cluster() {
        None => format!(
            "cloud serves the Kubernetes API on http://{}",
            site.cloud_api()
        ),
        Some(cluster) => format!(
            "cloud serves the cluster of {}",
            cluster.kubeconfig.display()
        ),
    });
    for node in site.nodes() {
        steps.begin(format!("starting {}", node.name()));
        node.unit().start().await?;
        site.node_ready(node).await?;
        steps.done(format!("{} is registered and Ready", node.name()));
    }
    if documents.is_empty() {
        return Ok(true);
    }
    steps.begin("applying manifests");
    let applied = apply::apply(&site.plane(), documents).await?;
    steps.done(format!("applied {applied}"));
    if let Some(hint) = applied.hint() {
        steps.notice(hint.to_owned());
    }
    let pods = apply::pods(documents);
    for (namespace, name) in &pods {
        steps.begin(format!("waiting for pod {namespace}/{name}"));
        let node = site.pod_running(namespace, name).await?;
        steps.done(format!("pod {namespace}/{name} runs on {node}"));
    }
    if !pods.is_empty() {
        steps.begin("waiting until the cloud sees it");
        for (namespace, name) in &pods {
            site.pod_seen(namespace, name).await?;
        }
        steps.done("the cloud sees all pods Running".to_owned());
    }
    Ok(applied.hint().is_none())
}

async fn stop(
    args: &Args,
    site: &Site,
    directory: &Directory,
    interrupted: &mut tokio::signal::unix::Signal,
) {
    talk("\nstopping; Ctrl-C again kills");
    let in_order = async {
        if !args.keep {
            site.revive().await;
        }
        site.stop(Duration::from_secs(40)).await;
    };
    tokio::select! {
        () = in_order => {}
        _ = interrupted.recv() => site.stop(Duration::ZERO).await,
    }
    directory.release();
    let path = directory.path().display();
    talk(format_args!(
        "stopped; stores, logs and kubeconfigs stay in {path}"
    ));
    if args.keep {
        talk("pods go on as processes of their own; the next `up` picks them up again");
    }
    talk(format_args!(
        "`causeway up` goes on from there; `rm -r {path}` forgets it"
    ));
}

/// What a failed start says: the cause and where to read more.
fn died(name: &str, how: &str, log: &std::path::Path, tail: &str) -> anyhow::Error {
    let what = format!("{name} {how}; the end of its log:\n{tail}");
    Coded::failed(what)
        .hint(format!("the whole log: {}", log.display()))
        .into()
}
