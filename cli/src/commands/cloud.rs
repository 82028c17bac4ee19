//! `causeway cloud`: the cloud service in this process.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use causeway_cloud_sync::CloudConfig;
use causeway_cloud_sync::config::Plane;
use causeway_daemon::tasks::{Shutdown, Task, spawn};
use causeway_daemon::telemetry::{self, Level, LogFormat};

use super::parent;
use crate::exit::{Code, Coded};

/// Run the cloud service, with its embedded control plane or for a Kubernetes cluster
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway cloud --dir /var/lib/causeway/cloud
  causeway cloud --config deploy/config/cloud-sync.toml --check-config
  causeway cloud --dir /tmp/cloud --api-listen 127.0.0.1:0 --sync-listen 127.0.0.1:0
  causeway cloud --dir /tmp/cloud --kubernetes --kubeconfig ~/.kube/config")]
pub(crate) struct Args {
    /// Configuration file; what stands on the command line wins
    #[arg(long, value_name = "PATH", required_unless_present = "dir")]
    config: Option<PathBuf>,
    /// Where the store lives
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Kubernetes API, inspection, health, metrics [default: 127.0.0.1:10080]
    #[arg(long, value_name = "ADDRESS")]
    api_listen: Option<SocketAddr>,
    /// Where edge nodes dial in [default: 127.0.0.1:10000]
    #[arg(long, value_name = "ADDRESS")]
    sync_listen: Option<SocketAddr>,
    /// Serve a Kubernetes cluster instead of the control plane in this process
    #[arg(long)]
    kubernetes: bool,
    /// How to reach that cluster
    /// [default: $KUBECONFIG, ~/.kube/config, or the service account of the pod]
    #[arg(long, value_name = "PATH", requires = "kubernetes")]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    context: Option<String>,
    /// Check the configuration and end
    #[arg(long)]
    check_config: bool,
    #[command(flatten)]
    running: Running,
}

/// How a daemon runs.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Running {
    /// The least important log lines shown: error, warn, info, debug, trace
    #[arg(long, default_value = "info")]
    pub(crate) log_level: Level,
    /// End when standard input, a pipe, is closed: the process that started this one is gone
    #[arg(long)]
    pub(crate) exit_with_parent: bool,
}

impl Running {
    /// Log lines, and the shutdown that begins with a signal or the end of the parent. The tasks
    /// listen as long as they are held.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub(crate) fn start(self) -> Result<(Shutdown, Vec<Task>)> {
        telemetry::init(LogFormat::Full, self.log_level);
        let (shutdown, signals) = Shutdown::on_signals().context("cannot handle signals")?;
        let mut tasks = vec![signals];
        if self.exit_with_parent {
            let shutdown = shutdown.clone();
            tasks.push(spawn("parent", async move {
                // Without a pipe there is no parent to watch, and nothing to do about it.
                if parent::gone().await.is_ok() {
                    shutdown.begin();
                }
            }));
        }
        Ok((shutdown, tasks))
    }
}

/// Runs it until a signal.
pub(crate) async fn run(args: Args) -> Result<Code> {
    let config = read(&args)?;
    if args.check_config {
        return Ok(Code::Done);
    }
    let (shutdown, _tasks) = args.running.start()?;
    causeway_cloud_sync::run(config, shutdown)
        .await
        .context("the cloud service cannot run")?;
    Ok(Code::Done)
}

fn read(args: &Args) -> Result<CloudConfig> {
    let mut config = match (&args.config, &args.dir) {
        (Some(path), _) => {
            let loaded = CloudConfig::load(path);
            loaded.map_err(|error| Coded::config(telemetry::error_chain(&error).to_string()))?
        }
        (None, Some(dir)) => CloudConfig::new(dir),
        (None, None) => return Err(Coded::usage("--dir or --config is needed").into()),
    };
    let Args {
        config: _,
        dir,
        api_listen,
        sync_listen,
        kubernetes,
        kubeconfig,
        context,
        check_config: _,
        running: _,
    } = args;
    if let Some(dir) = dir {
        config.dir.clone_from(dir);
    }
    config.api_listen = api_listen.unwrap_or(config.api_listen);
    config.sync_listen = sync_listen.unwrap_or(config.sync_listen);
    if *kubernetes {
        config.control.plane = Plane::Kubernetes;
    }
    let settings = &mut config.kubernetes;
    settings.kubeconfig = kubeconfig.clone().or_else(|| settings.kubeconfig.take());
    settings.context = context.clone().or_else(|| settings.context.take());
    Ok(config)
}
