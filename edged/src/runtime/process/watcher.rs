//! Notices the end of containers, of those edged started and of those it adopted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::future::Future;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::{self, Task};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use rustix::fs::FlockOperation;
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::AsyncReadExt as _;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::record::{LOCK, Launch};
use crate::runtime::{ContainerId, ExecOutcome};

/// What a shim says at its start is shorter.
const ANSWER_BYTES_MAX: u64 = 4 << 10;
/// The beginning of what a command run by `exec` says, for people.
const OUTPUT_BYTES_MAX: usize = 1 << 10;

/// Resolves when a container's shim has ended. Clones are cheap.
pub(super) type Ended = Shared<BoxFuture<'static, ()>>;

/// Who is watched.
#[derive(Debug)]
pub(super) struct Watcher {
    changes: Arc<watch::Sender<u64>>,
    state: Arc<Mutex<Watched>>,
}

#[derive(Debug, Default)]
struct Watched {
    starting: BTreeSet<ContainerId>,
    shims: BTreeMap<ContainerId, Shim>,
    /// Pods of which a container has ended, by uid.
    changed: BTreeSet<String>,
}

#[derive(Debug)]
struct Shim {
    ended: watch::Receiver<bool>,
    /// Dropped with this entry.
    _task: Task,
}

impl Default for Watcher {
    fn default() -> Self {
        Self {
            changes: Arc::new(watch::Sender::new(0)),
            state: Arc::default(),
        }
    }
}

impl Watcher {
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Pods of which a container has ended since this was asked last.
    pub(super) fn take_changed(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.state.lock().changed)
    }

    /// Whether a shim of it is between its birth and its first word.
    pub(super) fn is_starting(&self, id: &ContainerId) -> bool {
        self.state.lock().starting.contains(id)
    }

    pub(super) fn forget(&self, id: &ContainerId) {
        self.state.lock().shims.remove(id);
    }

    /// Starts a shim and waits for its first line. The shim lives on whatever becomes of the
    /// returned future.
    pub(super) async fn start(
        &self,
        shim: &[String],
        id: &ContainerId,
        dir: &Path,
    ) -> io::Result<String> {
        let _starting = Starting::new(self, id);
        let [program, arguments @ ..] = shim else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no shim command",
            ));
        };
        let mut child = Command::new(program)
            .args(arguments)
            .arg(dir)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let answer = child.stdout.take().map(OwnedFd::from);
        self.attend(id, Pid::from_child(&child), Some(child))?;
        let Some(answer) = answer else {
            return Ok(String::new());
        };
        let mut line = String::new();
        let mut answer = pipe::Receiver::from_owned_fd(answer)?.take(ANSWER_BYTES_MAX);
        answer.read_to_string(&mut line).await?;
        Ok(line)
    }

    /// The end of a running container.
    pub(super) fn watch(&self, id: &ContainerId, dir: &Path) -> io::Result<Ended> {
        if let Some(shim) = self.state.lock().shims.get(id) {
            return Ok(ended(shim.ended.clone()));
        }
        let lock = dir.join(LOCK);
        let Some(pid) = shim(&lock) else {
            return Ok(async {}.boxed().shared());
        };
        self.attend(id, pid, None)?;
        // Only now is it sure that the pidfd is the shim's, not of a process that took its id.
        if shim(&lock) != Some(pid) {
            self.forget(id);
            return Ok(async {}.boxed().shared());
        }
        Ok(self.state.lock().shims.get(id).map_or_else(
            || async {}.boxed().shared(),
            |shim| ended(shim.ended.clone()),
        ))
    }

    fn attend(&self, id: &ContainerId, pid: Pid, child: Option<Child>) -> io::Result<()> {
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Some(pollable(pidfd)?),
            Err(rustix::io::Errno::SRCH) => None,
            Err(error) => return Err(error.into()),
        };
        let (sender, ended) = watch::channel(false);
        let changes = Arc::clone(&self.changes);
        let state = Arc::downgrade(&self.state);
        let own = id.clone();
        let task = tasks::spawn("container", async move {
            if let Some(pidfd) = pidfd {
                // An error would be the reactor's end.
                let _ = pidfd.readable().await;
            }
            if let Some(mut child) = child {
                // Ended, so this takes its remains away without waiting.
                let _ = child.wait();
            }
            sender.send_replace(true);
            if let Some(state) = state.upgrade() {
                let mut state = state.lock();
                state.shims.remove(&own);
                let pod = own.0.split_once('/').map_or("", |(pod, _)| pod);
                state.changed.insert(pod.to_owned());
            }
            changes.send_modify(|count| *count += 1);
        });
        self.state
            .lock()
            .shims
            .insert(id.clone(), Shim { ended, _task: task });
        Ok(())
    }
}

fn ended(mut ended: watch::Receiver<bool>) -> Ended {
    async move {
        // The sender goes only after the end, or with the whole runtime.
        let _ = ended.wait_for(|ended| *ended).await;
    }
    .boxed()
    .shared()
}

/// Marks a container as starting for as long as it lives.
struct Starting<'a>(&'a Watcher, ContainerId);

impl<'a> Starting<'a> {
    fn new(watcher: &'a Watcher, id: &ContainerId) -> Self {
        watcher.state.lock().starting.insert(id.clone());
        Self(watcher, id.clone())
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.state.lock().starting.remove(&self.1);
    }
}

/// The live shim that holds a lock; `None` when nobody holds it.
pub(super) fn shim(lock: &Path) -> Option<Pid> {
    let mut file = File::open(lock).ok()?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return None;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok().and_then(Pid::from_raw)
}

/// Registers with the reactor what becomes readable when a process ends.
#[expect(
    deprecated,
    reason = "its successor is unsafe; an OwnedFd never changes what it names"
)]
fn pollable(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(pidfd)
}

/// Runs a command in the surroundings of a container.
pub(super) async fn exec(
    launch: &Launch,
    command: &[String],
    limit: Duration,
) -> io::Result<ExecOutcome> {
    use std::os::unix::process::CommandExt as _;
    let [program, arguments @ ..] = command else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command"));
    };
    let (reader, writer) = io::pipe()?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&launch.directory)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()?;
    let pid = Pid::from_child(&child);
    let pidfd = pollable(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)?;
    let mut reader = pipe::Receiver::from_owned_fd(reader.into())?;
    let mut output = Vec::new();
    let in_time = {
        let finished = async {
            tokio::join!(drain(&mut reader, &mut output), async {
                let _ = pidfd.readable().await;
                // Its children may hold the pipe open for ever; they are not waited for.
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            })
        };
        within(limit, finished).await
    };
    if !in_time {
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        let _ = pidfd.readable().await;
    }
    let status = child.wait()?;
    let code = in_time.then(|| status.code().unwrap_or(-1));
    Ok(ExecOutcome {
        code,
        output: String::from_utf8_lossy(&output).into_owned(),
    })
}

async fn within(limit: Duration, future: impl Future) -> bool {
    tokio::time::timeout(limit, future).await.is_ok()
}

/// Reads to the end, keeps the beginning.
async fn drain(reader: &mut pipe::Receiver, kept: &mut Vec<u8>) {
    let mut buffer = [0; 512];
    while let Ok(read) = reader.read(&mut buffer).await
        && read > 0
    {
        let room = OUTPUT_BYTES_MAX - kept.len();
        kept.extend_from_slice(&buffer[..read.min(room)]);
    }
}
