//! The one thread that writes a store: group commit around a pure [`Machine`].

use std::sync::Arc;

use crate::batch::Batch;
use crate::error::{AppendError, SyncError};
use crate::id::Revision;
use crate::record::Stored;
use crate::store::Store;

/// Decides what goes into a batch, and learns what became durable. Runs on the writer's thread, so
/// it needs no locks of its own; it publishes what others may see.
///
/// Per round the writer takes everything that waits, calls [`Machine::plan`] for each request,
/// appends one batch, syncs once, and calls [`Machine::committed`] or [`Machine::failed`].
/// Requests carry their own way to be answered (a one-shot sender); a machine keeps those of the
/// round and answers them in `committed` or `failed`, so nothing is answered before it is durable.
pub trait Machine: Send + 'static {
    /// What producers ask.
    type Request: Send + 'static;

    /// Adds to `batch` what `request` needs. A request that cannot be planned on top of what the
    /// batch already holds is handed back and is planned again, first, in the next round.
    fn plan(&mut self, request: Self::Request, batch: &mut Batch) -> Planned<Self::Request>;

    /// The batch of this round is durable: fold it, publish it, answer its requests. Also called,
    /// with nothing in it, for a round whose requests needed no write.
    fn committed(&mut self, committed: &Committed<'_>);

    /// The batch of this round was not applied: undo what planning assumed, refuse its requests.
    fn failed(&mut self, error: &RoundError);
}

/// What became of a request in a round.
#[derive(Debug)]
pub enum Planned<R> {
    /// Its part is in the batch (or it needs none); it is answered when the round ends.
    InBatch,
    /// It must wait for the next round.
    Later(R),
}

/// A durable round.
#[derive(Debug)]
pub struct Committed<'a> {
    /// The batch as planned.
    pub batch: &'a Batch,
    /// Each entry of the batch as it is stored, in the order of the batch.
    pub records: &'a [Stored],
    /// The store is durable up to here.
    pub durable: Revision,
}

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The append was refused.
    #[error("the batch was refused")]
    Append(#[source] AppendError),
    /// The append was written but could not be made durable: it counts as not done, and the store
    /// is read-only.
    #[error("the batch could not be made durable")]
    Sync(#[source] SyncError),
}

/// Where producers hand in requests. Cheap to clone. The writer thread ends, after a last round,
/// when all handles are gone.
#[derive(Debug)]
pub struct WriterHandle<R> {
    requests: tokio::sync::mpsc::Sender<R>,
}

impl<R> Clone for WriterHandle<R> {
    fn clone(&self) -> Self {
        Self { requests: self.requests.clone() }
    }
}

/// The thread.
#[derive(Debug)]
pub struct Writer {
    _store: Arc<dyn Store>,
}
