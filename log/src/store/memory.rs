//! The in-memory store: a model of a disk that can lose power, tear, fill up and fail to write or to
//! read, on demand.
//! What tests and the simulator run on.
//!
//! A [`Disk`] outlives the stores opened on it, as a disk outlives a process. It keeps two states:
//! what was written and what was synced. A crash throws the difference away.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use crate::error::{EngineError, OpenError};
use crate::store::OpenReport;
use crate::store::engine::{Engine, EngineOptions};
use crate::store::kv::{Kv, Pairs, Space, View, Writes};

/// A store in memory. Deterministic; implements the whole contract over a [`Disk`].
pub type MemoryStore = Engine<MemoryKv>;

/// Bytes of bodies cached above the disk: nothing, the disk is memory.
const OPTIONS: EngineOptions = EngineOptions {
    body_cache_bytes: 0,
};

impl MemoryStore {
    /// An empty store on a disk of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::on(&Disk::new())
            .expect("an empty disk can be opened")
            .0
    }

    /// Opens the store on `disk`, or makes an empty one. A store opened on the disk before is dead
    /// from then on: all its writes fail.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn on(disk: &Disk) -> Result<(Self, OpenReport), OpenError> {
        Self::open_kv(disk.mount(), OPTIONS, Path::new("memory"))
    }

    /// The disk below.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.kv().disk
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

/// A disk. Clones are the same disk; a copy is taken with [`Disk::image`].
#[derive(Clone, Debug, Default)]
pub struct Disk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    tables: RwLock<State>,
    fault: Mutex<Option<Fault>>,
    /// Reads that were asked for while some fail, and those that failed.
    reads: AtomicU64,
    failed_reads: AtomicU64,
}

/// How writing or reading goes wrong, from when it is set until [`Disk::heal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Commits fail: no space left on device.
    Full,
    /// Commits are taken, syncs fail: input/output error. What was committed since the last
    /// sync may or may not be on the disk; here it is not.
    SyncFails,
    /// Commits fail: input/output error.
    WriteFails,
    /// Of so many reads the last one fails, again and again: input/output error. Writing works.
    ReadFails {
        /// All of them when it is one, or zero.
        one_in: u32,
    },
    /// The power goes at the next sync, before anything reaches the disk.
    PowerFailsAtSync,
    /// The power goes at the next sync, after everything reached the disk and before anybody
    /// hears of it.
    PowerFailsAfterSync,
}

/// What is durable on a disk at one moment. Cheap to clone and to keep: copies share what neither
/// changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    tables: Tables,
}

type Table = Arc<BTreeMap<Bytes, Bytes>>;
type Tables = [Table; Space::ALL.len()];

#[derive(Debug, Default)]
struct State {
    written: Tables,
    durable: Tables,
    /// What is in `written` and not in `durable`, in order.
    unsynced: Vec<Writes>,
    /// Stores mounted under a lower number are dead.
    mount: u64,
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new disk with what `image` holds, as after restoring a backup.
    #[must_use]
    pub fn from_image(image: &Image) -> Self {
        let disk = Self::new();
        disk.restore(image);
        disk
    }

    /// What is durable now.
    #[must_use]
    pub fn image(&self) -> Image {
        Image {
            tables: self.shared.tables.read().durable.clone(),
        }
    }

    /// Replaces everything by an old copy. The store that was open is dead.
    pub fn restore(&self, image: &Image) {
        let mut state = self.shared.tables.write();
        state.durable = image.tables.clone();
        state.crash();
    }

    /// The power goes: everything unsynced is lost, the store that was open is dead. Open the next
    /// one with [`MemoryStore::on`].
    pub fn crash(&self) {
        self.shared.tables.write().crash();
    }

    /// The power goes while unsynced batches are on their way to the disk: the first `batches` of
    /// them made it, whole, and nobody heard of it.
    pub fn crash_keeping(&self, batches: usize) {
        let mut state = self.shared.tables.write();
        state.unsynced.truncate(batches);
        state.sync();
        state.crash();
    }

    /// From here on writing goes wrong.
    pub fn set_fault(&self, fault: Fault) {
        *self.shared.fault.lock() = Some(fault);
    }

    /// Writing works again; a store that has become read-only can recover.
    pub fn heal(&self) {
        *self.shared.fault.lock() = None;
    }

    /// Reads as who looks at the disk from outside: none of these reads fails.
    pub fn read_anyway<T>(&self, read: impl FnOnce() -> T) -> T {
        let fault = {
            let mut fault = self.shared.fault.lock();
            fault.take_if(|fault| matches!(fault, Fault::ReadFails { .. }))
        };
        let result = read();
        if fault.is_some() {
            *self.shared.fault.lock() = fault;
        }
        result
    }

    /// How many reads failed.
    #[must_use]
    pub fn failed_reads(&self) -> u64 {
        self.shared.failed_reads.load(Ordering::Relaxed)
    }

    /// How many batches a crash may lose.
    #[must_use]
    pub fn unsynced_batches(&self) -> usize {
        self.shared.tables.read().unsynced.len()
    }

    /// Damages one byte of the durable value at position `nth` of a space (counted from its
    /// first key). `false`: there are not so many.
    pub fn corrupt(&self, space: Space, nth: usize, byte: usize) -> bool {
        let mut state = self.shared.tables.write();
        let table = Arc::make_mut(&mut state.durable[space.index()]);
        let Some(value) = table.values_mut().nth(nth) else {
            return false;
        };
        let mut bytes = value.to_vec();
        let at = byte % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 0x40;
        }
        *value = bytes.into();
        state.crash();
        true
    }

    /// Bytes of all durable keys and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let state = self.shared.tables.read();
        let pairs = state.durable.iter().flat_map(|table| table.iter());
        pairs.map(|(key, value)| key.len() + value.len()).sum()
    }

    fn mount(&self) -> MemoryKv {
        let mut state = self.shared.tables.write();
        state.crash();
        MemoryKv {
            mount: state.mount,
            disk: self.clone(),
        }
    }
}

impl State {
    fn crash(&mut self) {
        self.written = self.durable.clone();
        self.unsynced.clear();
        self.mount += 1;
    }

    fn sync(&mut self) {
        for writes in std::mem::take(&mut self.unsynced) {
            apply(&mut self.durable, &writes);
        }
    }
}

fn apply(tables: &mut Tables, writes: &Writes) {
    for write in &writes.0 {
        let table = Arc::make_mut(&mut tables[write.space.index()]);
        match &write.value {
            Some(value) => table.insert(write.key.clone(), value.clone()),
            None => table.remove(&write.key),
        };
    }
}

/// The ordered map on a [`Disk`].
#[derive(Debug)]
pub struct MemoryKv {
    disk: Disk,
    mount: u64,
}

impl MemoryKv {
    fn fault(&self) -> Option<Fault> {
        *self.disk.shared.fault.lock()
    }
}

impl Shared {
    fn check_read(&self) -> Result<(), EngineError> {
        let Some(Fault::ReadFails { one_in }) = *self.fault.lock() else {
            return Ok(());
        };
        let number = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
        if !number.is_multiple_of(u64::from(one_in.max(1))) {
            return Ok(());
        }
        self.failed_reads.fetch_add(1, Ordering::Relaxed);
        Err(refuse("read", std::io::ErrorKind::Other))
    }
}

fn refuse(action: &'static str, kind: std::io::ErrorKind) -> EngineError {
    EngineError {
        action,
        source: Box::new(std::io::Error::from(kind)),
    }
}

fn check_mounted(state: &State, mount: u64) -> Result<(), EngineError> {
    if state.mount == mount {
        Ok(())
    } else {
        Err(power_lost())
    }
}

fn power_lost() -> EngineError {
    EngineError {
        action: "write",
        source: "the disk lost power or was opened again".into(),
    }
}

impl Kv for MemoryKv {
    type View<'a> = MemoryView<'a>;

    fn written(&self) -> MemoryView<'_> {
        MemoryView {
            state: self.disk.shared.tables.read_recursive(),
            shared: &self.disk.shared,
            is_durable: false,
        }
    }

    fn durable(&self) -> MemoryView<'_> {
        MemoryView {
            state: self.disk.shared.tables.read_recursive(),
            shared: &self.disk.shared,
            is_durable: true,
        }
    }

    fn commit(&self, writes: Writes) -> Result<(), EngineError> {
        match self.fault() {
            Some(Fault::Full) => {
                return Err(refuse("commit a batch", std::io::ErrorKind::StorageFull));
            }
            Some(Fault::WriteFails) => {
                return Err(refuse("commit a batch", std::io::ErrorKind::Other));
            }
            Some(
                Fault::SyncFails
                | Fault::ReadFails { .. }
                | Fault::PowerFailsAtSync
                | Fault::PowerFailsAfterSync,
            )
            | None => {}
        }
        let mut state = self.disk.shared.tables.write();
        check_mounted(&state, self.mount)?;
        apply(&mut state.written, &writes);
        state.unsynced.push(writes);
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        let mut state = self.disk.shared.tables.write();
        check_mounted(&state, self.mount)?;
        match self.fault() {
            Some(Fault::Full | Fault::WriteFails | Fault::SyncFails) => {
                Err(refuse("sync", std::io::ErrorKind::Other))
            }
            Some(Fault::PowerFailsAtSync) => {
                state.crash();
                Err(power_lost())
            }
            Some(Fault::PowerFailsAfterSync) => {
                state.sync();
                state.crash();
                Err(power_lost())
            }
            Some(Fault::ReadFails { .. }) | None => {
                state.sync();
                Ok(())
            }
        }
    }

    fn recover(&self) -> Result<(), EngineError> {
        let mut state = self.disk.shared.tables.write();
        check_mounted(&state, self.mount)?;
        let takes_writes = matches!(self.fault(), None | Some(Fault::ReadFails { .. }));
        if !takes_writes {
            return Err(refuse("write again", std::io::ErrorKind::StorageFull));
        }
        state.written = state.durable.clone();
        state.unsynced.clear();
        Ok(())
    }
}

/// One of the two states of a [`Disk`].
#[derive(Debug)]
pub struct MemoryView<'a> {
    state: RwLockReadGuard<'a, State>,
    shared: &'a Shared,
    is_durable: bool,
}

impl MemoryView<'_> {
    fn table(&self, space: Space) -> &BTreeMap<Bytes, Bytes> {
        let tables = if self.is_durable {
            &self.state.durable
        } else {
            &self.state.written
        };
        &tables[space.index()]
    }

    fn range(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
    ) -> impl DoubleEndedIterator<Item = (&Bytes, &Bytes)> + use<'_> {
        let from = Bytes::copy_from_slice(from);
        // A range that ends before it begins holds nothing.
        let to = Bytes::copy_from_slice(to).max(from.clone());
        self.table(space).range(from..to)
    }
}

impl View for MemoryView<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.shared.check_read()?;
        Ok(self.table(space).get(key).cloned())
    }

    fn scan(&self, space: Space, from: &[u8], to: &[u8]) -> Pairs<'_> {
        let pairs = self.range(space, from, to);
        Box::new(pairs.map(|(key, value)| {
            self.shared.check_read()?;
            Ok((key.clone(), value.clone()))
        }))
    }
}
