//! The edge daemon. See `edge-sync --help`.

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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .build();
    let ran = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            let (shutdown, _signals) = Shutdown::on_signals()?;
            Ok(causeway_edge_sync::run(config, shutdown).await?)
        })
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %telemetry::error_chain(error.as_ref()), "edge failed");
            ExitCode::FAILURE
        }
    }
}
