//! Where requests wait for the machine, and how many of which class do.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use causeway_log::replication::SessionWrite;
use causeway_log::writer::{WriterGone, WriterHandle};

use super::Request;

/// Who waits for the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The API and the controllers, or what is seen of the cluster that is mirrored.
    Write,
    /// Sessions with records and epochs.
    Session,
    /// The write-back of what nodes sent.
    WriteBack,
    /// Housekeeping.
    Other,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Write, Self::Session, Self::WriteBack, Self::Other];

    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Session => "session",
            Self::WriteBack => "write-back",
            Self::Other => "other",
        }
    }
}

impl Request {
    /// Whether it only waits for what comes before it.
    pub(super) const fn is_barrier(&self) -> bool {
        match self {
            Self::Session { write, .. } => matches!(write, SessionWrite::Barrier),
            Self::Write { .. }
            | Self::WriteBack { .. }
            | Self::WroteBack { .. }
            | Self::Mirror { .. }
            | Self::Forget { .. }
            | Self::FlushAcks => false,
        }
    }

    /// Its class.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Write { .. } | Self::Mirror { .. } => Class::Write,
            Self::Session { .. } => Class::Session,
            Self::WriteBack { .. } | Self::WroteBack { .. } => Class::WriteBack,
            Self::Forget { .. } | Self::FlushAcks => Class::Other,
        }
    }
}

/// Requests handed in and not planned yet, by class.
#[derive(Debug, Default)]
pub struct Depths([AtomicI64; 4]);

impl Depths {
    /// How many wait.
    #[must_use]
    pub fn get(&self, class: Class) -> i64 {
        self.slot(class).load(Ordering::Relaxed)
    }

    pub(super) fn planned(&self, class: Class) {
        self.slot(class).fetch_sub(1, Ordering::Relaxed);
    }

    const fn slot(&self, class: Class) -> &AtomicI64 {
        let [write, session, write_back, other] = &self.0;
        match class {
            Class::Write => write,
            Class::Session => session,
            Class::WriteBack => write_back,
            Class::Other => other,
        }
    }
}

/// Where requests are handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Requests {
    writer: WriterHandle<Request>,
    depths: Arc<Depths>,
}

impl Requests {
    /// The way to the machine behind `writer`, which counts in `depths`.
    #[must_use]
    pub const fn new(writer: WriterHandle<Request>, depths: Arc<Depths>) -> Self {
        Self { writer, depths }
    }

    /// Hands in a request; waits while the queue is full. Requests arrive in the order in which
    /// these futures are first polled.
    ///
    /// # Errors
    /// [`WriterGone`]
    pub async fn send(&self, request: Request) -> Result<(), WriterGone> {
        let class = request.class();
        let waiting = Waiting {
            depths: &self.depths,
            class,
        };
        self.depths.slot(class).fetch_add(1, Ordering::Relaxed);
        self.writer.send(request).await?;
        // From here on the machine counts it off.
        std::mem::forget(waiting);
        Ok(())
    }

    /// How many requests wait.
    #[must_use]
    pub const fn depths(&self) -> &Arc<Depths> {
        &self.depths
    }

    /// Whether the machine takes no more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.writer.is_closed()
    }

    /// Resolves when the machine takes no more.
    pub async fn closed(&self) {
        self.writer.closed().await;
    }
}

/// Takes a request out of the count that was given up before it reached the queue.
struct Waiting<'a> {
    depths: &'a Depths,
    class: Class,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.depths.planned(self.class);
    }
}
