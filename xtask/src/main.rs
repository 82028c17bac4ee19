//! Tests, benchmarks and checks of the project: `cargo xtask test`, `cargo xtask tidy`,
//! `cargo xtask bench`, `cargo xtask dist`, `cargo xtask image`, `cargo xtask mutants`,
//! `cargo xtask k8s`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bench;
mod dist;
mod image;
mod k8s;
mod mutants;
mod say;
mod test;
mod tidy;
mod tree;

/// Tests, benchmarks and checks of the project
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Test(test::Args),
    Tidy,
    Bench(bench::Args),
    /// Build the binaries as they are shipped: small, static, without symbols
    Dist,
    Image(image::Args),
    Mutants(mutants::Args),
    K8s(k8s::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say::line(format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// `false`: it ran, and found something wrong.
fn run(cli: Cli) -> Result<bool> {
    match cli.command {
        Command::Test(args) => test::run(&args),
        Command::Tidy => {
            let findings = tidy::check()?;
            for finding in &findings {
                say::line(finding);
            }
            say::line(format!("tidy: {} findings", findings.len()));
            Ok(findings.is_empty())
        }
        Command::Bench(args) => bench::run(&args),
        Command::Dist => dist::run(),
        Command::Image(args) => image::run(&args),
        Command::Mutants(args) => mutants::run(&args),
        Command::K8s(args) => k8s::run(&args),
    }
}
