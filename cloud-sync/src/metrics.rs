//! The figures of the cloud service.
//!
//! Cardinality is bounded: nodes are named one by one only up to a configured number, in the order
//! of their names; the sums always cover all.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use causeway_daemon::metrics::{Metrics, StoreCollector};
use causeway_kube_api::Clock;
use causeway_log::replication::SessionStats;
use causeway_log::wire::Encoding;
use causeway_log::{Direction, NodeName, Store, StreamId};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::cluster::{Class, Depths};
use crate::hub::Hub;
use crate::writeback::{Outcome, Outcomes};

/// Counters of all sessions since the start.
#[derive(Debug, Default)]
pub struct Totals {
    /// Bytes of messages received.
    pub bytes_in: Counter,
    /// Bytes of messages sent.
    pub bytes_out: Counter,
    /// Acknowledgements received.
    pub acks: Counter,
    /// Records by direction and encoding.
    pub records: Family<Labels, Counter>,
    /// Bytes of their bodies.
    pub body_bytes: Family<Labels, Counter>,
    /// Bytes that these took on the wire.
    pub wire_bytes: Family<Labels, Counter>,
    /// Sessions that completed their handshake.
    pub established: Counter,
    /// Sessions ended because the peer broke the protocol.
    pub violations: Counter,
    /// Sessions fenced by a newer one.
    pub fenced: Counter,
    /// Connections refused because there was no room.
    pub overloaded: Counter,
}

/// Direction and body encoding.
pub type Labels = [(&'static str, &'static str); 2];

impl Totals {
    /// Counts what a session did since it was looked at last.
    pub fn count_traffic(&self, before: &SessionStats, now: &SessionStats) {
        let ways = [
            ("sent", before.sent, now.sent),
            ("received", before.received, now.received),
        ];
        for (direction, before, now) in ways {
            for encoding in Encoding::ALL {
                let at = encoding as usize;
                let (Some(before), Some(now)) = (before.encodings.get(at), now.encodings.get(at))
                else {
                    continue;
                };
                let records = now.records.saturating_sub(before.records);
                if records == 0 {
                    continue;
                }
                let labels = [("direction", direction), ("encoding", encoding.name())];
                let body = now.body_bytes.saturating_sub(before.body_bytes);
                let wire = now.wire_bytes.saturating_sub(before.wire_bytes);
                self.records.get_or_create(&labels).inc_by(records);
                self.body_bytes.get_or_create(&labels).inc_by(body);
                self.wire_bytes.get_or_create(&labels).inc_by(wire);
            }
        }
    }
}

/// What is read at each scrape.
#[derive(Debug)]
pub struct CloudCollector {
    /// Where lag is read.
    pub store: Arc<dyn Store>,
    /// Sessions.
    pub hub: Arc<Hub>,
    /// What became of records of nodes.
    pub outcomes: Arc<Outcomes>,
    /// Requests that wait.
    pub depths: Arc<Depths>,
    /// For lag in seconds.
    pub clock: Arc<dyn Clock>,
    /// Nodes named one by one.
    pub nodes_max: usize,
}

/// Registers everything.
pub fn register(metrics: &Metrics, totals: &Totals, collector: CloudCollector) {
    metrics.register(|registry| {
        let counters = [
            (
                "sync_received_bytes",
                "Bytes of sync messages received",
                &totals.bytes_in,
            ),
            (
                "sync_sent_bytes",
                "Bytes of sync messages sent",
                &totals.bytes_out,
            ),
            (
                "sync_acks",
                "Acknowledgements received from nodes",
                &totals.acks,
            ),
            (
                "sessions_established",
                "Handshakes completed",
                &totals.established,
            ),
            (
                "sessions_violations",
                "Sessions ended by a broken protocol",
                &totals.violations,
            ),
            (
                "sessions_fenced",
                "Sessions closed for a newer one",
                &totals.fenced,
            ),
            (
                "sessions_overloaded",
                "Connections refused for want of room",
                &totals.overloaded,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let families = [
            (
                "sync_records",
                "Records by direction and encoding",
                &totals.records,
            ),
            (
                "sync_body_bytes",
                "Bytes of bodies before encoding",
                &totals.body_bytes,
            ),
            (
                "sync_wire_bytes",
                "Bytes of bodies as encoded",
                &totals.wire_bytes,
            ),
        ];
        for (name, help, family) in families {
            registry.register(name, help, family.clone());
        }
        registry.register_collector(StoreCollector::new(Arc::clone(&collector.store)));
        registry.register_collector(Box::new(collector));
    });
}

/// How far a node is behind, now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Offsets between the durable head of `down` and what the node has acknowledged. Offsets are
    /// sparse: this says whether it lags and how far, not how many records.
    pub offsets: u64,
    /// Milliseconds since the node was last seen without lag.
    pub millis: u64,
}

impl CloudCollector {
    fn lag(&self, node: &NodeName) -> Lag {
        let Ok(Some(info)) = self.store.stream(&StreamId::down(node.clone())) else {
            return Lag::default();
        };
        self.hub
            .lag(node, info.durable, info.acked, self.clock.now())
    }

    fn nodes(&self) -> Vec<NodeName> {
        let streams = self.store.streams().unwrap_or_default();
        let down = streams.into_iter().filter_map(|stream| match stream {
            StreamId::Node(node, Direction::Down) => Some(node),
            StreamId::Node(_, Direction::Up) | StreamId::Cluster => None,
        });
        down.collect()
    }
}

impl Collector for CloudCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let count = |value: usize| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let nodes = self.nodes();
        let lags: Vec<(&NodeName, Lag)> = nodes.iter().map(|n| (n, self.lag(n))).collect();
        let gauges = [
            (
                "sessions",
                "Connections, also those in their handshake",
                self.hub.sessions(),
            ),
            (
                "nodes_connected",
                "Nodes with a session",
                self.hub.connected(),
            ),
            (
                "nodes_known",
                "Nodes that something was ever sent to",
                nodes.len(),
            ),
            (
                "nodes_lagging",
                "Nodes that have not acknowledged everything",
                lags.iter().filter(|(_, lag)| lag.offsets > 0).count(),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = count(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let help = "Requests that wait for the writer, by class";
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor("writer_queue", help, None, kind)?;
        for class in Class::ALL {
            let labels = [("class", class.as_str())];
            ConstGauge::new(self.depths.get(class)).encode(family.encode_family(&labels)?)?;
        }
        let help = "Records of nodes by what became of them in the cluster";
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut family = encoder.encode_descriptor("writeback_records", help, None, kind)?;
        for outcome in Outcome::ALL {
            let labels = [("outcome", outcome.as_str())];
            ConstCounter::new(self.outcomes.get(outcome)).encode(family.encode_family(&labels)?)?;
        }
        let each = lags.iter().take(self.nodes_max);
        let kind = ConstGauge::new(0_i64).metric_type();
        let help = "Offsets that the node has not acknowledged";
        let mut family = encoder.encode_descriptor("node_lag_offsets", help, None, kind)?;
        for (node, lag) in each.clone() {
            let value = i64::try_from(lag.offsets).unwrap_or(i64::MAX);
            ConstGauge::new(value).encode(family.encode_family(&[("node", node.as_str())])?)?;
        }
        let help = "Seconds since the node was last seen without lag";
        let mut family = encoder.encode_descriptor("node_lag_seconds", help, None, kind)?;
        for (node, lag) in each {
            let seconds = std::time::Duration::from_millis(lag.millis).as_secs_f64();
            ConstGauge::new(seconds).encode(family.encode_family(&[("node", node.as_str())])?)?;
        }
        Ok(())
    }
}

/// How far behind an offset is, given what is known of acknowledgements.
pub(crate) fn offsets_behind(
    head: causeway_log::Offset,
    stored: causeway_log::Offset,
    stats: Option<&crate::hub::SessionStats>,
) -> u64 {
    let live = stats.map_or(0, |stats| stats.acked.load(Ordering::Relaxed));
    head.ahead_of(stored.max(causeway_log::Offset::new(live)))
}
