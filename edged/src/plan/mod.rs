//! What to do next: pure.

use std::time::Duration;

/// Delays of the planner. A struct so that tests and demonstrations can shrink them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Delay before the second restart of a container that keeps ending; it doubles each time.
    /// The first restart is immediate.
    pub backoff_first: Duration,
    /// The delay never grows beyond this.
    pub backoff_max: Duration,
    /// A container that ran this long begins again without delay.
    pub backoff_reset: Duration,
}

impl Default for Timing {
    /// What kubelet does: 10 s, doubling to 300 s, forgotten after 10 min of running.
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_secs(10),
            backoff_max: Duration::from_secs(300),
            backoff_reset: Duration::from_secs(600),
        }
    }
}
