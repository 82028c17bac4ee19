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

/// The end of a container's newest attempt.
pub(super) struct End<'a> {
    pub(super) attempt: u32,
    pub(super) spec_hash: u64,
    pub(super) exit: &'a Exit,
    /// The end of the attempt before, if that is still known: of which spec it was.
    pub(super) before: Option<(u64, &'a Exit)>,
}

/// Ends in a row that the number of attempts may stand in for. How many of them were replaced, or
/// ran well for long, is forgotten.
const PRESUMED_MAX: u32 = 3;

#[derive(Clone, Copy, Debug)]
struct Memory {
    /// The newest attempt seen to have ended.
    attempt: u32,
    /// What ran. The next spec starts with a clean record.
    spec_hash: u64,
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
        end: &End<'_>,
        now: Moment,
        timing: &Timing,
    ) -> Delay {
        let key = (pod.to_owned(), container.to_owned());
        let memory = self.containers.entry(key);
        let seen = |before: u32| Memory::new(end, before, now, timing);
        let memory = memory
            .and_modify(|memory| {
                if memory.attempt != end.attempt {
                    let is_same = memory.spec_hash == end.spec_hash;
                    *memory = seen(if is_same { memory.ends } else { 0 });
                }
            })
            .or_insert_with(|| seen(end.presumed(timing)));
        Delay {
            not_before: memory.not_before,
            length: length(memory.ends, timing),
        }
    }

    /// Forgets a pod that is gone.
    pub(crate) fn forget(&mut self, pod: &str) {
        let first = (pod.to_owned(), String::new());
        let of_pod = self.containers.range(first..);
        let gone: Vec<(String, String)> = of_pod
            .map(|(key, _)| key)
            .take_while(|(uid, _)| uid == pod)
            .cloned()
            .collect();
        for key in gone {
            self.containers.remove(&key);
        }
    }

    /// Forgets all other pods.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.containers.retain(|(pod, _), _| keep(pod));
    }
}

impl End<'_> {
    /// Ends in a row before this one, as far as can be told without memory: edged is new.
    fn presumed(&self, timing: &Timing) -> u32 {
        match self.before {
            Some((spec_hash, exit))
                if spec_hash == self.spec_hash && !is_forgiven(exit, timing) =>
            {
                self.attempt.min(PRESUMED_MAX)
            }
            Some(_) | None => 0,
        }
    }
}

/// Nobody saw how long it ran when its host was restarted: that is no fault of its own.
fn is_forgiven(exit: &Exit, timing: &Timing) -> bool {
    exit.ran.is_none_or(|ran| ran >= timing.backoff_reset)
}

impl Memory {
    fn new(end: &End<'_>, before: u32, now: Moment, timing: &Timing) -> Self {
        let ends = if is_forgiven(end.exit, timing) {
            1
        } else {
            before.saturating_add(1)
        };
        Self {
            attempt: end.attempt,
            spec_hash: end.spec_hash,
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
