//! The cloud daemon. See `cloud-sync --help`.

use std::process::ExitCode;

use causeway_daemon::tasks::Shutdown;
use causeway_daemon::telemetry;

mod args;

fn main() -> ExitCode {
    let config = match args::config() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    telemetry::init(config.log.format, config.log.level);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ran = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            let (shutdown, _signals) = Shutdown::on_signals()?;
            Ok(causeway_cloud_sync::run(config, shutdown).await?)
        })
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %telemetry::error_chain(error.as_ref()), "cloud failed");
            ExitCode::FAILURE
        }
    }
}
