//! What one session sees of the cloud.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use causeway_daemon::session_driver::{Endpoint, SessionEvent, WriteRefused};
use causeway_kube_api::Clock;
use causeway_log::replication::{SessionStats as Progress, SessionWrite};
use causeway_log::{NodeName, Offset, Store, StreamId};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::Seat;
use crate::cluster::{Request, Requests};

/// What is known of one session; written by its driver, read by status and metrics.
#[derive(Debug, Default)]
pub struct SessionStats {
    /// The peer has everything up to this offset.
    pub acked: AtomicU64,
    /// How the two directions started, in words; empty before the handshake is over.
    pub started: Mutex<String>,
    /// Its counters, as they were told last.
    pub progress: Mutex<Progress>,
}

/// Lives as long as its session.
#[derive(Debug)]
pub struct SessionEndpoint {
    seat: Seat,
    store: Arc<dyn Store>,
    writer: Requests,
    clock: Arc<dyn Clock>,
    totals: Arc<crate::metrics::Totals>,
}

impl SessionEndpoint {
    /// The endpoint of the session that holds `seat`.
    #[must_use]
    pub fn new(
        seat: Seat,
        store: Arc<dyn Store>,
        writer: Requests,
        clock: Arc<dyn Clock>,
        totals: Arc<crate::metrics::Totals>,
    ) -> Self {
        Self {
            seat,
            store,
            writer,
            clock,
            totals,
        }
    }

    /// The session is over.
    pub fn leave(&self, reason: &str) {
        self.seat.leave(reason, self.clock.now());
    }
}

impl Endpoint for SessionEndpoint {
    fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn write(
        &self,
        node: &NodeName,
        write: SessionWrite,
    ) -> BoxFuture<'static, Result<(), WriteRefused>> {
        self.seat.take_over(self.clock.now());
        let (answer, answered) = oneshot::channel();
        let request = Request::Session {
            node: node.clone(),
            session: self.seat.number,
            write,
            answer,
        };
        let writer = self.writer.clone();
        Box::pin(async move {
            // The driver polls its writes in order and the queue is fair, so they arrive in order.
            writer
                .send(request)
                .await
                .map_err(|_| WriteRefused::Stopping)?;
            answered.await.unwrap_or(Err(WriteRefused::Stopping))
        })
    }

    fn own_head(&self, node: &NodeName) -> watch::Receiver<Offset> {
        // The seat is told of whatever becomes durable from here on; what was durable before is
        // in the store.
        let stream = StreamId::down(node.clone());
        if let Ok(Some(info)) = self.store.stream(&stream) {
            self.seat.hub.tell_head(node, info.durable);
        }
        self.seat.head.clone()
    }

    fn observe(&self, _: &NodeName, event: SessionEvent) {
        let (stats, totals) = (&self.seat.stats, &self.totals);
        match event {
            SessionEvent::Established(established) => {
                self.seat.take_over(self.clock.now());
                *stats.started.lock() = format!(
                    "down: {:?}, up: {:?}",
                    established.sending, established.receiving
                );
                totals.established.inc();
            }
            SessionEvent::Received { bytes } => {
                totals
                    .bytes_in
                    .inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
            }
            SessionEvent::Sent { bytes } => {
                totals
                    .bytes_out
                    .inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
            }
            SessionEvent::Acked { upto } => {
                stats.acked.fetch_max(upto.get(), Ordering::Relaxed);
                totals.acks.inc();
            }
            SessionEvent::Ended { .. } => {}
        }
    }

    fn observe_stats(&self, _: &NodeName, progress: &Progress) {
        let before = std::mem::replace(&mut *self.seat.stats.progress.lock(), *progress);
        self.totals.count_traffic(&before, progress);
    }
}
