//! How fast a mapper may report. Who is faster waits; nobody is refused.

use std::time::Duration;

/// A rate with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dmi) struct Rate {
    /// Calls a second, in the long run.
    pub(in crate::dmi) per_second: u32,
    /// Calls at once after a pause.
    pub(in crate::dmi) burst: u32,
}

/// When the calls of one caller are due: they are spread evenly once the burst is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace {
    /// When the last call would have been due at an even rate.
    due: Duration,
}

impl Pace {
    /// A call comes at `now`: how long it has to wait.
    pub(super) fn take(&mut self, now: Duration, rate: Rate) -> Duration {
        let step = Duration::from_secs(1) / rate.per_second.max(1);
        let ahead = step.saturating_mul(rate.burst.max(1) - 1);
        let wait = self.due.saturating_sub(now + ahead);
        self.due = self.due.max(now) + step;
        wait
    }
}
