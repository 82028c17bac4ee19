//! One end of a session for tests: it writes straight to its store, on the spot.

use std::sync::Arc;

use causeway_log::batch::{Entry, Place, StreamChange};
use causeway_log::digest::Digest;
use causeway_log::replication::{Role, SessionConfig, SessionWrite, Start};
use causeway_log::store::memory::MemoryStore;
use causeway_log::{Batch, Draft, Epoch, NodeName, Offset, Revision, Store, StreamId};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use crate::session_driver::{Endpoint, SessionEvent, WriteRefused};

/// An end of the link to one node, with a store in memory.
#[derive(Debug)]
pub struct TestEnd {
    role: Role,
    node: NodeName,
    memory: Arc<MemoryStore>,
    store: Arc<dyn Store>,
    head: watch::Sender<Offset>,
    moved: watch::Sender<u64>,
    starts: Mutex<Vec<Start>>,
}

impl TestEnd {
    /// An end with nothing in its streams.
    #[must_use]
    pub fn new(role: Role, node: NodeName) -> Arc<Self> {
        let memory = Arc::new(MemoryStore::new());
        let end = Self {
            role,
            node,
            store: Arc::clone(&memory) as Arc<dyn Store>,
            memory,
            head: watch::Sender::new(Offset::ZERO),
            moved: watch::Sender::new(0),
            starts: Mutex::default(),
        };
        let open = StreamChange::Open {
            stream: end.own(),
            epoch: Epoch::new(Uuid::from_u128(1)),
        };
        end.commit(&Batch {
            streams: vec![open],
            ..Batch::default()
        })
        .expect("a new store writes");
        Arc::new(end)
    }

    /// What this end would start a session with.
    #[must_use]
    pub fn config(&self) -> SessionConfig {
        let number = match self.role {
            Role::Edge => 10,
            Role::Cloud => 20,
        };
        let spare = Epoch::new(Uuid::from_u128(number + 1));
        SessionConfig::new(self.role, self.node.clone(), Uuid::from_u128(number), spare)
    }

    /// The stream this end writes.
    #[must_use]
    pub fn own(&self) -> StreamId {
        StreamId::Node(self.node.clone(), self.role.sends())
    }

    /// The stream this end receives.
    #[must_use]
    pub fn theirs(&self) -> StreamId {
        StreamId::Node(self.node.clone(), self.role.sends().opposite())
    }

    /// The store, with its faults.
    #[must_use]
    pub fn memory(&self) -> &Arc<MemoryStore> {
        &self.memory
    }

    /// How the peer's stream started, session by session.
    #[must_use]
    pub fn starts(&self) -> Vec<Start> {
        self.starts.lock().clone()
    }

    /// Appends records to the own stream, durably.
    ///
    /// # Panics
    /// When the store does not take them.
    pub fn say(&self, drafts: impl IntoIterator<Item = Draft>) -> Revision {
        let entries = drafts.into_iter().map(|draft| Entry {
            stream: self.own(),
            place: Place::Next,
            draft,
        });
        let batch = Batch {
            entries: entries.collect(),
            ..Batch::default()
        };
        let durable = self.commit(&batch).expect("the store writes");
        self.head.send_replace(durable.as_own_offset());
        durable
    }

    /// Waits until something holds that a write or an event of this end brings about.
    pub async fn until(&self, holds: impl Fn() -> bool) {
        let mut moved = self.moved.subscribe();
        let _ = moved.wait_for(|_| holds()).await;
    }

    /// The digest of a stream here.
    ///
    /// # Panics
    /// When the store cannot be read.
    #[must_use]
    pub fn digest(&self, stream: &StreamId) -> String {
        let digest = Digest::of_stream(&*self.store, stream).expect("the store can be read");
        digest.summary().digest
    }

    fn commit(&self, batch: &Batch) -> Result<Revision, WriteRefused> {
        let refused = |reason: String| WriteRefused::ReadOnly { reason };
        self.store
            .append(batch)
            .map_err(|error| refused(error.to_string()))?;
        self.store
            .sync()
            .map_err(|error| refused(error.to_string()))
    }

    fn apply(&self, write: SessionWrite) -> Result<(), WriteRefused> {
        let mut batch = Batch::default();
        let staged = write.stage(self.role, &self.node, &*self.store, &mut batch);
        staged.map_err(|error| WriteRefused::Invalid {
            reason: error.to_string(),
        })?;
        self.commit(&batch).map(drop)
    }

    fn count(&self) {
        self.moved.send_modify(|moved| *moved += 1);
    }
}

impl Endpoint for TestEnd {
    fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn write(
        &self,
        _: &NodeName,
        write: SessionWrite,
    ) -> BoxFuture<'static, Result<(), WriteRefused>> {
        let written = self.apply(write);
        self.count();
        std::future::ready(written).boxed()
    }

    fn own_head(&self, _: &NodeName) -> watch::Receiver<Offset> {
        self.head.subscribe()
    }

    fn observe(&self, _: &NodeName, event: SessionEvent) {
        if let SessionEvent::Established(established) = event {
            self.starts.lock().push(established.receiving);
        }
        self.count();
    }
}
