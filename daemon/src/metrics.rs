//! The metrics of one daemon and their Prometheus text.

use std::sync::Arc;

use causeway_log::Store;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

mod traffic;

pub use traffic::TrafficTotals;

/// What a scrape answers with.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry of a daemon; names start with `causeway_`. Clones are the same registry.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self {
            registry: Arc::new(Mutex::new(Registry::with_prefix("causeway"))),
        }
    }

    /// Adds metrics.
    pub fn register<T>(&self, add: impl FnOnce(&mut Registry) -> T) -> T {
        add(&mut self.registry.lock())
    }

    /// The text of a scrape.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if prometheus_client::encoding::text::encode(&mut text, &self.registry.lock()).is_err() {
            tracing::error!("metrics cannot be encoded");
        }
        text
    }
}

/// Encodes counters without labels: name, what it counts, how far it got.
///
/// # Errors
/// When the text of the scrape cannot be written.
pub fn encode_counters<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    counters: impl IntoIterator<Item = (&'a str, &'a str, u64)>,
) -> Result<(), std::fmt::Error> {
    for (name, help, value) in counters {
        let counter = ConstCounter::new(value);
        let kind = counter.metric_type();
        counter.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
    }
    Ok(())
}

/// Encodes gauges without labels: name, what it shows, how much it is now.
///
/// # Errors
/// When the text of the scrape cannot be written.
pub fn encode_gauges<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    gauges: impl IntoIterator<Item = (&'a str, &'a str, u64)>,
) -> Result<(), std::fmt::Error> {
    for (name, help, value) in gauges {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
    }
    Ok(())
}

/// Reads the counters of a store at each scrape.
#[derive(Debug)]
pub struct StoreCollector {
    store: Arc<dyn Store>,
}

impl StoreCollector {
    /// For this store; hand it to [`Registry::register_collector`].
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Box<Self> {
        Box::new(Self { store })
    }
}

impl Collector for StoreCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (stats, watermarks) = (self.store.stats(), self.store.watermarks());
        let counters = [
            (
                "store_records",
                "Records appended since start",
                stats.records,
            ),
            (
                "store_body_bytes",
                "Bytes of bodies appended since start",
                stats.body_bytes,
            ),
            (
                "store_syncs",
                "Syncs that reached the disk since start",
                stats.syncs,
            ),
        ];
        encode_counters(&mut encoder, counters)?;
        let gauges = [
            (
                "store_written_revision",
                "Highest revision appended",
                watermarks.written.get(),
            ),
            (
                "store_durable_revision",
                "Highest revision on disk",
                watermarks.durable.get(),
            ),
            (
                "store_read_only",
                "1 after a failed write",
                u64::from(stats.read_only),
            ),
        ];
        encode_gauges(&mut encoder, gauges)
    }
}

#[cfg(test)]
mod tests;
