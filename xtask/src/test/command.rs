//! Running tools.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::Outcome;
use crate::{say, tree};

/// A cargo command at the root of the workspace, by the same cargo that runs this.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(arguments)
        .current_dir(tree::root())
        .stdin(Stdio::null());
    // Set for this process by `cargo run`; a build of another crate must not see them.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs it in the open; passed when it succeeds.
pub(super) fn pass(mut command: Command) -> Result<Outcome> {
    say::line(format!("$ {}", describe(&command)));
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", describe(&command)))?;
    Ok(if status.success() {
        Outcome::Passed(String::new())
    } else {
        Outcome::Failed(describe(&command))
    })
}

/// Whether it can be run at all and succeeds, in silence.
pub(super) fn works(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn describe(command: &Command) -> String {
    let mut text = String::from("cargo");
    let program = command.get_program().to_string_lossy();
    if !program.ends_with("cargo") {
        text = program.rsplit('/').next().unwrap_or_default().to_owned();
    }
    for argument in command.get_args() {
        text = format!("{text} {}", argument.to_string_lossy());
    }
    text
}
