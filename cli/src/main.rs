//! The `causeway` command.

use std::process::ExitCode;

mod cli;
mod commands;
mod discovery;
mod exit;
mod locate;
mod output;
mod sim;
mod up;

fn main() -> ExitCode {
    // A container's shim is started by the thousand and must not pay for anything else.
    if let Some(code) = causeway_edged::shim::main(std::env::args_os()) {
        return code;
    }
    match cli::parse() {
        Ok(cli) => exit::report(cli::run(cli)),
        Err(code) => code,
    }
}
