//! How a timeline of days becomes minutes of real time.
//!
//! Daemons keep their own time: a heartbeat, a retry, a grace period take as long as they take. So
//! the clock of a live run goes with real time wherever something may be happening, and only what is
//! left of a wait is skipped, or divided by `speed`:
//!
//! ```text
//!   step ──── real time, until all is at rest ────▸ ┄┄ skipped ┄┄▸ step
//!        ◂─────────── at most HEAD ───────────▸
//!   at ────── real time while it is awaited ──────▸ so it is
//!      ◂──────── at most PATIENCE, and LAST_HOPE of it at rest ────────▸
//! ```

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::scenario::{Scenario, Skip, When};

/// Waits from one moment of a scenario to the next that are not longer than this are kept.
pub(super) const KEPT: Duration = Duration::from_secs(30);
/// After a step the clock goes with real time for so long at most.
pub(super) const HEAD: Duration = Duration::from_secs(60);
/// While something is awaited, the clock goes with real time for so long at most.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Of what is awaited while all is at rest, hope is given up after this: longer than any retry.
pub(super) const LAST_HOPE: Duration = Duration::from_secs(40);

/// The clock of a live run.
#[derive(Debug)]
pub(super) struct Pace {
    speed: Option<u32>,
    moments: BTreeSet<Duration>,
    now: Duration,
    /// When it was `anchor.0`, the real clock showed `anchor.1`.
    anchor: (Duration, Instant),
    /// When the last step was done; none once all is at rest after it.
    stirred: Option<Instant>,
    /// Since when all has been at rest.
    rested: Option<Instant>,
    /// Since when something has been awaited.
    awaiting: Option<Instant>,
    skips: Vec<Skip>,
}

/// How time goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gait {
    /// As on the real clock.
    Real,
    /// What is left of the wait takes this long.
    Shortened(Duration),
}

impl Pace {
    pub(super) fn new(scenario: &Scenario, speed: Option<u32>, now: Instant) -> Self {
        Self {
            speed,
            moments: moments(scenario),
            now: Duration::ZERO,
            anchor: (Duration::ZERO, now),
            stirred: Some(now),
            rested: None,
            awaiting: None,
            skips: Vec::new(),
        }
    }

    pub(super) const fn now(&self) -> Duration {
        self.now
    }

    /// Waits that were shortened.
    pub(super) fn skips(&self) -> &[Skip] {
        &self.skips
    }

    /// Something was done.
    pub(super) const fn stir(&mut self, real: Instant) {
        self.stirred = Some(real);
        self.rested = None;
    }

    /// Everything is at rest.
    pub(super) const fn rest(&mut self, real: Instant) {
        self.stirred = None;
        self.rested = Some(real);
    }

    /// Whether it is not known that everything is at rest; since when.
    pub(super) const fn stirred(&self) -> Option<Instant> {
        self.stirred
    }

    /// Whether something expected may come true at any moment.
    pub(super) fn awaits(&mut self, waiting: bool, real: Instant) {
        self.awaiting = match (self.awaiting, waiting) {
            (Some(since), true) => Some(since),
            (None, true) => Some(real),
            (_, false) => None,
        };
    }

    /// How the clock goes from here to `until`, which is not after the next moment.
    pub(super) fn gait(&self, until: Duration, real: Instant) -> Gait {
        if self.is_real(real) {
            return Gait::Real;
        }
        let left = until.saturating_sub(self.now);
        Gait::Shortened(match self.speed {
            None => Duration::ZERO,
            Some(speed) => left / speed.max(1),
        })
    }

    /// Whether the clock goes with the real one.
    pub(super) fn is_real(&self, real: Instant) -> bool {
        let (before, after) = self.stretch();
        let is_kept = after.saturating_sub(before) <= KEPT;
        let within = |since: Option<Instant>, most| {
            since.is_some_and(|since| real.saturating_duration_since(since) < most)
        };
        let hopes = self.rested.is_none_or(|rested| {
            within(Some(rested.max(self.awaiting.unwrap_or(rested))), LAST_HOPE)
        });
        is_kept || within(self.stirred, HEAD) || (hopes && within(self.awaiting, PATIENCE))
    }

    /// Whether something is awaited.
    pub(super) const fn is_awaiting(&self) -> bool {
        self.awaiting.is_some()
    }

    /// Whether the clock stands at a moment that the scenario mentions.
    pub(super) fn is_moment(&self) -> bool {
        self.moments.contains(&self.now)
    }

    /// The moments between which the clock stands.
    fn stretch(&self) -> (Duration, Duration) {
        let after = Duration::from_nanos(1).saturating_add(self.now);
        let before = self.moments.range(..after).next_back();
        let next = self.moments.range(after..).next();
        (
            before.copied().unwrap_or_default(),
            next.copied().unwrap_or(Duration::MAX),
        )
    }

    /// How long until the clock shows `at`, going with the real one.
    pub(super) fn left(&self, at: Duration, real: Instant) -> Duration {
        let (anchor, when) = self.anchor;
        let due = when + at.saturating_sub(anchor);
        due.saturating_duration_since(real)
    }

    /// The clock went with the real one. It never passes a moment: what is late is late for all.
    pub(super) fn went(&mut self, at_least: Duration, real: Instant) {
        let (anchor, when) = self.anchor;
        let (_, next) = self.stretch();
        let shows = anchor.saturating_add(real.saturating_duration_since(when));
        let at_least = at_least.max(self.now);
        self.now = shows.clamp(at_least, next.max(at_least));
        if shows > self.now {
            self.anchor = (self.now, real);
        }
    }

    /// The clock is put forward to `at`; that took so long.
    pub(super) fn skip(&mut self, at: Duration, took: Duration, real: Instant) {
        let from = self.now;
        self.now = at.max(from);
        self.anchor = (self.now, real);
        match self.skips.last_mut() {
            // The runner stops now and then on the way.
            Some(last) if last.until == from => {
                last.until = self.now;
                last.real = last.real.saturating_add(took);
            }
            Some(_) | None => self.skips.push(Skip {
                from,
                until: self.now,
                real: took,
            }),
        }
    }
}

/// The moments of a scenario. What may take a while is awaited, not waited for, so its end is none.
fn moments(scenario: &Scenario) -> BTreeSet<Duration> {
    let steps = scenario.steps.iter().map(|step| step.at);
    let expected = scenario.expectations.iter();
    let expected = expected.flat_map(|expectation| match expectation.when {
        When::Within { from, .. } => [from, from],
        When::At(_) | When::Throughout { .. } => {
            [expectation.when.first(), expectation.when.last()]
        }
    });
    let ends = [Duration::ZERO, scenario.end];
    ends.into_iter().chain(steps).chain(expected).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::NoFiles;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(speed: Option<u32>) -> (Pace, Instant) {
        let text = "nodes: 1\ntimeline: [{at: 1h, heal: all}]\n\
                    expect: [{at: 1h20s, serves: true}, {at: 2h, within: 5m, serves: true}]\n";
        let scenario = Scenario::parse("test", text, &NoFiles).unwrap();
        let start = Instant::now();
        (Pace::new(&scenario, speed, start), start)
    }

    #[test]
    fn a_wait_is_skipped_once_all_is_at_rest() {
        let (mut pace, start) = pace(None);
        assert_eq!(pace.gait(SECOND, start), Gait::Real);
        pace.went(SECOND, start + SECOND);
        pace.rest(start);
        assert_eq!(
            pace.gait(600 * SECOND, start),
            Gait::Shortened(Duration::ZERO)
        );
        pace.skip(600 * SECOND, Duration::ZERO, start + SECOND);
        pace.skip(3_600 * SECOND, Duration::ZERO, start + SECOND);
        assert_eq!(pace.now(), 3_600 * SECOND);
        let [skip] = pace.skips() else {
            panic!("{:?}", pace.skips())
        };
        assert_eq!((skip.from, skip.until), (SECOND, 3_600 * SECOND));
        // The next moment is 20 s away.
        assert_eq!(pace.gait(3_601 * SECOND, start), Gait::Real);
        pace.skip(7_200 * SECOND, Duration::ZERO, start);
        let bound = 7_500 * SECOND;
        assert!(
            !pace.is_real(start),
            "the end is further away than {bound:?}"
        );
    }

    #[test]
    fn a_speed_divides_what_is_left() {
        let (mut pace, start) = pace(Some(60));
        pace.rest(start);
        assert_eq!(pace.gait(600 * SECOND, start), Gait::Shortened(10 * SECOND));
    }

    #[test]
    fn what_never_comes_to_rest_or_true_has_a_bound() {
        let (mut pace, start) = pace(None);
        let late = start + HEAD;
        assert_eq!(pace.gait(SECOND, late), Gait::Shortened(Duration::ZERO));
        pace.awaits(true, late);
        pace.awaits(true, late + SECOND);
        assert_eq!(pace.gait(SECOND, late + PATIENCE - SECOND), Gait::Real);
        assert_ne!(pace.gait(SECOND, late + PATIENCE), Gait::Real);
        pace.rest(late);
        pace.awaits(false, late);
        pace.awaits(true, late + SECOND);
        assert_eq!(pace.gait(SECOND, late + LAST_HOPE), Gait::Real);
        assert_ne!(pace.gait(SECOND, late + LAST_HOPE + SECOND), Gait::Real);
        pace.awaits(false, late);
        assert_ne!(pace.gait(SECOND, late), Gait::Real);
    }

    #[test]
    fn the_clock_follows_the_real_one_and_passes_no_moment() {
        let (mut pace, start) = pace(None);
        assert_eq!(pace.left(5 * SECOND, start + SECOND), 4 * SECOND);
        // The machine was busy: it is later than asked for.
        pace.went(5 * SECOND, start + 7 * SECOND);
        assert_eq!(pace.now(), 7 * SECOND);
        pace.went(3_600 * SECOND, start + 4_000 * SECOND);
        assert_eq!(pace.now(), 3_600 * SECOND);
        assert_eq!(
            pace.left(3_601 * SECOND, start + 4_000 * SECOND),
            SECOND,
            "and goes on from there"
        );
    }
}
