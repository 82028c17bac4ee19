//! `causeway-edge`: an edge node as one small binary. Exit codes: 0 asked to stop, 1 cannot go on,
//! 64 usage, 78 configuration.

use std::process::ExitCode;
use std::time::Duration;

use causeway_daemon::tasks::Shutdown;
use causeway_daemon::telemetry::{self, Level, LogFormat, error_chain};
use causeway_edge::{Edge, Options, OptionsError};
use clap::Parser;

/// An edge node of Causeway: sync daemon, local Kubernetes API and light kubelet.
#[derive(Debug, Parser)]
#[command(name = "causeway-edge", version)]
struct Args {
    #[command(flatten)]
    options: Options,
    /// The least important log lines shown: error, warn, info, debug, trace
    #[arg(long, default_value = "info")]
    log_level: Level,
    /// Check the configuration and end
    #[arg(long)]
    check_config: bool,
}

fn main() -> ExitCode {
    if let Some(code) = causeway_edged::shim::main(std::env::args_os()) {
        return code;
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // There is nobody to tell that standard error is gone.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match args.options.read() {
        Ok(_) if args.check_config => ExitCode::SUCCESS,
        Ok(edge) => match serve(edge, args.log_level) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => say(&error_chain(&*error).to_string(), 1),
        },
        Err(error @ OptionsError::Config(_)) => say(&error.to_string(), 78),
        Err(error) => say(&error.to_string(), 64),
    }
}

fn serve(edge: Edge, level: Level) -> Result<(), Box<dyn std::error::Error>> {
    telemetry::init(LogFormat::Full, level);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_keep_alive(Duration::from_secs(1))
        .build()?
        .block_on(async {
            let (shutdown, _signals) = Shutdown::on_signals()?;
            Ok(edge.run(shutdown.token()).await?)
        })
}

#[expect(clippy::print_stderr, reason = "the last words of a process")]
fn say(what: &str, code: u8) -> ExitCode {
    eprintln!("causeway-edge: {what}");
    ExitCode::from(code)
}
