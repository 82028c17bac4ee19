//! Processes that outlive whoever started them, and are known by a file.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{Unmet, eventually};

/// A program of the control plane.
#[derive(Debug)]
pub(crate) struct Process {
    /// `<pid> <start time>`: the second number tells it from another process of that id.
    file: PathBuf,
    log: PathBuf,
    /// Present when this process started it: whoever starts a child must take note of its end.
    child: Option<Child>,
}

/// A process of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    pid: i32,
    started: u64,
}

impl Process {
    /// The process of that name in a directory, whether it runs or not.
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        Self {
            file: dir.join(format!("{name}.pid")),
            log: dir.join(format!("{name}.log")),
            child: None,
        }
    }

    /// Starts it; nothing happens when it runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(&mut self, command: &mut Command) -> Result<()> {
        if self.running().is_some() {
            return Ok(());
        }
        let log = open_log(&self.log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in a terminal is not for it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let pid = i32::try_from(child.id())?;
        let started = start_time(pid).unwrap_or_default();
        self.child = Some(child);
        std::fs::write(&self.file, format!("{pid} {started}\n"))
            .with_context(|| format!("cannot write {}", self.file.display()))
    }

    /// Ends it at once; nothing happens when it does not run.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(known) = self.running() {
            self.signal(Signal::KILL)?;
            if let Some(mut child) = self.child.take() {
                child.wait()?;
            }
            let name = self.file.display().to_string();
            eventually(&name, Duration::from_secs(20), || {
                if known.lives() {
                    Err(Unmet::Yet("still there".to_owned()))
                } else {
                    Ok(())
                }
            })?;
        }
        // It may never have been written.
        let _ = std::fs::remove_file(&self.file);
        Ok(())
    }

    /// Sends a signal; nothing happens when it does not run.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.running().and_then(|known| Pid::from_raw(known.pid)) else {
            return Ok(());
        };
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.file.display()))
    }

    /// Its process id while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.running()
            .and_then(|known| u32::try_from(known.pid).ok())
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<_> = text.lines().collect();
        let tail = all.get(all.len().saturating_sub(lines)..);
        tail.unwrap_or_default().join("\n")
    }

    fn running(&self) -> Option<Known> {
        let text = std::fs::read_to_string(&self.file).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        let known = Known {
            pid: pid.parse().ok()?,
            started: started.parse().ok()?,
        };
        known.lives().then_some(known)
    }
}

impl Known {
    fn lives(self) -> bool {
        start_time(self.pid) == Some(self.started)
    }
}

/// When a living process started, in ticks since the machine did.
fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may contain anything; the state follows, and the start is field 22.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}
