//! The in-memory store.

use bytes::Bytes;

use super::{
    Appended, Coalesced, ReadLimit, StoreStats, StreamInfo, TrimPolicy, Trimmed, Watermarks,
};
use crate::batch::{Batch, CursorName, Table};
use crate::body::{Body, BodyHash};
use crate::error::{AppendError, ReadError, SyncError, TrimError};
use crate::id::{Offset, Revision, StreamId};
use crate::key::Key;
use crate::record::{Slot, Stored};
use crate::store::Store;

/// In memory.
#[derive(Debug, Default)]
pub struct MemoryStore {}

impl MemoryStore {
    /// An empty store on a new disk.
    #[must_use]
    pub fn new() -> Self {
        Self {}
    }
}

macro_rules! skeleton {
    ($name:ty) => {
        impl Store for $name {
            fn append(&self, _: &Batch) -> Result<Appended, AppendError> {
                panic!("skeleton")
            }
            fn sync(&self) -> Result<Revision, SyncError> {
                panic!("skeleton")
            }
            fn watermarks(&self) -> Watermarks {
                panic!("skeleton")
            }
            fn stream(&self, _: &StreamId) -> Result<Option<StreamInfo>, ReadError> {
                panic!("skeleton")
            }
            fn streams(&self) -> Result<Vec<StreamId>, ReadError> {
                panic!("skeleton")
            }
            fn read(
                &self,
                _: &StreamId,
                _: Revision,
                _: ReadLimit,
            ) -> Result<Vec<Stored>, ReadError> {
                panic!("skeleton")
            }
            fn read_coalesced(
                &self,
                _: &StreamId,
                _: Offset,
                _: ReadLimit,
            ) -> Result<Coalesced, ReadError> {
                panic!("skeleton")
            }
            fn newest(&self, _: &StreamId, _: &Key, _: Slot) -> Result<Option<Stored>, ReadError> {
                panic!("skeleton")
            }
            fn held_at(
                &self,
                _: &StreamId,
                _: &Key,
                _: Slot,
                _: Offset,
            ) -> Result<Option<Stored>, ReadError> {
                panic!("skeleton")
            }
            fn scan_newest(
                &self,
                _: &StreamId,
                _: Option<(&Key, Slot)>,
                _: ReadLimit,
            ) -> Result<Vec<Stored>, ReadError> {
                panic!("skeleton")
            }
            fn body(&self, _: &BodyHash) -> Result<Option<Body>, ReadError> {
                panic!("skeleton")
            }
            fn cursor(&self, _: &CursorName) -> Result<Option<Offset>, ReadError> {
                panic!("skeleton")
            }
            fn rows(&self, _: Table, _: &[u8], _: usize) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
                panic!("skeleton")
            }
            fn trim(&self, _: &TrimPolicy) -> Result<Trimmed, TrimError> {
                panic!("skeleton")
            }
            fn try_recover(&self) -> Result<(), SyncError> {
                panic!("skeleton")
            }
            fn stats(&self) -> StoreStats {
                panic!("skeleton")
            }
        }
    };
}
pub(crate) use skeleton;
skeleton!(MemoryStore);
