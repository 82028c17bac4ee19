//! The twins that are durable, shared between the writer and readers.

use std::sync::Arc;
use std::time::Duration;

use causeway_log::Revision;
use causeway_projections::twin::Twins;
use parking_lot::RwLock;
use tokio::sync::watch;

use super::stats::Stats;

/// Twins as of a durable revision, and a signal when one of them changed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TwinsView {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    twins: RwLock<Twins>,
    revision: watch::Sender<Revision>,
    stats: Stats,
    due: watch::Sender<Option<Duration>>,
}

impl Default for TwinsView {
    fn default() -> Self {
        Self::new(Twins::default())
    }
}

impl TwinsView {
    /// A view of `twins`, which cover their own revision.
    #[must_use]
    pub fn new(twins: Twins) -> Self {
        let (revision, _) = watch::channel(twins.revision());
        let (due, _) = watch::channel(None);
        Self {
            inner: Arc::new(Inner {
                twins: RwLock::new(twins),
                revision,
                stats: Stats::default(),
                due,
            }),
        }
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.inner.stats
    }

    /// Says when kept readings are to be sent on, by the monotonic clock of the machine.
    pub(crate) fn set_due(&self, due: Option<Duration>) {
        self.inner
            .due
            .send_if_modified(|known| std::mem::replace(known, due) != due);
    }

    /// When kept readings are to be sent on: ask for it then by [`Request::Drain`]. `None`: there
    /// are none, or what the cloud acknowledges moves them.
    ///
    /// [`Request::Drain`]: crate::machine::Request::Drain
    #[must_use]
    pub fn due(&self) -> watch::Receiver<Option<Duration>> {
        self.inner.due.subscribe()
    }

    /// Reads under the shared lock. `read` must be short: it holds up the writer.
    pub fn read<T>(&self, read: impl FnOnce(&Twins) -> T) -> T {
        read(&self.inner.twins.read())
    }

    /// Changes the twins to what is durable at `revision`. `change` says whether anything of a
    /// device or model changed; then who waits is woken.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut Twins) -> bool, revision: Revision) {
        let changed = {
            let mut twins = self.inner.twins.write();
            let changed = change(&mut twins);
            twins.cover(revision);
            changed
        };
        if changed {
            self.inner.revision.send_replace(revision);
        }
    }

    /// The revision of the newest change, now and whenever there is another.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Revision> {
        self.inner.revision.subscribe()
    }
}
