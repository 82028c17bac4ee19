//! What went wrong, and when it is tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_log::replication::Moment;

use crate::plan::Action;

/// First and longest delay before what failed is tried again.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What went wrong with a pod.
#[derive(Default)]
pub(super) struct Trouble {
    pub(super) failures: BTreeMap<String, (String, String)>,
    pub(super) times: u32,
    pub(super) retry_at: Moment,
}

impl Trouble {
    /// Whether a step waits until what failed is tried again.
    pub(super) fn holds(&self, action: &Action) -> bool {
        match action {
            Action::Start { container, .. } => {
                self.failures.contains_key(container) || self.failures.contains_key("")
            }
            Action::WriteVolumes
            | Action::RunSandbox
            | Action::RemovePod { .. }
            | Action::RemoveContainer { .. }
            | Action::Stop { .. }
            | Action::Confirm => self.failures.contains_key(""),
        }
    }
}

pub(super) fn retry_at(now: Moment, times: u32) -> Moment {
    let (first, longest) = RETRY;
    let factor = 2_u32.saturating_pow(times.saturating_sub(1).min(16));
    Moment(
        now.0
            .saturating_add(first.saturating_mul(factor).min(longest)),
    )
}
