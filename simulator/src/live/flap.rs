//! Links that come and go by the clock of the scenario.

use std::time::Duration;

/// A link that began to flap: first it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flap {
    pub(super) since: Duration,
    pub(super) up: Duration,
    pub(super) down: Duration,
}

impl Flap {
    /// Whether it carries at this time.
    pub(super) fn carries(&self, now: Duration) -> bool {
        self.phase(now) >= self.down
    }

    /// When it changes next.
    pub(super) fn next(&self, now: Duration) -> Duration {
        let phase = self.phase(now);
        let left = if phase < self.down {
            self.down.saturating_sub(phase)
        } else {
            self.period().saturating_sub(phase)
        };
        now.saturating_add(left)
    }

    fn phase(&self, now: Duration) -> Duration {
        let nanos = now.saturating_sub(self.since).as_nanos() % self.period().as_nanos();
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn period(&self) -> Duration {
        let period = self.up.saturating_add(self.down);
        period.max(Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_gone_first_and_then_comes_and_goes() {
        let minutes = |count: u64| Duration::from_secs(30 * count);
        let flap = Flap {
            since: minutes(10),
            up: minutes(3),
            down: minutes(7),
        };
        let carries: Vec<bool> = (10..30).map(|at| flap.carries(minutes(at))).collect();
        let period = [[false; 7].to_vec(), [true; 3].to_vec()].concat();
        assert_eq!(carries, [period.clone(), period].concat());
        assert_eq!(flap.next(minutes(10)), minutes(17));
        assert_eq!(flap.next(minutes(17)), minutes(20));
        assert_eq!(flap.next(minutes(20)), minutes(27));
    }
}
