//! What a scrape says of DMI.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use causeway_daemon::metrics::{encode_counters, encode_gauges};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::desk::{Counts, Desk};

/// A number that grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happened since the start.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) registrations: Counter,
    /// Reports that were taken, as a whole or in part.
    pub(super) reports: Counter,
    /// Reports, and properties of reports, that were refused.
    pub(super) refused: Counter,
    /// Reports that had to wait because their mapper was too fast.
    pub(super) delayed: Counter,
    pub(super) calls: Counter,
    pub(super) calls_failed: Counter,
}

/// Reads both at each scrape.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) tally: Arc<Tally>,
    pub(super) desk: Arc<Mutex<Desk>>,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counters = self.tally.counters().into_iter();
        let counters = counters.map(|(name, help, value)| (name, help, value.get()));
        encode_counters(&mut encoder, counters)?;
        let counts = self.desk.lock().counts();
        let gauges = gauges(counts).into_iter();
        let gauges = gauges.map(|(name, help, value)| (name, help, value as u64));
        encode_gauges(&mut encoder, gauges)
    }
}

impl Tally {
    /// Each with its name and what it says.
    const fn counters(&self) -> [(&'static str, &'static str, &Counter); 6] {
        let Self {
            registrations,
            reports,
            refused,
            delayed,
            calls,
            calls_failed,
        } = self;
        [
            (
                "dmi_registrations",
                "Registrations of mappers",
                registrations,
            ),
            ("dmi_reports", "Reports of mappers that were taken", reports),
            (
                "dmi_refused",
                "Reports of mappers, and properties in them, that were refused",
                refused,
            ),
            (
                "dmi_delayed",
                "Reports that waited because their mapper is beyond its rate",
                delayed,
            ),
            ("dmi_calls", "Calls to mappers that ended", calls),
            (
                "dmi_calls_failed",
                "Calls to mappers that did not reach them, or were refused",
                calls_failed,
            ),
        ]
    }
}

/// Each with its name and what it says.
const fn gauges(counts: Counts) -> [(&'static str, &'static str, usize); 7] {
    let Counts {
        mappers,
        unreachable,
        served,
        unserved,
        unready,
        untold,
        unknown,
    } = counts;
    [
        ("dmi_mappers", "Mappers that are registered", mappers),
        (
            "dmi_mappers_unreachable",
            "Mappers that the last call did not reach",
            unreachable,
        ),
        ("dmi_devices_served", "Devices that have a mapper", served),
        (
            "dmi_devices_unserved",
            "Devices for whose protocol there is no mapper",
            unserved,
        ),
        (
            "dmi_devices_unready",
            "Devices without their model, or with settings that messages cannot carry",
            unready,
        ),
        ("dmi_devices_untold", "Devices that wait for a call", untold),
        (
            "dmi_devices_unknown",
            "Devices in the state unknown because their mapper cannot be heard",
            unknown,
        ),
    ]
}
