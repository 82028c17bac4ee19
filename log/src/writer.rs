//! The one thread that writes a store: group commit around a pure [`Machine`].

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::batch::Batch;
use crate::error::{AppendError, SyncError};
use crate::id::Revision;
use crate::limits::{ROUND_BYTES_TARGET, ROUND_RECORDS_TARGET, WRITER_QUEUE_MAX};
use crate::record::{Record, Stored};
use crate::store::{Appended, Store, header_at};

/// Decides what goes into a batch, and learns what became durable. Runs on the writer's thread, so
/// it needs no locks of its own; it publishes what others may see.
///
/// Per round the writer takes everything that waits, calls [`Machine::plan`] for each request and
/// [`Machine::seal`] after the last, appends one batch, syncs once, and calls
/// [`Machine::committed`] or [`Machine::failed`].
/// Requests carry their own way to be answered (a one-shot sender); a machine keeps those of the
/// round and answers them in `committed` or `failed`, so nothing is answered before it is durable.
pub trait Machine: Send + 'static {
    /// What producers ask.
    type Request: Send + 'static;

    /// Adds to `batch` what `request` needs. A request that cannot be planned on top of what the
    /// batch already holds is handed back and is planned again, first, in the next round; on top
    /// of an empty batch every request can be planned.
    fn plan(&mut self, request: Self::Request, batch: &mut Batch) -> Planned<Self::Request>;

    /// No more requests are planned in this round: adds what is written once for all of them.
    fn seal(&mut self, batch: &mut Batch) {
        let _ = batch;
    }

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
    /// It must wait for the next round. The round ends here, so that requests keep their order.
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
    /// is read-only. A later recovery takes it back.
    #[error("the batch could not be made durable")]
    Sync(#[source] SyncError),
}

impl RoundError {
    /// Whether the disk failed, which passes or is mended, rather than a batch that should never
    /// have been planned. Such a failure is told as what the store now is, read-only, and is no
    /// error of the program.
    #[must_use]
    pub const fn is_of_disk(&self) -> bool {
        match self {
            Self::Append(AppendError::ReadOnly { .. } | AppendError::Engine(_)) | Self::Sync(_) => {
                true
            }
            Self::Append(
                AppendError::Conflict { .. }
                | AppendError::NotOpen { .. }
                | AppendError::Order { .. }
                | AppendError::TooLarge { .. }
                | AppendError::Read(_),
            ) => false,
        }
    }
}

/// The writer thread has ended: it was shut down, or its machine panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the writer has ended")]
pub struct WriterGone;

/// The machine of a writer panicked; the panic was logged when it happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the writer thread panicked: {message}")]
pub struct WriterPanicked {
    /// The panic's message.
    pub message: String,
}

/// Where producers hand in requests. Cheap to clone. The writer thread ends, after a last round,
/// when all handles are gone.
#[derive(Debug)]
pub struct WriterHandle<R> {
    requests: mpsc::Sender<R>,
}

impl<R> Clone for WriterHandle<R> {
    fn clone(&self) -> Self {
        Self {
            requests: self.requests.clone(),
        }
    }
}

impl<R: Send + 'static> WriterHandle<R> {
    /// Hands in a request; waits while [`WRITER_QUEUE_MAX`] others wait.
    ///
    /// # Errors
    /// [`WriterGone`]; the request is dropped, and with it its way to be answered.
    pub async fn send(&self, request: R) -> Result<(), WriterGone> {
        self.requests.send(request).await.map_err(|_| WriterGone)
    }

    /// As [`send`](Self::send), from a thread that may block. Panics inside an async runtime.
    ///
    /// # Errors
    /// [`WriterGone`]
    pub fn send_blocking(&self, request: R) -> Result<(), WriterGone> {
        self.requests.blocking_send(request).map_err(|_| WriterGone)
    }

    /// Resolves when the writer thread takes no more requests. A supervisor that did not ask for
    /// the end calls [`Writer::join`] to learn of a panic.
    pub async fn closed(&self) {
        self.requests.closed().await;
    }

    /// Whether the writer thread takes no more requests.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }
}

/// The thread. Dropping this does not end it; dropping all handles does.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<()>,
}

impl Writer {
    /// Starts the thread `name` that writes `store` as `machine` decides.
    ///
    /// # Panics
    /// When the system cannot start a thread.
    pub fn spawn<M: Machine>(
        name: &str,
        store: Arc<dyn Store>,
        machine: M,
    ) -> (Self, WriterHandle<M::Request>) {
        let (sender, receiver) = mpsc::channel(WRITER_QUEUE_MAX);
        let rounds = Rounds {
            store,
            machine,
            receiver,
            deferred: VecDeque::new(),
        };
        let name = name.to_owned();
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || run_reporting_panics(&name, rounds))
            .expect("the system can start a thread");
        (Self { thread }, WriterHandle { requests: sender })
    }

    /// Waits until the thread has ended, which it does when all handles are gone.
    ///
    /// # Errors
    /// [`WriterPanicked`]
    pub fn join(self) -> Result<(), WriterPanicked> {
        self.thread.join().map_err(|panic| WriterPanicked {
            message: panic_message(&*panic).to_owned(),
        })
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// A panic ends the thread, is logged, and comes out of [`Writer::join`].
fn run_reporting_panics<M: Machine>(name: &str, mut rounds: Rounds<M>) {
    if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| rounds.run())) {
        tracing::error!(
            writer = name,
            panic = panic_message(&*panic),
            "writer thread panicked"
        );
        // Close the queue before the unwinding goes on, so that producers see the end.
        drop(rounds);
        std::panic::resume_unwind(panic);
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

struct Rounds<M: Machine> {
    store: Arc<dyn Store>,
    machine: M,
    receiver: mpsc::Receiver<M::Request>,
    /// At most one request that did not fit into the round before.
    deferred: VecDeque<M::Request>,
}

impl<M: Machine> Rounds<M> {
    fn run(&mut self) {
        while let Some(first) = self
            .deferred
            .pop_front()
            .or_else(|| self.receiver.blocking_recv())
        {
            let receiver = &mut self.receiver;
            let (round, deferred) =
                Round::plan(&mut self.machine, first, || receiver.try_recv().ok());
            self.deferred.extend(deferred);
            if let Some(written) = round.append(&mut self.machine, &*self.store) {
                written.sync(&mut self.machine, &*self.store);
            }
        }
    }
}

/// One round, step by step: what the writer's thread does, for who has no thread. Planned, then
/// written, then durable; a crash in between loses it.
#[derive(Debug)]
pub struct Round {
    batch: Batch,
}

/// A round whose batch is written and not yet durable.
#[derive(Debug)]
pub struct WrittenRound {
    batch: Batch,
    appended: Appended,
}

impl Round {
    /// Plans `first` and whatever else waits, until the round is full. Gives back the request that
    /// must come first in the next one, if there is one.
    ///
    /// # Panics
    /// When the machine hands back a request that comes first.
    pub fn plan<M: Machine>(
        machine: &mut M,
        first: M::Request,
        mut more: impl FnMut() -> Option<M::Request>,
    ) -> (Self, Option<M::Request>) {
        let mut batch = Batch::default();
        let mut fullness = Fullness::default();
        let mut next = Some(first);
        let mut deferred = None;
        let mut planned = 0;
        while let Some(request) = next {
            match machine.plan(request, &mut batch) {
                Planned::InBatch => planned += 1,
                Planned::Later(request) => {
                    assert!(
                        planned > 0,
                        "a request that comes first in a round can be planned"
                    );
                    deferred = Some(request);
                    break;
                }
            }
            if planned == WRITER_QUEUE_MAX || fullness.is_reached(&batch) {
                break;
            }
            next = more();
        }
        machine.seal(&mut batch);
        (Self { batch }, deferred)
    }

    /// Writes the batch. `None`: there was nothing to write, or it was refused; the machine was
    /// told.
    pub fn append<M: Machine>(self, machine: &mut M, store: &dyn Store) -> Option<WrittenRound> {
        let Self { batch } = self;
        if batch.is_empty() && batch.expect.is_empty() {
            machine.committed(&Committed {
                batch: &batch,
                records: &[],
                durable: store.watermarks().durable,
            });
            return None;
        }
        match store.append(&batch) {
            Ok(appended) => Some(WrittenRound { batch, appended }),
            Err(error) => {
                machine.failed(&RoundError::Append(error));
                None
            }
        }
    }
}

impl WrittenRound {
    /// Makes the batch durable and tells the machine, also when that failed. Gives the batch back.
    pub fn sync<M: Machine>(self, machine: &mut M, store: &dyn Store) -> Batch {
        let Self { batch, appended } = self;
        match store.sync() {
            Ok(durable) => machine.committed(&Committed {
                batch: &batch,
                records: &stored_entries(&batch, &appended),
                durable,
            }),
            Err(error) => machine.failed(&RoundError::Sync(error)),
        }
        batch
    }
}

/// How full a round is, counted as the batch grows.
#[derive(Default)]
struct Fullness {
    entries: usize,
    bytes: usize,
}

impl Fullness {
    fn is_reached(&mut self, batch: &Batch) -> bool {
        for entry in batch.entries.iter().skip(self.entries) {
            self.bytes += entry.draft.body.len();
        }
        self.entries = batch.entries.len();
        self.entries >= ROUND_RECORDS_TARGET || self.bytes >= ROUND_BYTES_TARGET
    }
}

/// The entries of `batch` as the store gives them back.
fn stored_entries(batch: &Batch, appended: &Appended) -> Vec<Stored> {
    let places = appended.revisions.iter().zip(&appended.since);
    batch
        .entries
        .iter()
        .zip(places)
        .map(|(entry, (&revision, &since))| Stored {
            revision,
            since,
            record: Record {
                header: header_at(entry, revision),
                body: entry.draft.body.clone(),
            },
        })
        .collect()
}
