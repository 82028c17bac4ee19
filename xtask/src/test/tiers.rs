//! The tiers, in the order in which a mistake is found soonest.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Outcome;
use super::command::{cargo, pass, works};
use super::suites::{self, Suite};
use super::{kubernetes, licences, python};
use crate::{say, tidy, tree};

/// One tier.
pub(super) struct Tier {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// Runs it.
    pub(super) run: fn(&mut Context) -> Result<Outcome>,
}

/// What tiers share.
#[derive(Debug, Default)]
pub(super) struct Context {
    suites: Option<Vec<Suite>>,
}

/// All tiers.
pub(super) const TIERS: [Tier; 13] = [
    Tier {
        name: "fmt",
        run: fmt,
    },
    Tier {
        name: "tidy",
        run: tidy_tier,
    },
    Tier {
        name: "clippy",
        run: clippy,
    },
    Tier {
        name: "unit",
        run: unit,
    },
    Tier {
        name: "e2e",
        run: e2e,
    },
    Tier {
        name: "kubectl",
        run: kubectl,
    },
    Tier {
        name: "dmi",
        run: dmi,
    },
    Tier {
        name: "mqtt",
        run: mqtt,
    },
    Tier {
        name: "disk",
        run: disk,
    },
    Tier {
        name: "k8s",
        run: k8s,
    },
    Tier {
        name: "doc",
        run: doc,
    },
    Tier {
        name: "pure",
        run: pure,
    },
    Tier {
        name: "deny",
        run: deny,
    },
];

const WASM: &str = "wasm32-unknown-unknown";

impl Context {
    /// The test binaries, built at the first call.
    fn suites(&mut self) -> Result<&[Suite]> {
        if self.suites.is_none() {
            self.suites = Some(suites::build()?);
        }
        Ok(self.suites.as_deref().unwrap_or_default())
    }
}

fn fmt(_: &mut Context) -> Result<Outcome> {
    if !works("cargo", &["fmt", "--version"]) {
        return Ok(Outcome::Skipped("rustup component add rustfmt".to_owned()));
    }
    pass(cargo(["fmt", "--all", "--check"]))
}

fn tidy_tier(_: &mut Context) -> Result<Outcome> {
    let findings = tidy::check()?;
    for finding in &findings {
        say::line(finding);
    }
    Ok(match findings.len() {
        0 => Outcome::Passed(String::new()),
        count => Outcome::Failed(format!("{count} findings")),
    })
}

fn clippy(_: &mut Context) -> Result<Outcome> {
    if !works("cargo", &["clippy", "--version"]) {
        return Ok(Outcome::Skipped("rustup component add clippy".to_owned()));
    }
    pass(cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))
}

fn unit(context: &mut Context) -> Result<Outcome> {
    suites::run_unit(context.suites()?)
}

fn e2e(context: &mut Context) -> Result<Outcome> {
    let arguments = [
        "--skip",
        "kubectl::",
        "--skip",
        "disk::",
        "--skip",
        kubernetes::FILTER,
        "--test-threads=2",
    ];
    suites::run_e2e(context.suites()?, &arguments, &[])
}

fn kubectl(context: &mut Context) -> Result<Outcome> {
    if !works("kubectl", &["version", "--client"]) {
        return Ok(Outcome::Skipped(
            "kubectl (Debian: apt-get install kubernetes-client)".to_owned(),
        ));
    }
    suites::run_e2e(context.suites()?, &["kubectl::", "--test-threads=2"], &[])
}

fn dmi(context: &mut Context) -> Result<Outcome> {
    let Some(interpreter) = python::interpreter() else {
        return Ok(Outcome::Skipped(python::MISSING.to_owned()));
    };
    let environment = [(python::VARIABLE, interpreter.as_path())];
    suites::run_filtered(context.suites()?, python::FILTER, &environment)
}

fn mqtt(context: &mut Context) -> Result<Outcome> {
    let has = |program: &str| works("sh", &["-c", &format!("command -v {program}")]);
    if !["mosquitto", "mosquitto_pub", "mosquitto_passwd"]
        .into_iter()
        .all(has)
    {
        let why = "mosquitto (Debian: apt-get install mosquitto mosquitto-clients)";
        return Ok(Outcome::Skipped(why.to_owned()));
    }
    suites::run_filtered(context.suites()?, suites::MOSQUITTO, &[])
}

fn disk(context: &mut Context) -> Result<Outcome> {
    let Some(mount) = Mount::small() else {
        let why = "the right to mount a tmpfs (run as root, not in an unprivileged container)";
        return Ok(Outcome::Skipped(why.to_owned()));
    };
    let environment = [("CAUSEWAY_SMALL_DISK", mount.path.as_path())];
    suites::run_e2e(
        context.suites()?,
        &["disk::", "--test-threads=1"],
        &environment,
    )
}

fn k8s(context: &mut Context) -> Result<Outcome> {
    match kubernetes::programs()? {
        Ok(programs) => kubernetes::run(&programs, context.suites()?),
        Err(missing) => Ok(missing),
    }
}

fn doc(_: &mut Context) -> Result<Outcome> {
    let examples = pass(cargo(["test", "--workspace", "--doc", "--quiet"]))?;
    if !matches!(examples, Outcome::Passed(_)) {
        return Ok(examples);
    }
    let mut build = cargo(["doc", "--workspace", "--no-deps", "--quiet"]);
    build.env("RUSTDOCFLAGS", "-D warnings");
    pass(build)
}

fn pure(_: &mut Context) -> Result<Outcome> {
    let libdir = cargo_rustc(&["--print", "target-libdir", "--target", WASM])?;
    if !Path::new(&libdir).is_dir() {
        return Ok(Outcome::Skipped(format!("rustup target add {WASM}")));
    }
    // zstd is C, and only clang compiles C for wasm32.
    if !works("clang", &["--version"]) {
        return Ok(Outcome::Skipped(
            "clang (Debian: apt-get install clang)".to_owned(),
        ));
    }
    for package in ["causeway-log", "causeway-projections"] {
        let check = cargo([
            "check",
            "--quiet",
            "--package",
            package,
            "--no-default-features",
            "--target",
            WASM,
        ]);
        let outcome = pass(check)?;
        if !matches!(outcome, Outcome::Passed(_)) {
            return Ok(outcome);
        }
    }
    Ok(Outcome::Passed(String::new()))
}

fn deny(_: &mut Context) -> Result<Outcome> {
    if !works("cargo", &["deny", "--version"]) {
        return licences::check();
    }
    pass(cargo([
        "deny",
        "--log-level",
        "error",
        "check",
        "licenses",
        "bans",
        "sources",
    ]))
}

fn cargo_rustc(arguments: &[&str]) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(arguments)
        .current_dir(tree::root())
        .output();
    let output = output.context("cannot run rustc")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A small file system in memory that can be filled.
struct Mount {
    path: PathBuf,
}

impl Mount {
    /// Mounts it, when this machine lets us.
    fn small() -> Option<Self> {
        let path = std::env::temp_dir().join(format!("causeway-disk-{}", std::process::id()));
        std::fs::create_dir_all(&path).ok()?;
        let text = path.to_str()?;
        let options = ["-t", "tmpfs", "-o", "size=96m", "causeway-disk", text];
        if works("mount", &options) {
            return Some(Self { path });
        }
        let _ = std::fs::remove_dir(&path);
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, since a process of a failed test may still be there.
        if let Some(text) = self.path.to_str() {
            works("umount", &["-l", text]);
        }
        let _ = std::fs::remove_dir(&self.path);
    }
}
