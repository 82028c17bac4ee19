//! What a container does, as its files and its shim tell.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use rustix::process::Signal;

use super::files::host_error;
use super::record::{self, Alive, LOCK, STATE, State};
use super::{ProcessRuntime, host, watcher};
use crate::runtime::{ContainerId, Exit, RuntimeError};

/// What was found.
pub(super) enum Found {
    Created,
    Running(Option<Alive>),
    Exited(Exit),
}

impl ProcessRuntime {
    /// What a container does, told by its files and by whether its shim lives. A container whose
    /// shim was killed is ended here: nobody could learn its exit code.
    pub(super) fn inspect(&self, id: &ContainerId, dir: &Path) -> Result<Found, RuntimeError> {
        let path = dir.join(STATE);
        let read = || record::read::<State>(&path);
        let first = match read() {
            Ok(Some(State::Exited(exit))) => return Ok(Found::Exited(exit)),
            first => first,
        };
        if self.watcher.is_starting(id) || watcher::shim(&dir.join(LOCK)).is_some() {
            return Ok(match first {
                Ok(Some(State::Running(alive))) => Found::Running(Some(alive)),
                Ok(Some(State::Starting)) => Found::Running(None),
                Ok(Some(State::Exited(exit))) => Found::Exited(exit),
                Ok(None) | Err(_) => Found::Created,
            });
        }
        // It may have written its last word between the two looks.
        let exit = match read() {
            Ok(None) => return Ok(Found::Created),
            Ok(Some(State::Exited(exit))) => return Ok(Found::Exited(exit)),
            Ok(Some(State::Running(alive))) => {
                signal(Some(&alive), Signal::KILL).map_err(host_error("kill", dir))?;
                abandoned(id, dir, Some(alive.started))
            }
            Ok(Some(State::Starting)) | Err(_) => abandoned(id, dir, None),
        };
        record::write(&path, &State::Exited(exit.clone())).map_err(host_error("write", &path))?;
        Ok(Found::Exited(exit))
    }
}

pub(super) fn signal(alive: Option<&Alive>, signal: Signal) -> io::Result<()> {
    match alive {
        // The shim has not waited for it, or it would not be `Running`: the id is not reused.
        Some(alive) if host::is_alive(alive) => host::signal_group(alive.pid, signal),
        _ => Ok(()),
    }
}

fn abandoned(id: &ContainerId, dir: &Path, started: Option<Timestamp>) -> Exit {
    let left = host::sweep(&dir.to_string_lossy());
    tracing::warn!(container = %id, left, "the shim of a container is gone; ended what was left");
    Exit {
        code: 137,
        signal: None,
        reason: "ContainerStatusUnknown".to_owned(),
        message: "nobody saw how it ended: its shim was killed or the host was restarted"
            .to_owned(),
        started,
        finished: Timestamp::now(),
        ran: None,
    }
}
