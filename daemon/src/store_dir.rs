//! The store of a daemon: opened once, trimmed now and then, brought back after a full disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use causeway_log::error::{OpenError, TrimError};
use causeway_log::store::fjall::{FjallConfig, FjallStore};
use causeway_log::store::{TrimPolicy, Trimmed};
use causeway_log::{Store, WallTime};
use tokio::time::Instant;

use crate::tasks::{self, Stop, Task};
use crate::telemetry::error_chain;

/// The store's own directory inside a daemon's.
const STORE: &str = "store";
/// Between two looks whether the store still takes writes.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Between two trims.
const TRIM_INTERVAL: Duration = Duration::from_secs(60);
/// First pause before trying to leave the read-only state.
const RECOVER_MIN: Duration = Duration::from_secs(1);
/// Longest pause before trying again.
const RECOVER_MAX: Duration = Duration::from_secs(30);

/// How much of the past a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Keep at least so many of the newest revisions.
    pub revisions: u64,
    /// Keep what is at most this old, by the writers' clocks.
    pub age: Duration,
    /// Bound of the bytes of superseded records; zero: none.
    pub bytes_max: u64,
    /// Bound of the facts waiting for the peer.
    pub facts_max: u64,
    /// Bound of the bytes of facts that each stream brought from a peer; zero: none.
    pub facts_bytes_max: u64,
}

impl History {
    /// Small: enough for deltas and a look at what happened today.
    pub const EDGE: Self = Self {
        revisions: 1000,
        age: Duration::from_secs(24 * 60 * 60),
        bytes_max: 16 * 1024 * 1024,
        facts_max: 10_000,
        facts_bytes_max: 0,
    };
    /// Generous: audit and time travel.
    pub const CLOUD: Self = Self {
        revisions: 100_000,
        age: Duration::from_secs(7 * 24 * 60 * 60),
        bytes_max: 1024 * 1024 * 1024,
        facts_max: 100_000,
        facts_bytes_max: 1024 * 1024 * 1024,
    };

    /// The policy of one trim at a time.
    #[must_use]
    pub fn policy(&self, now: WallTime) -> TrimPolicy {
        let age = u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX);
        TrimPolicy {
            keep_revisions: self.revisions,
            keep_since: WallTime::from_unix_millis(now.unix_millis().saturating_sub(age)),
            bytes_max: self.bytes_max,
            facts_max: self.facts_max,
            facts_bytes_max: self.facts_bytes_max,
            records_per_call_max: 4096,
        }
    }
}

/// What is left of the disk a directory is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes that this process may still use.
    pub free_bytes: u64,
    /// Size of the file system.
    pub total_bytes: u64,
}

/// Looks at the file system of a directory.
///
/// # Errors
/// When it cannot be looked at.
pub fn disk_space(dir: &Path) -> std::io::Result<DiskSpace> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(DiskSpace {
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
    })
}

/// The wall clock, for record headers and history; never decides anything.
#[must_use]
pub fn wall_time() -> WallTime {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        // A clock before 1970 is wrong in any case.
        .unwrap_or_default();
    WallTime::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A store cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreDirError {
    /// The directory cannot be made or entered.
    #[error("cannot use the directory {}", path.display())]
    Directory {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store in it cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Whether the store takes writes; for readiness.
///
/// # Errors
/// In words, when it is read-only.
pub fn takes_writes(store: &dyn Store) -> Result<(), String> {
    match store.read_only() {
        Some(reason) => Err(format!("the store is read-only: {reason}")),
        None => Ok(()),
    }
}

/// Makes the directory if it is missing (mode 0700) and opens the store in it. A tail torn by a
/// crash is cut off and logged; damage is an error that says how to recover.
///
/// # Errors
/// [`StoreDirError`]
pub fn open(dir: &Path, config: FjallConfig) -> Result<Arc<dyn Store>, StoreDirError> {
    make_private(dir).map_err(|source| StoreDirError::Directory {
        path: dir.to_owned(),
        source,
    })?;
    let (store, report) = FjallStore::open(&dir.join(STORE), config)?;
    if report.torn_bytes > 0 {
        tracing::warn!(
            dir = %dir.display(),
            torn_bytes = report.torn_bytes,
            "the last write before a crash was torn; cut it off, nothing acknowledged was in it"
        );
    }
    Ok(Arc::new(store))
}

fn make_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

/// Keeps the store healthy until stopped: applies the history window, and tries to leave the
/// read-only state after a failed write.
pub fn maintain(store: Arc<dyn Store>, history: History, stop: Stop) -> Task {
    tasks::spawn(
        "store-maintenance",
        Maintenance { store, history }.run(stop),
    )
}

struct Maintenance {
    store: Arc<dyn Store>,
    history: History,
}

impl Maintenance {
    async fn run(self, mut stop: Stop) {
        let mut next_trim = Instant::now() + TRIM_INTERVAL;
        loop {
            tokio::select! {
                () = stop.wait() => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            if self.store.stats().read_only {
                tokio::select! {
                    () = stop.wait() => return,
                    () = self.recover() => {}
                }
            }
            if Instant::now() >= next_trim {
                self.trim().await;
                next_trim = Instant::now() + TRIM_INTERVAL;
            }
        }
    }

    /// Returns when the store writes again.
    async fn recover(&self) {
        let mut pause = RECOVER_MIN;
        loop {
            let store = Arc::clone(&self.store);
            match blocking(move || store.try_recover()).await {
                Ok(()) => {
                    tracing::info!("the store takes writes again");
                    return;
                }
                Err(error) => {
                    let error = error_chain(&error).to_string();
                    tracing::warn!(error, ?pause, "the store is read-only; trying again");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RECOVER_MAX);
        }
    }

    async fn trim(&self) {
        let mut total = Trimmed::default();
        loop {
            let (store, policy) = (Arc::clone(&self.store), self.history.policy(wall_time()));
            match blocking(move || store.trim(&policy)).await {
                Ok(trimmed) => {
                    total.records += trimmed.records;
                    total.bodies += trimmed.bodies;
                    total.facts_dropped += trimmed.facts_dropped;
                    if trimmed.more {
                        continue;
                    }
                }
                // The next look finds the store read-only and says so.
                Err(TrimError::ReadOnly { .. }) => {}
                Err(error) => {
                    tracing::warn!(error = %error_chain(&error), "cannot trim the history");
                }
            }
            break;
        }
        if total.facts_dropped > 0 {
            let dropped = total.facts_dropped;
            tracing::warn!(
                dropped,
                "facts were dropped: the peer has not taken them for too long"
            );
        }
        tracing::debug!(
            records = total.records,
            bodies = total.bodies,
            "history trimmed"
        );
    }
}

/// Runs what touches the disk beside the tasks. Resumes a panic of it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going away; so will this task.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests;
