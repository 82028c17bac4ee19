//! `edged`: the light kubelet as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = causeway_edged::shim::main(std::env::args_os()) {
        return code;
    }
    ExitCode::FAILURE
}
