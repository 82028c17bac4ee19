//! What became of reports and readings, for a scrape.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use causeway_daemon::metrics::{encode_counters, encode_gauges};
use causeway_projections::twin::Took;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Outcome, ReportError, TwinsView};

/// Counts since the start, and what waits now.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    changed: AtomicU64,
    echoed: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    failed: AtomicU64,
    kept: AtomicU64,
    dropped: AtomicU64,
    waiting_bytes: AtomicU64,
    unacked_bytes: AtomicU64,
}

impl Stats {
    /// Counts a report that was answered: each of its properties and its state, or the report as
    /// one when it was refused as a whole.
    pub(crate) fn answered(&self, outcome: &Result<Outcome, ReportError>) {
        let count = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        match outcome {
            Ok(Outcome { properties, state }) => {
                for took in properties.iter().map(|(_, took)| took).chain(state) {
                    count(match took {
                        Ok(Took::Changed) => &self.changed,
                        Ok(Took::Echo) => &self.echoed,
                        Err(_) => &self.refused,
                    });
                }
            }
            Err(ReportError::Unknown { .. }) => count(&self.unknown),
            Err(ReportError::ReadOnly { .. } | ReportError::Unavailable { .. }) => {
                count(&self.failed);
            }
            Err(
                ReportError::Refused { .. }
                | ReportError::State(_)
                | ReportError::TooLarge { .. }
                | ReportError::Forbidden { .. },
            ) => count(&self.refused),
        }
    }

    /// Counts readings, and notes the bytes that wait here and for an acknowledgement.
    pub(crate) fn kept(&self, kept: u64, dropped: u64, (waiting, unacked): (u64, u64)) {
        self.kept.fetch_add(kept, Ordering::Relaxed);
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        self.waiting_bytes.store(waiting, Ordering::Relaxed);
        self.unacked_bytes.store(unacked, Ordering::Relaxed);
    }
}

impl Collector for TwinsView {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = self.stats();
        let counters = [
            (
                "twin_reports_changed",
                "Reported values that were new",
                &stats.changed,
            ),
            (
                "twin_reports_echoed",
                "Reported values that were known",
                &stats.echoed,
            ),
            (
                "twin_reports_refused",
                "Reported values, or whole reports, refused",
                &stats.refused,
            ),
            (
                "twin_reports_unknown",
                "Reports of devices that this node does not have",
                &stats.unknown,
            ),
            (
                "twin_reports_failed",
                "Reports that could not be written",
                &stats.failed,
            ),
            ("twin_readings_kept", "Readings kept by policy", &stats.kept),
            (
                "twin_readings_dropped",
                "Readings given up for want of room",
                &stats.dropped,
            ),
        ];
        let counters =
            counters.map(|(name, help, value)| (name, help, value.load(Ordering::Relaxed)));
        encode_counters(&mut encoder, counters)?;
        let devices = self.read(|twins| twins.devices().count());
        let gauges = [
            ("twin_devices", "Devices of this node", devices as u64),
            (
                "twin_history_waiting_bytes",
                "Bytes of readings that wait to travel",
                stats.waiting_bytes.load(Ordering::Relaxed),
            ),
            (
                "twin_history_unacked_bytes",
                "Bytes of readings that the cloud has yet to acknowledge",
                stats.unacked_bytes.load(Ordering::Relaxed),
            ),
        ];
        encode_gauges(&mut encoder, gauges)
    }
}
