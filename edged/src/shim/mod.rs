//! The little process beside each container.
//!
//! edged may be stopped, killed or replaced while containers run, but only the parent of a process
//! learns its exit code, and somebody must keep reading its output. So each container has a parent
//! of its own: this same binary, executed again as `… shim DIRECTORY`, in a session of its own,
//! without an async runtime, with one thread. It
//!
//! 1. takes the lock of the container's directory, which it holds for life: whoever can take the
//!    lock knows that no shim lives;
//! 2. runs the command of `config.json` once, ever: `state.json` says `starting` before it does;
//! 3. says a line on its stdout to whoever started it: `started` or `failed`;
//! 4. copies output to the log, in the format of CRI;
//! 5. when the command has ended, ends what is left of it (as a subreaper it is the parent of all
//!    orphans below it), and writes the exit code down;
//! 6. when its directory is deleted, ends the command: nobody can find it any more, and whoever
//!    sets the node up again starts the pod again.
//!
//! Signals for the container go from edged to the container's process group directly; the shim
//! needs no orders. Under systemd the unit of edged must say `KillMode=process`.

mod log;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Instant;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FlockOperation;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use self::log::{Lines, Log, Source};
use crate::runtime::Exit;
use crate::runtime::process::host;
use crate::runtime::process::record::{self, Alive, CONFIG, LOCK, Launch, STATE, State};

/// The first argument that selects the shim.
pub const SUBCOMMAND: &str = "shim";

/// What the shim says when the command runs.
pub(crate) const STARTED: &str = "started";

/// Reads of a container's output are at most this long.
const READ_BYTES: usize = 8 << 10;

/// Orphans that end in silence are reaped, and the directory is looked for, this often.
const LOOK_INTERVAL: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// Runs the shim if the arguments (program name first) ask for it, `None` otherwise. To be called
/// first in `main` by every binary that hosts edged, before threads, telemetry or flags.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    if args.next()? != SUBCOMMAND {
        return None;
    }
    let Some(directory) = args.next() else {
        return Some(ExitCode::from(64));
    };
    Some(match host(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody reads it once edged has gone.
            let _ = writeln!(io::stdout(), "failed: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Hosts the container of a directory from its start to its end.
fn host(directory: &Path) -> io::Result<()> {
    // Fails only for the leader of a group, which a child of edged is not.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(directory.join(LOCK))?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    // Who finds the lock held may trust this number.
    lock.write_all(format!("{:<10}", std::process::id()).as_bytes())?;
    let state = directory.join(STATE);
    if record::read::<State>(&state)?.is_some() {
        return say("failed: it was started before");
    }
    let launch: Launch = record::read(&directory.join(CONFIG))?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no config.json"))?;
    record::write(&state, &State::Starting)?;
    let began = Instant::now();
    match start(&launch) {
        Ok(mut child) => {
            let supervised = supervise(&mut child, &launch, &state, &lock, began);
            if supervised.is_err() {
                // Nobody would know of it, so it must not live on.
                let _ = rustix::process::kill_process_group(Pid::from_child(&child), Signal::KILL);
                clean_up();
            }
            supervised
        }
        Err(error) => {
            let program = launch.argv.first().map_or("", String::as_str);
            let message = format!("exec {program:?}: {error}");
            record::write(&state, &State::Exited(refused(message.clone())))?;
            say(&format!("failed: {message}"))
        }
    }
}

/// Says that the command runs, stays with it and writes down how it ended.
fn supervise(
    child: &mut Child,
    launch: &Launch,
    state: &Path,
    lock: &File,
    began: Instant,
) -> io::Result<()> {
    let started = Timestamp::now();
    record::write(state, &State::Running(alive(child, started)))?;
    say(STARTED)?;
    let status = attend(child, launch, lock)?;
    clean_up();
    record::write(
        state,
        &State::Exited(exit(status, started, began.elapsed())),
    )
}

/// One line to edged, which may be gone.
fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    // From here on nobody listens; the pipe must not keep edged's end open.
    let nowhere = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    Ok(())
}

fn start(launch: &Launch) -> io::Result<Child> {
    let [program, arguments @ ..] = launch.argv.as_slice() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command"));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&launch.directory)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(group) = launch.config.run_as.group {
        command.gid(group);
    }
    if let Some(user) = launch.config.run_as.user {
        command.uid(user);
    }
    command.spawn()
}

fn alive(child: &Child, started: Timestamp) -> Alive {
    let pid = i32::try_from(child.id()).unwrap_or(-1);
    // Not yet waited for, so its id is its own even if it has ended already; zero never matches.
    let start_ticks = host::start_ticks(pid).unwrap_or(0);
    Alive {
        pid,
        start_ticks,
        boot: host::boot(),
        started,
    }
}

/// Copies output until the command has ended and nothing more is to be read at once. A
/// grandchild that keeps the pipes open does not keep the container alive.
///
/// # Errors
/// Also when the directory, of which `lock` is a file, was deleted.
fn attend(child: &mut Child, launch: &Launch, lock: &File) -> io::Result<ExitStatus> {
    let mut log = Log::open(&launch.log, launch.log_bytes_max, launch.log_files_max);
    let mut outputs = [
        Output::new(Source::Stdout, child.stdout.take().map(OwnedFd::from)),
        Output::new(Source::Stderr, child.stderr.take().map(OwnedFd::from)),
    ];
    let pid = Pid::from_child(child);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        let mut ready = vec![PollFd::new(&pidfd, PollFlags::IN)];
        for output in &outputs {
            if let Some(pipe) = &output.pipe {
                ready.push(PollFd::new(pipe, PollFlags::IN));
            }
        }
        match poll(&mut ready, Some(&LOOK_INTERVAL)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = !ready[0].revents().is_empty();
        drop(ready);
        for output in &mut outputs {
            output.copy(&mut log);
        }
        reap_orphans(pid);
        if ended {
            // What it had said before it ended is in the pipes now.
            for output in &mut outputs {
                output.finish(&mut log);
            }
            return child.wait();
        }
        if lock.metadata()?.nlink() == 0 {
            let message = "the container's directory was deleted";
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
    }
}

/// One of the two pipes.
struct Output {
    pipe: Option<File>,
    lines: Lines,
}

impl Output {
    fn new(source: Source, pipe: Option<OwnedFd>) -> Self {
        let pipe = pipe.map(File::from);
        if let Some(pipe) = &pipe {
            // Only this end: the flag belongs to the open file, and each end is its own.
            let _ = rustix::io::ioctl_fionbio(pipe, true);
        }
        Self {
            pipe,
            lines: Lines::new(source),
        }
    }

    /// Copies what is there, a bounded amount, so that a chatty stream cannot starve the other.
    fn copy(&mut self, log: &mut Log) -> bool {
        let Some(pipe) = &mut self.pipe else {
            return false;
        };
        let mut buffer = [0; READ_BYTES];
        match pipe.read(&mut buffer) {
            Ok(0) => {
                self.pipe = None;
                false
            }
            Ok(read) => {
                self.lines.feed(Timestamp::now(), &buffer[..read], log);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(_) => {
                self.pipe = None;
                false
            }
        }
    }

    fn finish(&mut self, log: &mut Log) {
        // A pipe holds at most 1 MiB; an orphan that goes on writing must not hold us up.
        for _ in 0..(1 << 20) / READ_BYTES {
            if !self.copy(log) {
                break;
            }
        }
        self.lines.finish(Timestamp::now(), log);
    }
}

/// Waits for orphans that ended, but never for the command itself.
fn reap_orphans(command: Pid) {
    for orphan in host::children() {
        if orphan != command {
            let _ = rustix::process::waitpid(Some(orphan), WaitOptions::NOHANG);
        }
    }
}

/// Ends and reaps whatever the command left behind.
fn clean_up() {
    loop {
        for orphan in host::children() {
            let _ = rustix::process::kill_process(orphan, Signal::KILL);
        }
        // An orphan's children become ours when it ends: until nobody is left.
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn exit(status: ExitStatus, started: Timestamp, ran: std::time::Duration) -> Exit {
    let signal = status.signal();
    let code = status.code().unwrap_or_else(|| 128 + signal.unwrap_or(0));
    Exit {
        code,
        signal,
        reason: if code == 0 { "Completed" } else { "Error" }.to_owned(),
        message: String::new(),
        started: Some(started),
        finished: Timestamp::now(),
        ran: Some(ran),
    }
}

/// A command that cannot be run, with the code and reason containerd gives it.
fn refused(message: String) -> Exit {
    let now = Timestamp::now();
    Exit {
        code: 128,
        signal: None,
        reason: "StartError".to_owned(),
        message,
        started: Some(now),
        finished: now,
        ran: Some(std::time::Duration::ZERO),
    }
}
