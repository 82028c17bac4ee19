//! The embedded on-disk store: the engine's rules over fjall, an LSM tree with a journal.

use std::path::{Path, PathBuf};

use crate::error::{Damage, OpenError};
use crate::store::OpenReport;
use crate::store::engine::{Engine, EngineOptions};

#[cfg(feature = "testing")]
pub mod bench;
mod journal;
mod map;

pub use map::FjallKv;

/// A store in a directory.
pub type FjallStore = Engine<FjallKv>;

/// How much memory and disk the store may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FjallConfig {
    /// Bytes of the block cache.
    pub cache_bytes: u64,
    /// Bytes that each of the four keyspaces collects in memory before it writes a table. Fixed
    /// when the store is made.
    pub memtable_bytes: u64,
    /// Threads that write tables and compact them.
    pub worker_threads: usize,
    /// Bytes of journal files; at least 64 MiB, which the engine asks for.
    pub journal_bytes_max: u64,
    /// Files held open; at least 10.
    pub open_files_max: usize,
    /// Bytes of hashed bodies kept in memory.
    pub body_cache_bytes: usize,
    /// Room that must be free on the disk before a read-only store is opened again for writing:
    /// enough for the tables that still wait to be written.
    pub recovery_room_bytes: u64,
}

impl FjallConfig {
    /// For an edge process of a few megabytes.
    #[must_use]
    pub const fn edge() -> Self {
        Self {
            cache_bytes: 256 * 1024,
            memtable_bytes: 128 * 1024,
            worker_threads: 1,
            journal_bytes_max: 64 * 1024 * 1024,
            open_files_max: 16,
            body_cache_bytes: 256 * 1024,
            recovery_room_bytes: 4 * 1024 * 1024,
        }
    }

    /// For the cloud: at most some 230 MB of memory however long it writes. That is four keyspaces
    /// with a memtable that fills and one that is being written as a table (128 MiB), and the two
    /// caches (80 MiB). Only a disk that is slower than its writers adds more: writes wait when four
    /// full memtables of a keyspace wait for it. The engine has no bound over all keyspaces.
    #[must_use]
    pub const fn cloud() -> Self {
        Self {
            cache_bytes: 64 * 1024 * 1024,
            memtable_bytes: 16 * 1024 * 1024,
            worker_threads: 2,
            journal_bytes_max: 1024 * 1024 * 1024,
            open_files_max: 512,
            body_cache_bytes: 16 * 1024 * 1024,
            recovery_room_bytes: 64 * 1024 * 1024,
        }
    }
}

impl FjallStore {
    /// Opens the store in the directory `path`, or makes an empty one.
    ///
    /// A tail of the journal that a crash tore before it was synced is cut off and reported.
    ///
    /// # Errors
    /// [`OpenError`]: another process holds it, its format is unknown, it is damaged, or the disk
    /// cannot be read.
    pub fn open(path: &Path, config: FjallConfig) -> Result<(Self, OpenReport), OpenError> {
        let options = EngineOptions {
            body_cache_bytes: config.body_cache_bytes,
        };
        let (kv, torn_bytes) = FjallKv::open(path, config)?;
        let (store, report) = Self::open_kv(kv, options, path)?;
        let report = OpenReport {
            torn_bytes,
            ..report
        };
        tracing::info!(
            path = %path.display(),
            durable = report.durable.get(),
            streams = report.streams,
            records_checked = report.records_checked,
            torn_bytes = report.torn_bytes,
            "store opened"
        );
        Ok((store, report))
    }

    /// Bytes the store takes on disk, about.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.kv().disk_bytes()
    }
}

/// Damage in the engine's own files.
fn damaged_files(path: &Path, place: PathBuf, what: &'static str) -> OpenError {
    OpenError::Damaged {
        path: path.to_owned(),
        recovery: crate::store::engine::RECOVERY,
        damage: Damage {
            place: place.display().to_string(),
            what,
        },
    }
}
