//! Real processes that can be killed at any instant.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};

/// What to run. Standard output and error go to a log file, appended; standard input is a pipe
/// that stays open while the owner lives, so that a process told to can notice its owner's death.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub executable: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Added to the environment.
    pub environment: Vec<(String, String)>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// One process, over all its starts. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    program: Program,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    pid: u32,
    _stdin: Option<ChildStdin>,
}

impl Process {
    /// A process that does not run yet.
    #[must_use]
    pub const fn new(program: Program) -> Self {
        Self {
            program,
            running: None,
        }
    }

    /// What it runs.
    #[must_use]
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// Changes what the next start runs.
    pub const fn program_mut(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Starts it; nothing happens when it runs already.
    ///
    /// # Errors
    /// When the log cannot be opened or the executable cannot be run.
    pub fn start(&mut self) -> io::Result<()> {
        if self.pid().is_some() {
            return Ok(());
        }
        let log = open_log(&self.program.log)?;
        let mut child = Command::new(&self.program.executable)
            .args(&self.program.arguments)
            .envs(self.program.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in a terminal goes to the whole group: the owner decides the order of the end.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        let stdin = child.stdin.take();
        self.running = Some(Running {
            child,
            pid,
            _stdin: stdin,
        });
        Ok(())
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.pid)
    }

    /// How it ended, once, if it did by itself.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        let Some(running) = &mut self.running else {
            return Ok(None);
        };
        let status = running.child.try_wait()?;
        if status.is_some() {
            self.running = None;
        }
        Ok(status)
    }

    /// Ends it with SIGKILL, in the middle of whatever it does, and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(&mut self) -> io::Result<()> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        running.child.kill().await
    }

    /// Asks it to end with SIGTERM; after `grace` it is killed. `None` when it did not run or had
    /// to be killed.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn terminate(&mut self, grace: Duration) -> io::Result<Option<ExitStatus>> {
        let Some(mut running) = self.running.take() else {
            return Ok(None);
        };
        signal(running.pid, Signal::TERM)?;
        match tokio::time::timeout(grace, running.child.wait()).await {
            Ok(status) => status.map(Some),
            Err(_elapsed) => {
                running.child.kill().await?;
                Ok(None)
            }
        }
    }

    /// Stops (`SIGSTOP`) or continues (`SIGCONT`) it, as a machine that hangs and recovers.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        signal(pid, if frozen { Signal::STOP } else { Signal::CONT })
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.program.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<_> = text.lines().collect();
        all.get(all.len().saturating_sub(lines)..)
            .unwrap_or_default()
            .join("\n")
    }
}

fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::NotFound)?;
    kill_process(pid, signal).map_err(io::Error::from)
}

fn open_log(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}
