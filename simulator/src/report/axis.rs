//! A time axis that shows a month of silence and the seconds around a fault alike.

use std::time::Duration;

use crate::scenario::Outcome;

/// Maps moments to places from 0 to 1.
///
/// Between two notable moments it is linear; how wide such a stretch is grows with the logarithm of
/// its length.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// Moments and their places, both ascending; the first is (0, 0).
    knots: Vec<(Duration, f64)>,
}

/// More moments than this cannot be told apart in a picture.
const KNOTS_MAX: usize = 48;

impl Axis {
    pub(super) fn of(outcome: &Outcome) -> Self {
        let mut moments: Vec<Duration> = outcome.steps.iter().map(|(at, _)| *at).collect();
        for verdict in &outcome.verdicts {
            moments.extend([verdict.when.first(), verdict.when.last()]);
        }
        moments.retain(|at| *at < outcome.end && !at.is_zero());
        moments.sort_unstable();
        moments.dedup();
        if moments.len() > KNOTS_MAX {
            let step = moments.len().div_ceil(KNOTS_MAX);
            moments = moments.into_iter().step_by(step).collect();
        }
        moments.insert(0, Duration::ZERO);
        moments.push(outcome.end.max(Duration::from_millis(1)));
        let mut place = 0.0;
        let mut knots = vec![(Duration::ZERO, 0.0)];
        for pair in moments.windows(2) {
            let [from, to] = pair else { continue };
            // A floor keeps stretches apart that last no time at all.
            place += 0.6 + (1.0 + to.saturating_sub(*from).as_secs_f64()).ln();
            knots.push((*to, place));
        }
        for (_, knot) in &mut knots {
            *knot /= place.max(f64::MIN_POSITIVE);
        }
        Self { knots }
    }

    /// The place of a moment.
    pub(super) fn place(&self, at: Duration) -> f64 {
        let index = self.knots.partition_point(|(moment, _)| *moment <= at);
        let (Some(before), after) = (
            self.knots.get(index.saturating_sub(1)),
            self.knots.get(index),
        ) else {
            return 0.0;
        };
        let Some(after) = after else { return 1.0 };
        let length = after.0.saturating_sub(before.0).as_secs_f64();
        let share = at.saturating_sub(before.0).as_secs_f64() / length.max(f64::MIN_POSITIVE);
        before.1 + (after.1 - before.1) * share
    }

    /// The moment at a place.
    pub(super) fn moment(&self, place: f64) -> Duration {
        let index = self.knots.partition_point(|(_, knot)| *knot <= place);
        let (Some(before), after) = (
            self.knots.get(index.saturating_sub(1)),
            self.knots.get(index),
        ) else {
            return Duration::ZERO;
        };
        let Some(after) = after else { return before.0 };
        let share = (place - before.1) / (after.1 - before.1).max(f64::MIN_POSITIVE);
        let length = after.0.saturating_sub(before.0);
        before
            .0
            .saturating_add(length.mul_f64(share.clamp(0.0, 1.0)))
    }

    /// Moments to name, at least `apart` from each other.
    pub(super) fn ticks(&self, apart: f64) -> Vec<(Duration, f64)> {
        let mut ticks: Vec<(Duration, f64)> = Vec::new();
        for (moment, place) in &self.knots {
            if ticks.last().is_none_or(|(_, last)| place - last >= apart) {
                ticks.push((*moment, *place));
            }
        }
        ticks
    }
}
