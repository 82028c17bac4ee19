//! What nodes report and ask, applied to the cluster.
//!
//! ```text
//!   up/<node> ──durable, acked──▶ Request::WriteBack ──▶ cluster records ┐ one batch,
//!                                  a page after the cursor ──▶ the cursor ┘ exactly once
//! ```
//!
//! A node is never trusted with what is not its own: every record is checked against the object it
//! names ([`authorize`]), and what does not fit is refused and counted. A record about a life of an
//! object that is over is stale, which is no fault of the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_kube_api::WriteError;
use causeway_log::{CursorName, NodeName, Store, StreamId};
use tokio::sync::oneshot;

use crate::cluster::{Request, Requests};
use crate::hub::Hub;

mod authorize;
pub(crate) mod device;
mod event;
pub(crate) mod ground;
pub(crate) mod happening;
mod plan;
mod request;
#[cfg(test)]
mod tests;

pub(crate) use authorize::keep_cloud_fields;
pub use authorize::{Asked, authorize};
pub(crate) use plan::is_bound_to;
pub(crate) use request::{bind_pod, clean};

/// Records in one page: bounds the time that one node takes of the writer.
const PAGE_RECORDS: usize = 256;
/// Bytes in one page.
const PAGE_BYTES: usize = 1024 * 1024;
/// The pause after a write that failed; the store is read-only then.
const RETRY: Duration = Duration::from_secs(1);

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It changed the cluster.
    Applied,
    /// The cluster was so already.
    Unchanged,
    /// Its object is gone, or is another life of the name.
    Stale,
    /// The node may not do this.
    Refused,
    /// A request that conflicts with the cluster, or is not valid; the node was told.
    Rejected,
    /// Not understood.
    Malformed,
    /// Nothing of the cluster: it is kept as the node sent it.
    Kept,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Applied,
        Self::Unchanged,
        Self::Stale,
        Self::Refused,
        Self::Rejected,
        Self::Malformed,
        Self::Kept,
    ];

    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Stale => "stale",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Malformed => "malformed",
            Self::Kept => "kept",
        }
    }
}

/// Counters of what became of records since the start.
#[derive(Debug, Default)]
pub struct Outcomes([AtomicU64; 7]);

impl Outcomes {
    /// Counts one.
    pub fn count(&self, outcome: Outcome) {
        self.slot(outcome).fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.slot(outcome).load(Ordering::Relaxed)
    }

    fn slot(&self, outcome: Outcome) -> &AtomicU64 {
        let [
            applied,
            unchanged,
            stale,
            refused,
            rejected,
            malformed,
            kept,
        ] = &self.0;
        match outcome {
            Outcome::Applied => applied,
            Outcome::Unchanged => unchanged,
            Outcome::Stale => stale,
            Outcome::Refused => refused,
            Outcome::Rejected => rejected,
            Outcome::Malformed => malformed,
            Outcome::Kept => kept,
        }
    }
}

/// What one page did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WroteBack {
    /// Records looked at.
    pub records: usize,
    /// There may be more.
    pub more: bool,
}

/// The place of the write-back in what a node sent. It holds a revision of this store; the history
/// window takes nothing that is after it.
#[must_use]
pub fn cursor(node: &NodeName) -> CursorName {
    CursorName::write_back(node)
}

/// Applies whatever nodes send until stopped. Nodes take turns page by page.
pub async fn run(hub: Arc<Hub>, store: Arc<dyn Store>, writer: Requests, mut stop: Stop) {
    // What was received before the last stop and not applied.
    for stream in store.streams().unwrap_or_default() {
        if let StreamId::Node(node, causeway_log::Direction::Up) = stream {
            hub.tell_received(node);
        }
    }
    loop {
        let nodes = tokio::select! {
            biased;
            () = stop.wait() => return,
            nodes = hub.received() => nodes,
        };
        let mut answers = Vec::with_capacity(nodes.len());
        for node in nodes {
            let (answer, answered) = oneshot::channel();
            if writer
                .send(Request::WriteBack {
                    node: node.clone(),
                    answer,
                })
                .await
                .is_err()
            {
                return;
            }
            answers.push((node, answered));
        }
        let mut failed = false;
        for (node, answered) in answers {
            match answered.await {
                Ok(Ok(WroteBack { more: true, .. })) => hub.tell_received(node),
                Ok(Ok(WroteBack { more: false, .. })) => {}
                Ok(Err(error)) => {
                    failed |= !matches!(error, WriteError::Conflict { .. });
                    hub.tell_received(node);
                }
                Err(_) => return,
            }
        }
        if failed {
            // The failure was logged by the machine; it is the disk's turn to change.
            tokio::select! {
                () = stop.wait() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}
