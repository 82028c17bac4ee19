//! How long to wait before something that failed is tried again. Pure: time and luck come from the
//! caller.

use std::time::Duration;

/// First wait after a failure, before jitter; it doubles up to [`BACKOFF_MAX`].
pub const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// The longest wait after a failure.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// When something that failed may be tried again, in time since its owner began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
    until: Duration,
}

impl Backoff {
    /// It may be tried again from then on.
    #[must_use]
    pub const fn until(&self) -> Duration {
        self.until
    }

    /// How often it failed since it last passed.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// It failed at `now`. `jitter`, in [0, 1), spreads the wait over its upper half.
    pub fn fail(&mut self, now: Duration, jitter: f64) {
        let doubled = BACKOFF_MIN.saturating_mul(1_u32 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.until = now + doubled.min(BACKOFF_MAX).mul_f64(0.5 + jitter / 2.0);
    }

    /// It passed.
    pub const fn pass(&mut self) {
        self.failures = 0;
        self.until = Duration::ZERO;
    }

    /// Whether it may be tried at `now`.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        now >= self.until
    }
}
