//! Figures of what is published of devices.

use std::sync::atomic::AtomicI64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters since the start.
#[derive(Debug, Default)]
pub struct DeviceStats {
    /// DeviceStatuses written.
    pub writes: Counter,
    /// Looks at a device that made no write: the cluster says so already.
    pub suppressed: Counter,
    /// Looks that put a write off, because too little had changed.
    pub put_off: Counter,
    /// Writes that failed.
    pub failures: Counter,
    /// Documents of nodes that cannot be read.
    pub malformed: Counter,
    /// Devices that wait to be looked at.
    pub waiting: Gauge<i64, AtomicI64>,
}

impl DeviceStats {
    /// Registers all of them.
    pub fn register(&self, registry: &mut Registry) {
        let counters = [
            (
                "device_status_writes",
                "DeviceStatuses written to the cluster",
                &self.writes,
            ),
            (
                "device_status_suppressed",
                "Looks at a device whose DeviceStatus was so already",
                &self.suppressed,
            ),
            (
                "device_status_put_off",
                "Looks at a device of which too little had changed",
                &self.put_off,
            ),
            (
                "device_status_failures",
                "DeviceStatuses that were not written, and are tried again",
                &self.failures,
            ),
            (
                "device_status_malformed",
                "Documents of devices that cannot be read",
                &self.malformed,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let help = "Devices that wait to be looked at";
        registry.register("device_status_waiting", help, self.waiting.clone());
    }
}
