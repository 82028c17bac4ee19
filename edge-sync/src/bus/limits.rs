//! How often a topic is heard: a token bucket each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Most buckets. Beyond it those go that are full: a full bucket is as good as none.
const BUCKETS_MAX: usize = 16 * 1024;
/// A topic that is too loud is told so this often.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Whether a message is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Heard,
    /// The topic is over its rate. `tell`: its publisher has not been told for a while.
    Over {
        tell: bool,
    },
}

#[derive(Clone, Debug)]
struct Bucket {
    tokens: f64,
    at: Duration,
    told: Option<Duration>,
}

/// The buckets of all topics.
#[derive(Debug)]
pub(super) struct Rates {
    per_second: f64,
    burst: f64,
    buckets: BTreeMap<Arc<str>, Bucket>,
}

impl Rates {
    /// `per_second` messages of each topic in the long run, `burst` at once.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        Self {
            per_second: f64::from(per_second),
            burst: f64::from(burst),
            buckets: BTreeMap::new(),
        }
    }

    /// A message came on `topic`. `now` is monotonic.
    pub(super) fn admit(&mut self, topic: &Arc<str>, now: Duration) -> Admission {
        if self.buckets.len() >= BUCKETS_MAX && !self.buckets.contains_key(topic) {
            self.forget_idle(now);
        }
        let (per_second, burst) = (self.per_second, self.burst);
        let bucket = self.buckets.entry(Arc::clone(topic)).or_insert(Bucket {
            tokens: burst,
            at: now,
            told: None,
        });
        bucket.fill(now, per_second, burst);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Admission::Heard;
        }
        let tell = bucket
            .told
            .is_none_or(|told| now.saturating_sub(told) >= TELL_EVERY);
        if tell {
            bucket.told = Some(now);
        }
        Admission::Over { tell }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buckets.len()
    }

    /// The bound holds whether buckets are full again or not: names of topics come from outside.
    /// Many go at once, so that this is seldom done.
    fn forget_idle(&mut self, now: Duration) {
        let (per_second, burst) = (self.per_second, self.burst);
        self.buckets.retain(|_, bucket| {
            bucket.fill(now, per_second, burst);
            bucket.tokens < burst
        });
        while self.buckets.len() > BUCKETS_MAX / 2 {
            self.buckets.pop_first();
        }
    }
}

impl Bucket {
    fn fill(&mut self, now: Duration, per_second: f64, burst: f64) {
        let since = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = burst.min(self.tokens + since * per_second);
        self.at = now;
    }
}
