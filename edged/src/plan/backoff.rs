//! Delays between the starts of a container that keeps ending.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_log::replication::Moment;

use super::Timing;
use crate::runtime::Exit;

/// What the planner remembers. Losing it costs some delay between restarts, nothing else.
#[derive(Clone, Debug, Default)]
pub struct PlanState {
    containers: BTreeMap<(String, String), Memory>,
}

#[derive(Clone, Copy, Debug)]
struct Memory {
    /// The newest attempt seen to have ended.
    attempt: u32,
    /// Ends in a row, none of which came late enough to forget those before.
    ends: u32,
    /// When the next attempt may start.
    not_before: Moment,
}

/// When a container may start again.
pub(super) struct Delay {
    pub(super) not_before: Moment,
    pub(super) length: Duration,
}

impl PlanState {
    /// Takes note that an attempt has ended, the first time it is seen, and says when the next one
    /// may start.
    pub(super) fn ended(
        &mut self,
        pod: &str,
        container: &str,
        attempt: u32,
        exit: &Exit,
        now: Moment,
        timing: &Timing,
    ) -> Delay {
        let key = (pod.to_owned(), container.to_owned());
        let memory = self.containers.entry(key);
        // Without memory (edged is new) the number of attempts stands in for it.
        let seen = |before: u32| Memory::new(attempt, before, exit, now, timing);
        let memory = memory
            .and_modify(|memory| {
                if memory.attempt != attempt {
                    *memory = seen(memory.ends);
                }
            })
            .or_insert_with(|| seen(attempt));
        Delay {
            not_before: memory.not_before,
            length: length(memory.ends, timing),
        }
    }

    /// Forgets pods that are gone.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.containers.retain(|(pod, _), _| keep(pod));
    }
}

impl Memory {
    fn new(attempt: u32, before: u32, exit: &Exit, now: Moment, timing: &Timing) -> Self {
        // Nobody saw how long it ran when its host was restarted: that is no fault of its own.
        let forgiven = exit.ran.is_none_or(|ran| ran >= timing.backoff_reset);
        let ends = if forgiven {
            1
        } else {
            before.saturating_add(1)
        };
        Self {
            attempt,
            ends,
            not_before: Moment(now.0.saturating_add(length(ends, timing))),
        }
    }
}

/// The first restart is immediate, then the delay doubles.
fn length(ends: u32, timing: &Timing) -> Duration {
    match ends.checked_sub(2) {
        None => Duration::ZERO,
        Some(doublings) => {
            let factor = 2_u32.saturating_pow(doublings.min(31));
            timing
                .backoff_first
                .saturating_mul(factor)
                .min(timing.backoff_max)
        }
    }
}
