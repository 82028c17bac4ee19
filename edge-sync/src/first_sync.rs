//! Whether this node ever held all that the cloud had for it.
//!
//! A store that is new, or was wiped, has no pods in it; that does not mean that none should run.
//! Until the cloud's stream has been received to its end once, absence says nothing. From then on
//! the copy is whole, if old, and is served with or without a cloud.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use causeway_log::error::ReadError;
use causeway_log::{CursorName, NodeName, Offset, Store, StreamId};

/// Shared by the machine, which learns of the end of the first synchronisation, and the local API.
#[derive(Clone, Debug)]
pub struct FirstSync {
    done: Arc<AtomicBool>,
}

/// Stands at one while the first synchronisation is under way, else at zero or nowhere: most first
/// synchronisations are one batch, and need no mark.
pub(crate) fn mark() -> CursorName {
    CursorName("first-sync".into())
}

impl FirstSync {
    /// As the store of `node` has it.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn read(store: &dyn Store, node: &NodeName) -> Result<Self, ReadError> {
        let received = store.stream(&StreamId::down(node.clone()))?.is_some();
        let under_way = store.cursor(&mark())?.unwrap_or(Offset::ZERO) > Offset::ZERO;
        Ok(Self {
            done: Arc::new(AtomicBool::new(received && !under_way)),
        })
    }

    /// Whether the copy is whole.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// The copy is whole, durably.
    pub(crate) fn finish(&self) {
        self.done.store(true, Ordering::Release);
    }
}
