//! `cargo xtask dist`: the binaries as they are shipped.
//!
//! Optimised for size, without symbols, and linked statically: one file to copy, and no pages of
//! shared libraries in the memory of a small machine.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::test::cargo;
use crate::{say, tree};

/// What is shipped: the package that makes it, and its name.
const BINARIES: [(&str, &str); 3] = [
    ("causeway-cli", "causeway"),
    ("causeway-cloud-sync", "cloud-sync"),
    ("causeway-edge", "causeway-edge"),
];

/// Builds them, and says where they are and how large.
pub(crate) fn run() -> Result<bool> {
    let host = host()?;
    let mut build = cargo(["build", "--profile", "dist", "--target", &host, "--bins"]);
    if host.ends_with("linux-gnu") {
        // Per target, as procedural macros of the same machine cannot be static.
        let flags = format!("target.{host}.rustflags=[\"-C\",\"target-feature=+crt-static\"]");
        build.args(["--config", &flags]);
    }
    let packages = BINARIES.iter();
    build.args(packages.flat_map(|(package, _)| ["--package", package]));
    say::line("building what is shipped (profile dist, static)");
    if !build.status()?.success() {
        bail!("what is shipped does not build");
    }
    for (_, name) in BINARIES {
        let path = dir()?.join(name);
        let bytes = std::fs::metadata(&path)
            .with_context(|| format!("no {}", path.display()))?
            .len();
        say::line(format!("{:>12} bytes  {}", bytes, path.display()));
    }
    Ok(true)
}

/// Where they are.
pub(crate) fn dir() -> Result<PathBuf> {
    Ok(tree::target().join(host()?).join("dist"))
}

/// The triple of this machine.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output()?;
    let text = String::from_utf8(output.stdout).context("rustc -vV is no text")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}
