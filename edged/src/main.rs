//! `edged`: the light kubelet as a process of its own. Exit codes: 0 asked to stop, 1 cannot go
//! on, 64 usage, 78 configuration.

use std::process::ExitCode;

use causeway_daemon::tasks::Shutdown;
use causeway_daemon::telemetry::{self, error_chain};
use causeway_edged::args::{self, Ask};
use causeway_edged::{EdgedConfig, run, shim};

fn main() -> ExitCode {
    if let Some(code) = shim::main(std::env::args_os()) {
        return code;
    }
    match args::read(std::env::args().skip(1)) {
        Ok(Ask::Check) => ExitCode::SUCCESS,
        Ok(Ask::Run(config)) => match serve(*config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => say(&error_chain(&*error).to_string(), 1),
        },
        Err(refused) => say(&refused.message, refused.code),
    }
}

fn serve(config: EdgedConfig) -> Result<(), Box<dyn std::error::Error>> {
    telemetry::init(config.log_format, config.log_level);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let (shutdown, _signals) = Shutdown::on_signals()?;
            Ok(run(config, shutdown.token()).await?)
        })
}

#[expect(clippy::print_stderr, reason = "the last words of a process")]
fn say(what: &str, code: u8) -> ExitCode {
    eprintln!("edged: {what}");
    ExitCode::from(code)
}
