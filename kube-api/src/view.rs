//! The state that an API serves: shared between one writer, which publishes what became durable,
//! and any number of readers.

use std::sync::Arc;

use causeway_log::Revision;
use causeway_projections::Objects;
use parking_lot::RwLock;
use tokio::sync::watch;

/// Objects as of a durable revision, and a signal when that revision moves. Cheap to clone.
#[derive(Clone, Debug)]
pub struct View {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    objects: RwLock<Objects>,
    revision: watch::Sender<Revision>,
}

impl View {
    /// A view of `objects`, which cover their own revision.
    #[must_use]
    pub fn new(objects: Objects) -> Self {
        let (revision, _) = watch::channel(objects.revision());
        Self {
            inner: Arc::new(Inner {
                objects: RwLock::new(objects),
                revision,
            }),
        }
    }

    /// Reads under the shared lock. `read` must be short: it holds up the writer.
    pub fn read<T>(&self, read: impl FnOnce(&Objects) -> T) -> T {
        read(&self.inner.objects.read())
    }

    /// Changes the objects to what is durable at `revision`, then wakes who waits for it.
    ///
    /// Readers see the state before or after `change`, never between.
    pub fn publish<T>(&self, change: impl FnOnce(&mut Objects) -> T, revision: Revision) -> T {
        let result = {
            let mut objects = self.inner.objects.write();
            let result = change(&mut objects);
            objects.cover(revision);
            result
        };
        self.inner.revision.send_replace(revision);
        result
    }

    /// The durable revision, now and whenever it moves.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Revision> {
        self.inner.revision.subscribe()
    }
}
