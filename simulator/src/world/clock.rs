//! Time and chance as the machines of a world are given them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use causeway_cloud_sync::hub::Monotonic;
use causeway_kube_api::Clock;
use causeway_log::WallTime;
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::rng::{Purpose, mix, stream};

/// When worlds begin, in milliseconds of Unix time.
const EPOCH_MILLIS: i64 = 1_700_000_000_000;

/// The clock of one machine: it shows a wall time that may jump, and never goes back otherwise.
#[derive(Debug)]
pub(super) struct MachineClock {
    /// Virtual microseconds, of the whole world.
    now: Arc<AtomicU64>,
    /// How wrong its wall time is, in milliseconds.
    skew: AtomicI64,
    random: Mutex<fastrand::Rng>,
}

impl MachineClock {
    pub(super) fn new(now: &Arc<AtomicU64>, seed: u64, machine: u64) -> Arc<Self> {
        Arc::new(Self {
            now: Arc::clone(now),
            skew: AtomicI64::new(0),
            random: Mutex::new(stream(seed ^ mix(machine), Purpose::Identity)),
        })
    }

    pub(super) fn jump(&self, by_millis: i64) {
        self.skew.fetch_add(by_millis, Ordering::Relaxed);
    }

    pub(super) fn timestamp(&self) -> Timestamp {
        let millis = i64::try_from(Clock::now(self).unix_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
    }

    fn micros(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }
}

impl Clock for MachineClock {
    fn now(&self) -> WallTime {
        let elapsed = i64::try_from(self.micros() / 1000).unwrap_or(i64::MAX);
        let millis = EPOCH_MILLIS
            .saturating_add(elapsed)
            .saturating_add(self.skew.load(Ordering::Relaxed));
        WallTime::from_unix_millis(u64::try_from(millis).unwrap_or(0))
    }

    fn entropy(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.random.lock().fill(&mut bytes);
        bytes
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.micros())
    }
}

impl Monotonic for MachineClock {
    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.micros())
    }
}
