//! What is published of devices.

use std::time::Duration;

use causeway_daemon::config::{Section, format_duration};

use super::set;

/// How often the cluster is told what devices report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices {
    /// A DeviceStatus rests so long between two writes; a Device may say otherwise.
    pub status_interval: Duration,
    /// DeviceStatuses written a second, of all devices together.
    pub status_writes_per_second: u32,
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            // A hundred devices make ten writes a second.
            status_interval: Duration::from_secs(10),
            // An API server has others to serve.
            status_writes_per_second: 50,
        }
    }
}

impl Devices {
    pub(super) fn read(&mut self, section: &mut Section) {
        let Self {
            status_interval,
            status_writes_per_second,
        } = self;
        set(status_interval, section.duration("status_interval"));
        if *status_interval < Duration::from_secs(1) {
            section.mistake("status_interval", "must be at least 1s".to_owned());
        }
        let writes = section.number("status_writes_per_second", 1..=10_000);
        let writes = writes.and_then(|count| u32::try_from(count).ok());
        set(status_writes_per_second, writes);
    }

    pub(super) fn dump(&self) -> String {
        let Self {
            status_interval,
            status_writes_per_second,
        } = self;
        let status_interval = format_duration(*status_interval);
        format!(
            "[devices]\nstatus_interval = \"{status_interval}\"\n\
             status_writes_per_second = {status_writes_per_second}\n"
        )
    }
}
