//! `causeway edge`: the edge daemon and the light kubelet in one process, on one thread.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use causeway_daemon::tasks::{Shutdown, spawn};
use causeway_daemon::telemetry;
use causeway_daemon::ws::SyncUrl;
use causeway_edge_sync::EdgeConfig;
use causeway_edged::EdgedConfig;
use causeway_edged::config::ApiAddress;
use causeway_log::key::NodeName;

use super::cloud::Running;
use crate::exit::{Code, Coded};

/// Run an edge node: sync daemon, local API and light kubelet
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway edge --node edge-1 --dir /var/lib/causeway/edge --cloud ws://cloud.example:10000
  causeway edge --node edge-1 --dir /tmp/edge --api-listen 127.0.0.1:0     no cloud at all

Pods run as host processes with the rights of this process: a development runtime.")]
pub(crate) struct Args {
    /// Configuration file of the sync daemon; what stands on the command line wins
    #[arg(long, value_name = "PATH", required_unless_present_all = ["node", "dir"])]
    config: Option<PathBuf>,
    /// Name of the node
    #[arg(long)]
    node: Option<String>,
    /// Where store, logs and pods live
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Where the cloud is: ws://HOST:PORT
    #[arg(long, value_name = "URL")]
    cloud: Option<SyncUrl>,
    /// Local API on TCP [default: 127.0.0.1:10550]
    #[arg(long, value_name = "ADDRESS")]
    api_listen: Option<SocketAddr>,
    /// Local API on a Unix socket [default: DIR/edge.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Label of the node, KEY=VALUE; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// End the pods too when asked to stop; otherwise they outlive this process
    #[arg(long)]
    stop_pods_on_exit: bool,
    /// Run no pods: the sync daemon only
    #[arg(long)]
    no_kubelet: bool,
    /// Check the configuration and end
    #[arg(long)]
    check_config: bool,
    #[command(flatten)]
    running: Running,
}

/// Runs both until a signal. The kubelet ends first: it still has things to say to the local API.
pub(crate) async fn run(args: Args) -> Result<Code> {
    let edge = read(&args)?;
    let kubelet = kubelet(&args, &edge);
    if args.check_config {
        return Ok(Code::Done);
    }
    let (asked, _tasks) = args.running.start()?;
    let (serving, running) = (Shutdown::new(), Shutdown::new());
    let sync = spawn("edge-sync", causeway_edge_sync::run(edge, serving.clone()));
    let mut sync = Box::pin(sync.join());
    let mut kubelet = Box::pin(async {
        if args.no_kubelet {
            running.token().wait().await;
            return Ok(());
        }
        causeway_edged::run(kubelet, running.token()).await
    });
    let mut asked_to_stop = asked.token();
    let (mut sync_ended, mut kubelet_ended) = (None, None);
    tokio::select! {
        () = asked_to_stop.wait() => {}
        result = &mut sync => sync_ended = Some(result),
        result = &mut kubelet => kubelet_ended = Some(result),
    }
    running.begin();
    let kubelet_ended = match kubelet_ended {
        Some(result) => result,
        // Without the local API it would only try in vain to reach it.
        None if sync_ended.is_some() => Ok(()),
        None => kubelet.await,
    };
    serving.begin();
    let sync_ended = match sync_ended {
        Some(result) => result,
        None => sync.await,
    };
    match sync_ended {
        Some(result) => result.context("the edge cannot run")?,
        None => return Err(Coded::failed("the sync daemon panicked").into()),
    }
    kubelet_ended.context("the kubelet cannot run")?;
    Ok(Code::Done)
}

fn read(args: &Args) -> Result<EdgeConfig> {
    let mut config = match (&args.config, &args.node, &args.dir) {
        (Some(path), _, _) => {
            let loaded = EdgeConfig::load(path);
            loaded.map_err(|error| Coded::config(telemetry::error_chain(&error).to_string()))?
        }
        (None, Some(node), Some(dir)) => EdgeConfig::new(name(node)?, dir.clone(), None),
        (None, _, _) => {
            return Err(Coded::usage("--node and --dir, or --config, are needed").into());
        }
    };
    if args.config.is_some() {
        if let Some(node) = &args.node {
            config.node = name(node)?;
        }
        if let Some(dir) = &args.dir {
            config.api.socket = dir.join("edge.sock");
            config.dir.clone_from(dir);
        }
    }
    if let Some(cloud) = &args.cloud {
        config.cloud = Some(cloud.clone());
    }
    if let Some(listen) = args.api_listen {
        config.api.listen = Some(listen);
    }
    if let Some(socket) = &args.socket {
        config.api.socket.clone_from(socket);
    }
    Ok(config)
}

fn kubelet(args: &Args, edge: &EdgeConfig) -> EdgedConfig {
    let api = ApiAddress::Socket(edge.api.socket.clone());
    let mut config = EdgedConfig::new(edge.node.clone(), api, edge.dir.join("edged"));
    config.labels = args.label.iter().cloned().collect::<BTreeMap<_, _>>();
    config.stop_pods_on_exit = args.stop_pods_on_exit;
    config
}

fn name(text: &str) -> Result<NodeName> {
    NodeName::new(text).map_err(|error| {
        let hint = "lower case letters, digits, - and ., as for a Kubernetes node";
        Coded::usage(format!("--node: {error}")).hint(hint).into()
    })
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("must be KEY=VALUE".to_owned()),
    }
}
