//! The status document.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use causeway_daemon::inspect::store_status;
use causeway_kube_api::Clock;
use causeway_kube_api::source::format_time;
use causeway_log::{Direction, NodeName, Store, StreamId};
use serde_json::{Value, json};

use crate::cluster::Mirror;
use crate::hub::{Hub, Shown};
use crate::kube::Health;
use crate::writeback::{Outcome, Outcomes, cursor};

/// What the document is made of.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) outcomes: Arc<Outcomes>,
    pub(crate) clock: Arc<dyn Clock>,
    /// How following a Kubernetes cluster is doing.
    pub(crate) kubernetes: Option<(Arc<Health>, Arc<Mirror>)>,
}

impl Status {
    pub(crate) fn document(&self) -> Value {
        let streams = self.store.streams().unwrap_or_default();
        let nodes: BTreeSet<NodeName> = streams
            .into_iter()
            .filter_map(|stream| match stream {
                StreamId::Node(node, _) => Some(node),
                StreamId::Cluster => None,
            })
            .collect();
        let writeback: serde_json::Map<String, Value> = Outcome::ALL
            .into_iter()
            .map(|outcome| {
                (
                    outcome.as_str().to_owned(),
                    json!(self.outcomes.get(outcome)),
                )
            })
            .collect();
        json!({
            "role": "cloud",
            "version": env!("CARGO_PKG_VERSION"),
            "store": store_status(&*self.store),
            "sessions": self.hub.sessions(),
            "connected": self.hub.connected(),
            "writeback": writeback,
            "kubernetes": self.kubernetes.as_ref().map(|(health, mirror)| {
                health.document(&mirror.refused())
            }),
            "nodes": nodes.iter().map(|node| self.node(node)).collect::<Vec<_>>(),
        })
    }

    fn node(&self, node: &NodeName) -> Value {
        let Shown { session, last } = self.hub.shown(node);
        let since = match (&session, &last) {
            (Some((_, since, _)), _) | (None, Some((since, _))) => Some(format_time(*since)),
            (None, None) => None,
        };
        let session = session.map(|(number, _, stats)| {
            let progress = *stats.progress.lock();
            json!({
                "number": number,
                "started": *stats.started.lock(),
                "bytes_in": progress.received.bytes,
                "bytes_out": progress.sent.bytes,
                "frames_in": progress.received.frames,
                "frames_out": progress.sent.frames,
                "records_in": progress.received.records,
                "records_out": progress.sent.records,
                "under_way_bytes": progress.under_way_bytes,
                "sent": progress.sent_upto.get(),
                "acked": stats.acked.load(Ordering::Relaxed),
            })
        });
        json!({
            "node": node.as_str(),
            "connected": session.is_some(),
            "since": since,
            "last_error": last.map(|(_, reason)| reason),
            "down": self.stream(node, Direction::Down),
            "up": self.stream(node, Direction::Up),
            "session": session,
        })
    }

    fn stream(&self, node: &NodeName, direction: Direction) -> Value {
        let stream = StreamId::Node(node.clone(), direction);
        let Ok(Some(info)) = self.store.stream(&stream) else {
            return Value::Null;
        };
        match direction {
            Direction::Down => {
                let lag = self
                    .hub
                    .lag(node, info.durable, info.acked, self.clock.now());
                json!({
                    "epoch": info.epoch.to_string(),
                    "head": info.durable.get(),
                    "acked": info.durable.get() - lag.offsets.min(info.durable.get()),
                    "lag": lag.offsets,
                    "lag_ms": lag.millis,
                })
            }
            Direction::Up => {
                let done = self
                    .store
                    .cursor(&cursor(node))
                    .ok()
                    .flatten()
                    .unwrap_or_default();
                json!({
                    "epoch": info.epoch.to_string(),
                    "head": info.head.get(),
                    "received": info.received.get(),
                    "written_back_revision": done.get(),
                })
            }
        }
    }
}
