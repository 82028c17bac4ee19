//! The command line: it picks a configuration file and overrides parts of it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use causeway_daemon::telemetry::{Level, error_chain};
use causeway_daemon::ws::SyncUrl;
use causeway_edge_sync::EdgeConfig;
use causeway_edge_sync::config::{ApiAuth, Listen, Overlay};
use causeway_log::NodeName;
use clap::Parser;

/// A wrong command line (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;
/// A wrong configuration (`EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;

/// The edge daemon of Causeway: keeps this node's log, serves it locally, syncs it with the cloud.
///
/// Exit codes: 0 stopped as asked, 1 failed, 64 wrong command line, 78 wrong configuration.
#[derive(Debug, Parser)]
#[command(name = "edge-sync", version)]
struct Args {
    /// Configuration file; see deploy/config/edge-sync.toml
    #[arg(long, value_name = "FILE", env = "CAUSEWAY_EDGE_CONFIG")]
    config: Option<PathBuf>,
    /// Name of this node
    #[arg(long, required_unless_present = "config")]
    node: Option<String>,
    /// Where everything is kept
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    dir: Option<PathBuf>,
    /// Where the cloud listens, such as ws://127.0.0.1:10000
    #[arg(long, value_name = "URL")]
    cloud: Option<SyncUrl>,
    /// Address of the local API, or "off"
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<Listen>,
    /// Who may use it there: "token", or "none" for everybody
    #[arg(long, value_name = "WHO")]
    api_auth: Option<ApiAuth>,
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
pub(crate) fn config() -> Result<EdgeConfig, ExitCode> {
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
        let _ = writeln!(std::io::stderr(), "edge-sync: {error}");
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

fn assemble(args: Args) -> Result<EdgeConfig, String> {
    let Args {
        config,
        node,
        dir,
        cloud,
        listen,
        api_auth,
        log_level,
        check_config: _,
        dump_config: _,
    } = args;
    let node = node
        .map(|node| NodeName::new(&node).map_err(|error| format!("--node: {error}")))
        .transpose()?;
    let overlay = Overlay {
        node,
        dir,
        cloud,
        listen,
        auth: api_auth,
        socket: None,
        log_level,
    };
    EdgeConfig::assemble(config.as_deref(), overlay)
        .map_err(|error| error_chain(&error).to_string())
}
