//! The command line: it picks a configuration file and overrides parts of it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use causeway_cloud_sync::CloudConfig;
use causeway_cloud_sync::config::Plane;
use causeway_daemon::telemetry::{Level, error_chain};
use clap::Parser;

/// A wrong command line (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;
/// A wrong configuration (`EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;

/// The cloud daemon of Causeway: a small control plane, and the sync endpoint of all edge nodes.
///
/// Exit codes: 0 stopped as asked, 1 failed, 64 wrong command line, 78 wrong configuration.
#[derive(Debug, Parser)]
#[command(name = "cloud-sync", version)]
struct Args {
    /// Configuration file; see deploy/config/cloud-sync.toml
    #[arg(long, value_name = "FILE", env = "CAUSEWAY_CLOUD_CONFIG")]
    config: Option<PathBuf>,
    /// Where everything is kept
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    dir: Option<PathBuf>,
    /// Address of the Kubernetes API
    #[arg(long, value_name = "ADDRESS")]
    api_listen: Option<SocketAddr>,
    /// Address where edge nodes dial in
    #[arg(long, value_name = "ADDRESS")]
    sync_listen: Option<SocketAddr>,
    /// Serve a Kubernetes cluster instead of the control plane in this process
    #[arg(long)]
    kubernetes: bool,
    /// How to reach that cluster; $KUBECONFIG, ~/.kube/config or the pod's service account otherwise
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    context: Option<String>,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<Level>,
    /// Say whether the configuration is valid, and stop
    #[arg(long)]
    check_config: bool,
    /// Print the configuration with all defaults, and stop
    #[arg(long)]
    dump_config: bool,
}

/// The configuration to run with, or how to exit at once.
pub(crate) fn config() -> Result<CloudConfig, ExitCode> {
    let args = Args::try_parse().map_err(|error| {
        let _ = error.print();
        if error.use_stderr() {
            ExitCode::from(EXIT_USAGE)
        } else {
            ExitCode::SUCCESS
        }
    })?;
    let (check, dump) = (args.check_config, args.dump_config);
    let config = assemble(args).map_err(|error| {
        let _ = writeln!(std::io::stderr(), "cloud-sync: {error}");
        ExitCode::from(EXIT_CONFIG)
    })?;
    if dump {
        let _ = std::io::stdout().write_all(config.dump().as_bytes());
    }
    if check || dump {
        Err(ExitCode::SUCCESS)
    } else {
        Ok(config)
    }
}

fn assemble(args: Args) -> Result<CloudConfig, String> {
    let Args {
        config,
        dir,
        api_listen,
        sync_listen,
        kubernetes,
        kubeconfig,
        context,
        log_level,
        check_config: _,
        dump_config: _,
    } = args;
    let mut built = match (config, &dir) {
        (Some(path), _) => {
            CloudConfig::load(&path).map_err(|error| error_chain(&error).to_string())?
        }
        (None, Some(dir)) => CloudConfig::new(dir),
        (None, None) => return Err("--dir or --config must be given".to_owned()),
    };
    built.dir = dir.unwrap_or(built.dir);
    built.api_listen = api_listen.unwrap_or(built.api_listen);
    built.sync_listen = sync_listen.unwrap_or(built.sync_listen);
    if kubernetes {
        built.control.plane = Plane::Kubernetes;
        let settings = &mut built.kubernetes;
        settings.kubeconfig = kubeconfig.or_else(|| settings.kubeconfig.take());
        settings.context = context.or_else(|| settings.context.take());
    }
    built.log.level = log_level.unwrap_or(built.log.level);
    if built.api_listen == built.sync_listen && built.api_listen.port() != 0 {
        return Err("the API and the sync endpoint cannot have the same address".to_owned());
    }
    Ok(built)
}
