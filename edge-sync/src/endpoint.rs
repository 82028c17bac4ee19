//! The edge's side of a session: its store, its writer, and who wants to know.

use std::sync::Arc;

use causeway_daemon::metrics::TrafficTotals;
use causeway_daemon::session_driver::{Endpoint, SessionEvent, WriteRefused};
use causeway_log::replication::{SessionStats, SessionWrite};
use causeway_log::writer::WriterHandle;
use causeway_log::{NodeName, Offset, Store};
use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};

use crate::machine::Request;
use crate::status::LinkBoard;

/// See [`Endpoint`].
#[derive(Debug)]
pub(crate) struct EdgeEndpoint {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) writer: WriterHandle<Request>,
    pub(crate) up_head: watch::Receiver<Offset>,
    pub(crate) board: Arc<LinkBoard>,
    pub(crate) traffic: Arc<TrafficTotals>,
    /// Whether the newest session has caught up with what the cloud had as it began.
    pub(crate) caught_up: watch::Sender<bool>,
}

impl Endpoint for EdgeEndpoint {
    fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn write(
        &self,
        _: &NodeName,
        write: SessionWrite,
    ) -> BoxFuture<'static, Result<(), WriteRefused>> {
        let writer = self.writer.clone();
        Box::pin(async move {
            let (done, told) = oneshot::channel();
            // The queue is fair, and the driver polls writes in order, so they arrive in order.
            let sent = writer.send(Request::Session { write, done }).await;
            sent.map_err(|_| WriteRefused::Stopping)?;
            told.await.unwrap_or(Err(WriteRefused::Stopping))
        })
    }

    fn own_head(&self, _: &NodeName) -> watch::Receiver<Offset> {
        self.up_head.clone()
    }

    fn observe(&self, node: &NodeName, event: SessionEvent) {
        self.board.observe(&event);
        if matches!(
            event,
            SessionEvent::Established(_) | SessionEvent::Ended { .. }
        ) {
            self.caught_up.send_replace(false);
        }
        if matches!(event, SessionEvent::Ended { .. }) {
            self.traffic.ended(node);
        }
    }

    fn observe_stats(&self, node: &NodeName, stats: &SessionStats) {
        self.board.record(stats);
        self.traffic.record(node, stats);
        self.caught_up.send_if_modified(|caught_up| {
            let newly = stats.caught_up && !*caught_up;
            *caught_up |= newly;
            newly
        });
    }
}
