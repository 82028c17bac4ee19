//! The ordered map on fjall.
//!
//! fjall's batches are atomic but only buffered; nothing is durable before an explicit sync. After
//! a failed write fjall refuses all further writes ("poisoned"); [`Kv::recover`] then closes it,
//! takes back what was not durable, and opens it again.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::{FjallConfig, damaged_files, journal};
use crate::error::{EngineError, OpenError};
use crate::store::kv::{DamagedFile, Kv, Pairs, Space, View, Write, Writes};

/// A fjall database in a directory.
pub struct FjallKv {
    path: PathBuf,
    config: FjallConfig,
    /// Readers share it; only `recover` takes it away.
    open: RwLock<Option<Open>>,
    /// Committed or attempted since the last sync.
    unsynced: Mutex<Vec<Writes>>,
    /// What a recovery must put back: the durable values of what was not synced. Kept until a
    /// recovery succeeds.
    undo: Mutex<Vec<Write>>,
}

struct Open {
    // Fields are dropped in this order: the snapshot and the keyspaces before the database.
    durable: Mutex<Snapshot>,
    spaces: [Keyspace; Space::ALL.len()],
    database: Database,
}

impl fmt::Debug for FjallKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallKv")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl FjallKv {
    /// Opens or makes the database; also gives the bytes of torn journal that were cut off.
    pub(super) fn open(path: &Path, config: FjallConfig) -> Result<(Self, u64), OpenError> {
        let torn_bytes = {
            let _lock = lock(path)?;
            journal::repair(path)?
        };
        let open = Open::new(path, &config).map_err(|error| open_error(path, error))?;
        let kv = Self {
            path: path.to_owned(),
            config,
            open: RwLock::new(Some(open)),
            unsynced: Mutex::new(Vec::new()),
            undo: Mutex::new(Vec::new()),
        };
        Ok((kv, torn_bytes))
    }

    /// Bytes on disk, about.
    pub(super) fn disk_bytes(&self) -> u64 {
        let open = self.open.read();
        open.as_ref()
            .and_then(|open| open.database.disk_space().ok())
            .unwrap_or(0)
    }

    /// Copies what a power failure at this moment would leave to another directory.
    ///
    /// # Errors
    /// The file system's.
    #[cfg(feature = "testing")]
    pub fn copy_crashed(&self, to: &Path) -> io::Result<()> {
        let open = self.open.read();
        copy_dir(&self.path, to)?;
        match &*open {
            Some(open) => journal::cut_from(to, open.durable.lock().seqno()),
            None => Ok(()),
        }
    }

    fn view(&self, choose: impl FnOnce(&Open) -> Snapshot) -> FjallView<'_> {
        let open = self.open.read();
        let at = open.as_ref().map(choose);
        FjallView { at, open }
    }

    /// The error of a failed write. fjall does not say what failed in the background; when the
    /// disk has no room, that is it.
    fn explain(&self, action: &'static str, error: fjall::Error) -> EngineError {
        if matches!(error, fjall::Error::Poisoned)
            && let Err(source) = self.probe_room()
        {
            return EngineError {
                action,
                source: Box::new(source),
            };
        }
        write_failed(action, error)
    }

    /// Checks that there is room, by taking it: what a full disk says of free room is not enough.
    fn probe_room(&self) -> io::Result<()> {
        let path = self.path.join("room.probe");
        let probe = || {
            let mut file = File::create(&path)?;
            let block = vec![0xa5; 64 * 1024];
            let mut left = self.config.recovery_room_bytes;
            while left > 0 {
                file.write_all(&block)?;
                left = left.saturating_sub(block.len() as u64);
            }
            file.sync_all()
        };
        let outcome = probe();
        std::fs::remove_file(&path)?;
        outcome
    }
}

impl Open {
    fn new(path: &Path, config: &FjallConfig) -> fjall::Result<Self> {
        let database = Database::builder(path)
            .cache_size(config.cache_bytes)
            .worker_threads(config.worker_threads)
            .max_journaling_size(config.journal_bytes_max)
            .max_cached_files(Some(config.open_files_max))
            .manual_journal_persist(true)
            .open()?;
        let keyspace = |space: Space| {
            database.keyspace(space.name(), || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(config.memtable_bytes)
                    .manual_journal_persist(true)
            })
        };
        let [log, newest, bodies, meta] = Space::ALL;
        let spaces = [
            keyspace(log)?,
            keyspace(newest)?,
            keyspace(bodies)?,
            keyspace(meta)?,
        ];
        let durable = Mutex::new(database.snapshot());
        Ok(Self {
            durable,
            spaces,
            database,
        })
    }

    fn commit(&self, writes: &Writes) -> fjall::Result<()> {
        let mut batch = self.database.batch();
        for Write { space, key, value } in &writes.0 {
            let keyspace = &self.spaces[space.index()];
            match value {
                Some(value) => batch.insert(keyspace, key.clone(), value.clone()),
                None => batch.remove(keyspace, key.clone()),
            }
        }
        batch.commit()
    }

    fn sync(&self) -> fjall::Result<()> {
        self.database.persist(PersistMode::SyncAll)?;
        *self.durable.lock() = self.database.snapshot();
        Ok(())
    }
}

impl Kv for FjallKv {
    type View<'a> = FjallView<'a>;

    fn written(&self) -> FjallView<'_> {
        self.view(|open| open.database.snapshot())
    }

    fn durable(&self) -> FjallView<'_> {
        self.view(|open| open.durable.lock().clone())
    }

    fn commit(&self, writes: Writes) -> Result<(), EngineError> {
        let open = self.open.read();
        let open = open.as_ref().ok_or_else(closed)?;
        let outcome = open.commit(&writes);
        // A failed commit may have reached the journal in part: recovery must look at it too.
        self.unsynced.lock().push(writes);
        outcome.map_err(|error| self.explain("commit a batch", error))
    }

    fn sync(&self) -> Result<(), EngineError> {
        let open = self.open.read();
        let open = open.as_ref().ok_or_else(closed)?;
        open.sync()
            .map_err(|error| self.explain("sync the journal", error))?;
        self.unsynced.lock().clear();
        Ok(())
    }

    fn recover(&self) -> Result<(), EngineError> {
        let io = |action| {
            move |source| EngineError {
                action,
                source: Box::new(source),
            }
        };
        self.probe_room().map_err(io("find room on the disk"))?;
        let mut slot = self.open.write();
        let mut durable_upto = None;
        if let Some(open) = slot.take() {
            let undo = undo_of(&open, &self.unsynced.lock());
            match undo {
                Ok(undo) => *self.undo.lock() = undo,
                Err(error) => {
                    *slot = Some(open);
                    return Err(error);
                }
            }
            durable_upto = Some(open.durable.lock().seqno());
        }
        self.unsynced.lock().clear();
        if let Some(seqno) = durable_upto {
            // Pages of a failed sync may look written and not be: what follows them on disk must
            // not depend on them, so the file is cut where the durable part ends.
            journal::cut_from(&self.path, seqno).map_err(io("cut the journal"))?;
        }
        let open = Open::new(&self.path, &self.config)
            .map_err(|error| write_failed("open the database again", error))?;
        let undo = Writes(self.undo.lock().clone());
        // Until this is done the database must not be read: it may hold what was never durable.
        open.commit(&undo)
            .and_then(|()| open.sync())
            .map_err(|error| write_failed("take back what was not durable", error))?;
        *slot = Some(open);
        self.undo.lock().clear();
        Ok(())
    }
}

#[cfg(feature = "testing")]
fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The durable values of all keys that unsynced writes touched.
fn undo_of(open: &Open, unsynced: &[Writes]) -> Result<Vec<Write>, EngineError> {
    let durable = open.durable.lock();
    let mut seen = std::collections::BTreeSet::new();
    let mut undo = Vec::new();
    for Write { space, key, .. } in unsynced.iter().flat_map(|writes| &writes.0) {
        if !seen.insert((*space, key.clone())) {
            continue;
        }
        let value = durable
            .get(&open.spaces[space.index()], key)
            .map_err(|error| read_failed(*space, error))?;
        undo.push(Write {
            space: *space,
            key: key.clone(),
            value: value.map(Bytes::from),
        });
    }
    Ok(undo)
}

/// The database at one moment.
pub struct FjallView<'a> {
    at: Option<Snapshot>,
    open: RwLockReadGuard<'a, Option<Open>>,
}

impl fmt::Debug for FjallView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallView").finish_non_exhaustive()
    }
}

impl FjallView<'_> {
    fn keyspace(&self, space: Space) -> Result<(&Snapshot, &Keyspace), EngineError> {
        match (&self.at, &*self.open) {
            (Some(at), Some(open)) => Ok((at, &open.spaces[space.index()])),
            (None, _) | (_, None) => Err(closed()),
        }
    }
}

impl View for FjallView<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let (at, keyspace) = self.keyspace(space)?;
        let value = at
            .get(keyspace, key)
            .map_err(|error| read_failed(space, error))?;
        Ok(value.map(Bytes::from))
    }

    fn scan(&self, space: Space, from: &[u8], to: &[u8]) -> Pairs<'_> {
        match self.keyspace(space) {
            Ok(_) if from >= to => Box::new(std::iter::empty()),
            Ok((at, keyspace)) => Box::new(at.range(keyspace, from..to).map(move |guard| {
                let pair = guard
                    .into_inner()
                    .map_err(|error| read_failed(space, error))?;
                Ok((Bytes::from(pair.0), Bytes::from(pair.1)))
            })),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }
}

/// The lock that fjall takes too, held while its files are looked at before it opens them.
fn lock(path: &Path) -> Result<Option<File>, OpenError> {
    let engine = |source: io::Error| OpenError::Engine {
        path: path.to_owned(),
        source: EngineError {
            action: "lock the directory",
            source: Box::new(source),
        },
    };
    let file = match File::options()
        .read(true)
        .write(true)
        .open(path.join("lock"))
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(engine(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Locked {
            path: path.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(error)) => Err(engine(error)),
    }
}

fn closed() -> EngineError {
    EngineError {
        action: "use the database",
        source: "it could not be opened again after a failed write".into(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open")]
fn write_failed(action: &'static str, error: fjall::Error) -> EngineError {
    let source: Box<dyn std::error::Error + Send + Sync> = match error {
        fjall::Error::Io(error) => Box::new(error),
        fjall::Error::Poisoned => "an earlier write in the background failed".into(),
        error => Box::new(EngineFailure(error)),
    };
    EngineError { action, source }
}

fn read_failed(space: Space, error: fjall::Error) -> EngineError {
    let source: Box<dyn std::error::Error + Send + Sync> = match damage_in(&error) {
        Some(what) => Box::new(DamagedFile {
            place: format!("keyspace {}", space.name()),
            what,
        }),
        None => Box::new(EngineFailure(error)),
    };
    EngineError {
        action: "read",
        source,
    }
}

/// What a fjall error says of damaged files; `None`: it is no damage.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enums are open, other errors are no damage"
)]
fn damage_in(error: &fjall::Error) -> Option<&'static str> {
    Some(match error {
        fjall::Error::JournalRecovery(_) => "the journal is damaged",
        fjall::Error::InvalidTrailer | fjall::Error::InvalidTag(_) => "invalid marker",
        fjall::Error::Decompress(_) => "a block cannot be decompressed",
        fjall::Error::Unrecoverable => "files are missing or contradict each other",
        fjall::Error::Storage(error) => match error {
            fjall::LsmError::ChecksumMismatch { .. } => "checksum mismatch of a block",
            fjall::LsmError::Decompress(_) => "a block cannot be decompressed",
            fjall::LsmError::Unrecoverable => "files are missing or contradict each other",
            fjall::LsmError::InvalidTag(_)
            | fjall::LsmError::InvalidTrailer
            | fjall::LsmError::InvalidHeader(_)
            | fjall::LsmError::InvalidVersion(_)
            | fjall::LsmError::Utf8(_) => "a block cannot be read",
            _ => return None,
        },
        _ => return None,
    })
}

/// A database that is there names its files itself; when one is not found, or ends too early, the
/// name is wrong or the file is.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enums are open")]
fn lost_file(error: &fjall::Error) -> Option<&'static str> {
    let (fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error))) = error
    else {
        return None;
    };
    match error.kind() {
        io::ErrorKind::NotFound => Some("a file of the storage engine is missing"),
        io::ErrorKind::UnexpectedEof => Some("a file of the storage engine ends too early"),
        _ => None,
    }
}

fn open_error(path: &Path, error: fjall::Error) -> OpenError {
    if let Some(what) = damage_in(&error).or_else(|| lost_file(&error)) {
        return damaged_files(path, path.join("keyspaces"), what);
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open")]
    match error {
        fjall::Error::Locked => OpenError::Locked {
            path: path.to_owned(),
        },
        fjall::Error::InvalidVersion(_) => damaged_files(
            path,
            path.join("version"),
            "the storage engine's format is unknown",
        ),
        error => OpenError::Engine {
            path: path.to_owned(),
            source: write_failed("open the database", error),
        },
    }
}

/// A fjall error with words for people: its own `Display` is its `Debug`.
#[derive(Debug)]
struct EngineFailure(fjall::Error);

impl fmt::Display for EngineFailure {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            fjall::Error::Storage(_) => "the tree failed",
            fjall::Error::Io(_) => "input or output failed",
            fjall::Error::KeyspaceDeleted => "the keyspace is deleted",
            fjall::Error::Locked => "another process holds the lock",
            fjall::Error::Poisoned => "an earlier write failed",
            _ => "the storage engine failed",
        })
    }
}

impl std::error::Error for EngineFailure {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open")]
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            // The tree's own text is its debug output; what the system said is what helps.
            fjall::Error::Storage(fjall::LsmError::Io(error)) => Some(error),
            error => error.source(),
        }
    }
}
