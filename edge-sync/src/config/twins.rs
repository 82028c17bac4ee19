//! The section `[twins]`: what is kept of devices' readings.

use std::time::Duration;

use causeway_daemon::config::{Section, format_duration};

/// Some weeks of a hundred readings a second.
const HISTORY_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// One record for all that a device says meanwhile.
const HISTORY_DELAY: Duration = Duration::from_secs(5);

/// What is kept of devices' readings until the cloud has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwinsConfig {
    /// Bytes of kept readings that may wait for the cloud; more are given up, and counted.
    pub history_bytes_max: u64,
    /// Kept readings wait this long for others to travel with.
    pub history_delay: Duration,
}

impl Default for TwinsConfig {
    fn default() -> Self {
        Self {
            history_bytes_max: HISTORY_BYTES_MAX,
            history_delay: HISTORY_DELAY,
        }
    }
}

impl TwinsConfig {
    pub(super) fn read(mut section: Section) -> Self {
        let defaults = Self::default();
        Self {
            history_bytes_max: section
                .number("history_bytes_max", 0..=1 << 50)
                .unwrap_or(defaults.history_bytes_max),
            history_delay: section
                .duration("history_delay")
                .unwrap_or(defaults.history_delay),
        }
    }

    /// What [`TwinsConfig::read`] reads as this.
    pub(super) fn dump(self) -> toml::Table {
        let Self {
            history_bytes_max,
            history_delay,
        } = self;
        let bytes = i64::try_from(history_bytes_max).unwrap_or(i64::MAX);
        let mut table = toml::Table::new();
        table.insert("history_bytes_max".to_owned(), bytes.into());
        let delay = format_duration(history_delay);
        table.insert("history_delay".to_owned(), delay.into());
        table
    }
}
