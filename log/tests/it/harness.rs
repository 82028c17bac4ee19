//! The two stores under one harness.

use causeway_log::Store;
use causeway_log::store::VerifyReport;
use causeway_log::store::conformance::Harness;
use causeway_log::store::fjall::{FjallConfig, FjallStore};
use causeway_log::store::memory::MemoryStore;
use tempfile::TempDir;

/// A store that can check all of itself.
pub(crate) trait Verify {
    fn verify(&self) -> VerifyReport;
}

impl Verify for Memory {
    fn verify(&self) -> VerifyReport {
        self.0.verify().expect("memory can be read")
    }
}

impl Verify for Fjall {
    fn verify(&self) -> VerifyReport {
        self.store.verify().expect("the disk can be read")
    }
}

/// The in-memory store.
pub(crate) struct Memory(pub(crate) MemoryStore);

impl Memory {
    pub(crate) fn new() -> Self {
        Self(MemoryStore::new())
    }
}

impl Harness for Memory {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    fn crash(&mut self) {
        let disk = self.0.disk().clone();
        disk.crash();
        self.0 = MemoryStore::on(&disk)
            .expect("what is durable can be opened")
            .0;
    }
}

/// The on-disk store.
pub(crate) struct Fjall {
    store: FjallStore,
    _dir: TempDir,
}

impl Fjall {
    pub(crate) fn new() -> Self {
        Self::on(tempfile::tempdir().expect("a directory"))
    }

    fn on(dir: TempDir) -> Self {
        let store = FjallStore::open(dir.path(), FjallConfig::edge())
            .expect("it opens")
            .0;
        Self { store, _dir: dir }
    }
}

impl Harness for Fjall {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn crash(&mut self) {
        let dir = tempfile::tempdir().expect("a directory");
        self.store.kv().copy_crashed(dir.path()).expect("a copy");
        *self = Self::on(dir);
    }
}
