//! How long an edge waits before it dials again.

use std::time::Duration;

use crate::limits::{BACKOFF_MAX, BACKOFF_MIN};

/// Exponential backoff with full jitter: attempt `n` waits a random time below
/// `min(BACKOFF_MAX, BACKOFF_MIN * 2^n)`, so that ten thousand edges that lost the same cloud do not
/// come back at once. Pure: the seed comes from the shell.
#[derive(Debug)]
pub struct Backoff {
    random: fastrand::Rng,
    attempt: u32,
}

impl Backoff {
    /// At the first attempt.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            attempt: 0,
        }
    }

    /// How long to wait now. `retry_after` is what the peer asked for when it closed: never less,
    /// and jitter on top, since it told the others the same.
    pub fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        let ceiling = BACKOFF_MIN
            .saturating_mul(1 << self.attempt.min(16))
            .min(BACKOFF_MAX);
        self.attempt = self.attempt.saturating_add(1);
        let jitter = ceiling.mul_f64(self.random.f64());
        retry_after.map_or(jitter, |after| after.saturating_add(jitter))
    }

    /// The peer showed life, or the network changed: start over.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Attempts since the last sign of life.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempt
    }
}
