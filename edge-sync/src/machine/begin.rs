//! The very first start of a node.

use causeway_log::batch::StreamChange;
use causeway_log::error::{AppendError, ReadError, SyncError};
use causeway_log::{Batch, Epoch, NodeName, Offset, Store, StreamId};

/// The log of a node cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The store cannot be read.
    #[error("cannot read the store")]
    Read(#[from] ReadError),
    /// A new store cannot be written.
    #[error("cannot begin the log of this node")]
    Append(#[from] AppendError),
    /// A new store cannot be written durably.
    #[error("cannot make the beginning of the log durable")]
    Sync(#[from] SyncError),
}

/// Opens the stream that this node writes, in `epoch`, unless it is open. Gives its durable head.
///
/// # Errors
/// [`BeginError`]
pub fn begin(store: &dyn Store, node: &NodeName, epoch: Epoch) -> Result<Offset, BeginError> {
    let up = StreamId::up(node.clone());
    if let Some(info) = store.stream(&up)? {
        return Ok(info.durable);
    }
    store.append(&Batch {
        streams: vec![StreamChange::Open { stream: up, epoch }],
        ..Batch::default()
    })?;
    store.sync()?;
    Ok(Offset::ZERO)
}
