//! What all sessions of a process carried, by direction and body encoding.

use std::collections::BTreeMap;
use std::fmt;

use causeway_log::NodeName;
use causeway_log::replication::{EncodingStats, SessionStats, Traffic};
use causeway_log::wire::Encoding;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

/// Sums the counters of sessions, which begin at zero with each of them. Register it in an `Arc`;
/// feed it from [`crate::session_driver::Endpoint::observe_stats`].
#[derive(Debug, Default)]
pub struct TrafficTotals {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sent: Traffic,
    received: Traffic,
    /// What is in the sums already of sessions that run.
    counted: BTreeMap<NodeName, (Traffic, Traffic)>,
}

impl TrafficTotals {
    /// Nothing carried yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counters of the running session of `node` stand here.
    pub fn record(&self, node: &NodeName, stats: &SessionStats) {
        let mut inner = self.inner.lock();
        let now = (stats.sent, stats.received);
        let before = inner.counted.insert(node.clone(), now).unwrap_or_default();
        add(&mut inner.sent, &now.0, &before.0);
        add(&mut inner.received, &now.1, &before.1);
    }

    /// The session of `node` is over; the next one begins at zero.
    pub fn ended(&self, node: &NodeName) {
        self.inner.lock().counted.remove(node);
    }
}

/// Name, help and where the value stands.
type Metric<T> = (&'static str, &'static str, fn(&T) -> u64);

/// Adds what came between `before` and `now` of the same session.
fn add(sum: &mut Traffic, now: &Traffic, before: &Traffic) {
    let grow = |sum: &mut u64, now: u64, before: u64| *sum += now.saturating_sub(before);
    grow(&mut sum.frames, now.frames, before.frames);
    grow(&mut sum.bytes, now.bytes, before.bytes);
    grow(&mut sum.records, now.records, before.records);
    let encodings = sum
        .encodings
        .iter_mut()
        .zip(now.encodings.iter().zip(&before.encodings));
    for (sum, (now, before)) in encodings {
        grow(&mut sum.records, now.records, before.records);
        grow(&mut sum.body_bytes, now.body_bytes, before.body_bytes);
        grow(&mut sum.wire_bytes, now.wire_bytes, before.wire_bytes);
    }
}

impl Collector for TrafficTotals {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (sent, received) = {
            let inner = self.inner.lock();
            (inner.sent, inner.received)
        };
        let directions = [("sent", &sent), ("received", &received)];
        let whole: [Metric<Traffic>; 3] = [
            ("sync_frames", "Messages of sync sessions", |traffic| {
                traffic.frames
            }),
            ("sync_bytes", "Bytes of these messages", |traffic| {
                traffic.bytes
            }),
            ("sync_records", "Records in these messages", |traffic| {
                traffic.records
            }),
        ];
        for (name, help, read) in whole {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (direction, traffic) in directions {
                let labels = [("direction", direction)];
                ConstCounter::new(read(traffic)).encode(family.encode_family(&labels)?)?;
            }
        }
        let by_encoding: [Metric<EncodingStats>; 3] = [
            ("sync_bodies", "Bodies by encoding", |stats| stats.records),
            ("sync_body_bytes", "Bytes of bodies by encoding", |stats| {
                stats.body_bytes
            }),
            (
                "sync_body_wire_bytes",
                "What they took on the wire",
                |stats| stats.wire_bytes,
            ),
        ];
        for (name, help, read) in by_encoding {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (direction, traffic) in directions {
                for (encoding, stats) in Encoding::ALL.iter().zip(&traffic.encodings) {
                    let labels = [("direction", direction), ("encoding", encoding.name())];
                    ConstCounter::new(read(stats)).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}
