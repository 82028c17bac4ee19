//! How long to wait before something is tried again. Pure: luck comes from the caller.

use std::time::Duration;

use super::judge::Meaning;

/// A wait that doubles from try to try, up to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Before the second try.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Backoff {
    /// How often something that failed so is tried again.
    #[must_use]
    pub const fn of(meaning: Meaning) -> Self {
        let (first, longest) = match meaning {
            // The object moved; it is read anew.
            Meaning::Conflict => (Duration::from_millis(100), Duration::from_secs(5)),
            Meaning::Unavailable { .. } => (Duration::from_millis(250), Duration::from_secs(30)),
            // A person has to do something about these.
            Meaning::Misconfigured | Meaning::Denied => {
                (Duration::from_secs(1), Duration::from_secs(60))
            }
            Meaning::Exists | Meaning::Gone | Meaning::Never => {
                (Duration::from_secs(1), Duration::from_secs(30))
            }
        };
        Self { first, longest }
    }

    /// The wait after so many failed tries. `luck`, from 0 to 1, spreads it over its upper half, so
    /// that what failed together is not tried together.
    #[must_use]
    pub fn pause(self, failures: u32, luck: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled
            .min(self.longest)
            .mul_f64(0.5 + luck.clamp(0.0, 1.0) / 2.0)
    }
}

/// Lets little through while the API server is in trouble: nothing for a while that grows, then one
/// at a time until one succeeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    failures: u32,
    until: Duration,
}

impl Gate {
    /// How much may be under way.
    #[must_use]
    pub fn room(&self, now: Duration, whole: usize) -> usize {
        match self.failures {
            0 => whole,
            _ if now < self.until => 0,
            _ => 1,
        }
    }

    /// Something succeeded.
    pub const fn opened(&mut self) {
        self.failures = 0;
        self.until = Duration::ZERO;
    }

    /// The server could not answer.
    pub fn closed(&mut self, now: Duration, retry_after: Option<Duration>, luck: f64) {
        // What was under way together fails together, and is one trouble.
        if now >= self.until {
            self.failures += 1;
            let backoff = Backoff::of(Meaning::Unavailable { retry_after });
            self.until = now + backoff.pause(self.failures, luck);
        }
        self.until = self.until.max(now + retry_after.unwrap_or_default());
    }

    /// Nothing goes through before.
    #[must_use]
    pub const fn until(&self) -> Duration {
        self.until
    }

    /// Whether the server is in trouble.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.failures > 0
    }
}
