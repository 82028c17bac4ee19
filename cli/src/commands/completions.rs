//! `causeway completions`: shell completions.

use anyhow::Result;

use crate::exit::Code;
use crate::output::data;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway completions bash > ~/.local/share/bash-completion/completions/causeway
  causeway completions zsh  > ~/.zfunc/_causeway
  causeway completions fish > ~/.config/fish/completions/causeway.fish")]
pub(crate) struct Args {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Prints them.
pub(crate) fn run(args: &Args, command: &mut clap::Command) -> Result<Code> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "causeway", &mut script);
    data(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Code::Done)
}
