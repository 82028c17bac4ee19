//! `edged`: the light kubelet as a process of its own. `edged CONFIG.toml` runs it; with
//! `--check-config` it only says whether the file is right. Exit codes: 0 asked to stop, 1 cannot
//! go on, 64 usage, 78 configuration.

use std::path::Path;
use std::process::ExitCode;

use causeway_daemon::tasks::Shutdown;
use causeway_daemon::telemetry::{self, error_chain};
use causeway_edged::{EdgedConfig, RunError, run, shim};

fn main() -> ExitCode {
    if let Some(code) = shim::main(std::env::args_os()) {
        return code;
    }
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    let check_only = files.iter().position(|word| word == "--check-config");
    check_only.map(|at| files.remove(at));
    let [file] = files.as_slice() else {
        return say("usage: edged [--check-config] CONFIG.toml", 64);
    };
    let config = match EdgedConfig::load(Path::new(file)) {
        Ok(config) => config,
        Err(error) => return say(&error_chain(&error).to_string(), 78),
    };
    if check_only.is_some() {
        return ExitCode::SUCCESS;
    }
    telemetry::init(config.log_format, config.log_level);
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => say(&error_chain(&*error).to_string(), 1),
    }
}

fn serve(config: EdgedConfig) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (shutdown, _signals) = Shutdown::on_signals()?;
        Ok(run(config, shutdown.token())
            .await
            .map_err(Box::<RunError>::new)?)
    })
}

#[expect(clippy::print_stderr, reason = "the last words of a process")]
fn say(what: &str, code: u8) -> ExitCode {
    eprintln!("edged: {what}");
    ExitCode::from(code)
}
