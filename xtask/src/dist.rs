//! `cargo xtask dist`: the binaries as they are shipped.
//!
//! Optimised for size, without symbols, and linked statically: one file to copy, and no pages of
//! shared libraries in the memory of a small machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::test::cargo;
use crate::{say, tree};

/// What is shipped: the package that makes it, and its name.
const LARGE: [(&str, &str); 2] = [
    ("causeway-cli", "causeway"),
    ("causeway-cloud-sync", "cloud-sync"),
];
/// The one for small machines. It is built alone: built together, it would have what the others ask
/// of dependencies that they share.
const SMALL: (&str, &str) = ("causeway-edge", "causeway-edge");
/// For the linker of that one, lld: relocations in a twentieth of the room, functions with the same
/// code once.
const LEAN: [&str; 2] = ["-Wl,-z,pack-relative-relocs", "-Wl,--icf=all"];
/// Where rustc brings lld along.
const HAS_LLD: &str = "x86_64-unknown-linux-gnu";

/// Builds them, and says where they are and how large.
pub(crate) fn run() -> Result<bool> {
    let host = host()?;
    say::line("building what is shipped (profile dist, static)");
    let mut large = build("build", &host);
    large.arg("--bins");
    large.args(LARGE.iter().flat_map(|(package, _)| ["--package", package]));
    let (package, name) = SMALL;
    let mut small = build("rustc", &host);
    small.args(["--package", package, "--bin", name]);
    if host == HAS_LLD {
        small.arg("--");
        small.args(LEAN.map(|flag| format!("-Clink-arg={flag}")));
    }
    for mut build in [large, small] {
        if !build.status()?.success() {
            bail!("what is shipped does not build");
        }
    }
    for (_, name) in LARGE.into_iter().chain([SMALL]) {
        let path = dir()?.join(name);
        let bytes = std::fs::metadata(&path)
            .with_context(|| format!("no {}", path.display()))?
            .len();
        say::line(format!("{:>12} bytes  {}", bytes, path.display()));
        starts(&path)?;
    }
    Ok(true)
}

/// A `cargo` command for the target of this machine.
fn build(command: &str, host: &str) -> Command {
    let mut build = cargo([command, "--profile", "dist", "--target", host]);
    if host.ends_with("linux-gnu") {
        // Per target, as procedural macros of the same machine cannot be static.
        let flags = format!("target.{host}.rustflags=[\"-C\",\"target-feature=+crt-static\"]");
        build.args(["--config", &flags]);
    }
    build
}

/// A static binary relocates itself as it starts, which takes a C library that can: glibc 2.36 and
/// later know packed relocations.
fn starts(path: &Path) -> Result<()> {
    let says = Command::new(path).arg("--version").output()?;
    if !says.status.success() {
        bail!("{} does not start: {}", path.display(), says.status);
    }
    Ok(())
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
