//! The embedded on-disk store.

use std::path::Path;

use bytes::Bytes;

use super::memory::skeleton;
use super::{
    Appended, Coalesced, OpenReport, ReadLimit, StoreStats, StreamInfo, TrimPolicy, Trimmed,
    Watermarks,
};
use crate::batch::{Batch, CursorName, Table};
use crate::body::{Body, BodyHash};
use crate::error::{AppendError, OpenError, ReadError, SyncError, TrimError};
use crate::id::{Offset, Revision, StreamId};
use crate::key::Key;
use crate::record::{Slot, Stored};
use crate::store::Store;

/// How much memory and disk the engine may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FjallConfig {
    /// Bytes of the block cache.
    pub cache_bytes: u64,
}

impl FjallConfig {
    /// For an edge process of a few megabytes.
    #[must_use]
    pub const fn edge() -> Self {
        Self {
            cache_bytes: 1024 * 1024,
        }
    }

    /// For the cloud.
    #[must_use]
    pub const fn cloud() -> Self {
        Self {
            cache_bytes: 64 * 1024 * 1024,
        }
    }
}

/// On disk.
#[derive(Debug)]
pub struct FjallStore {}

impl FjallStore {
    /// Opens or makes the store at `path`.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(_path: &Path, _config: FjallConfig) -> Result<(Self, OpenReport), OpenError> {
        Ok((Self {}, OpenReport::default()))
    }
}

skeleton!(FjallStore);
