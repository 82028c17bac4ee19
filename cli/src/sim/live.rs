//! `causeway sim live`: whether a scenario goes as expected on real daemons.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use causeway_daemon::telemetry::error_chain;
use causeway_simulator::live::{self, Settings};
use causeway_simulator::scenario::{Mistakes, Scenario};

use super::progress::Bar;
use super::reports::Reports;
use super::{File, wrong};
use crate::exit::{Code, Coded};
use crate::output::talk;

/// Run a scenario on real daemons, sockets and disks, kill -9 included
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  causeway sim live reboot.yaml                   the file that `sim check` runs, on real processes
  causeway sim live storm.yaml --nodes 8          its first eight nodes
  causeway sim live winter.yaml --speed 60        a wait of an hour takes a minute
  causeway sim live winter.yaml --keep --dir out  leave stores and logs in out/

A cloud and two daemons a node run as processes of this machine, each node behind a link that
can be cut. What takes time takes real time: heartbeats, retries, grace periods. So after each
step the clock is the real one until all is at rest, at most a minute, and while something is
awaited, at most two; what is left of a wait is skipped, or divided by --speed. Waits of up to
30 s are kept. The report says what was shortened.

Containers are stand-ins that run until they are stopped, with the environment and the files
that your manifests give them; probes, hooks and users go with the image. --commands runs what
the manifests say instead, as processes of this machine with your rights.

What real daemons cannot do, such as a wrong wall clock, is refused before anything starts, with
its line. Exit codes are those of `sim check`. Ctrl-C ends everything and reports what was seen.")]
pub(super) struct Args {
    /// The scenario
    file: PathBuf,
    /// Divide what is left of waits by this, instead of skipping it
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    speed: Option<u32>,
    /// Take at most so many nodes, the first ones
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    nodes: Option<u16>,
    /// Run the commands of containers, with your rights
    #[arg(long)]
    commands: bool,
    /// Where everything is kept; must be empty or missing [default: a temporary directory]
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Leave stores and logs in the directory; they stay anyway when the run fails
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    reports: Reports,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<Code> {
    let file = File::read(&args.file)?;
    let scenario = file.parse(args.nodes.map_or(usize::MAX, usize::from))?;
    refuse(&file, &scenario)?;
    let place = Place::make(args.dir.as_deref())?;
    let settings = Settings {
        executable: std::env::current_exe().context("cannot find my own executable")?,
        dir: place.dir.clone(),
        speed: args.speed,
        commands: args.commands,
    };
    let bar = Bar::live(&scenario.name, scenario.end);
    let played = live::play(&scenario, settings, &mut |now: Duration| bar.at(now));
    bar.clear();
    let outcome = match played {
        Ok(outcome) => outcome,
        Err(error) => {
            place.keep();
            return Err(Coded::failed(error_chain(&error).to_string()).into());
        }
    };
    let code = args.reports.give(&outcome, &args.file, |_| {})?;
    if args.keep || !outcome.passed() {
        place.keep();
    } else {
        place.remove()?;
    }
    Ok(code)
}

/// What cannot be done is said before anything starts.
fn refuse(file: &File, scenario: &Scenario) -> Result<()> {
    let impossible = live::impossible(scenario);
    if impossible.is_empty() {
        return Ok(());
    }
    Err(wrong(&Mistakes::new(&file.name, &file.text, impossible)))
}

/// Where a run keeps its things.
struct Place {
    dir: PathBuf,
    /// It was made for the run.
    is_ours: bool,
}

impl Place {
    fn make(asked: Option<&Path>) -> Result<Self> {
        let temporary =
            || std::env::temp_dir().join(format!("causeway-live-{}", std::process::id()));
        let dir = asked.map_or_else(temporary, Path::to_owned);
        let what = || format!("cannot make {}", dir.display());
        let is_ours = !dir.try_exists().with_context(what)?;
        std::fs::create_dir_all(&dir).with_context(what)?;
        let dir = dir.canonicalize().with_context(what)?;
        if std::fs::read_dir(&dir).with_context(what)?.next().is_some() {
            let what = format!("{} is not empty", dir.display());
            return Err(Coded::usage(what)
                .hint("a live run begins with empty disks; choose another --dir")
                .into());
        }
        Ok(Self { dir, is_ours })
    }

    /// Leaves everything, and says where.
    fn keep(&self) {
        let (dir, logs) = (self.dir.display(), self.dir.join("logs"));
        talk(format_args!(
            "stores stay in {dir}, what the daemons said in {}",
            logs.display()
        ));
    }

    fn remove(&self) -> Result<()> {
        let what = || format!("cannot remove {}", self.dir.display());
        if self.is_ours {
            return std::fs::remove_dir_all(&self.dir).with_context(what);
        }
        for entry in std::fs::read_dir(&self.dir).with_context(what)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path()).with_context(what)?;
            } else {
                std::fs::remove_file(entry.path()).with_context(what)?;
            }
        }
        Ok(())
    }
}
