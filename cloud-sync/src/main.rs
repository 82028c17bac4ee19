//! The `cloud-sync` daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use causeway_cloud_sync::{CloudConfig, run};
use causeway_daemon::tasks::Shutdown;
use causeway_daemon::telemetry::{self, Level, LogFormat, error_chain};
use clap::Parser;

/// Cloud side of Causeway: control plane and sync. Exit codes: 0 stopped, 1 failed, 64 usage, 78 configuration.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Configuration file (TOML)
    #[arg(long, default_value = "/etc/causeway/cloud-sync.toml")]
    config: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    telemetry::init(LogFormat::Full, Level::Info);
    let outcome = async {
        let config = CloudConfig::load(&args.config)
            .map_err(|error| (78, error_chain(&error).to_string()))?;
        let (stop, _signals) = Shutdown::on_signals().map_err(|error| (1, error.to_string()))?;
        run(config, stop)
            .await
            .map_err(|error| (1, error_chain(&error).to_string()))
    };
    match outcome.await {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, reason)) => {
            tracing::error!(reason, "cannot run");
            ExitCode::from(code)
        }
    }
}
