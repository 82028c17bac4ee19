//! How the time of a live run went, in words.

use std::time::Duration;

use crate::scenario::span::show;
use crate::scenario::{Outcome, Pacing, Skip};

/// Why some waits are shorter than the scenario says.
pub(super) const TITLE: &str = "Waits that were shortened, all being at rest, and notes";
/// Shortened waits told; others are summed.
const SKIPS_MAX: usize = 16;

/// `3h5m of virtual time`, or how much of it was real.
pub(super) fn spent(outcome: &Outcome) -> String {
    let end = show(outcome.end);
    match &outcome.pacing {
        Pacing::Virtual => format!("seed {}, {end} of virtual time", outcome.seed),
        Pacing::Live { real, .. } => format!("live, {end} in {}", rough(*real)),
    }
}

/// What was not as the scenario says: waits that were shortened, and notes.
pub(super) fn changed(pacing: &Pacing) -> Vec<String> {
    let Pacing::Live { skips, notes, .. } = pacing else {
        return Vec::new();
    };
    let mut lines: Vec<String> = skips.iter().take(SKIPS_MAX).map(skip).collect();
    let more = skips.len().saturating_sub(lines.len());
    if more > 0 {
        lines.push(format!("and {more} more waits were shortened"));
    }
    lines.extend(notes.iter().cloned());
    lines
}

fn skip(skip: &Skip) -> String {
    let Skip { from, until, real } = *skip;
    let (from, until) = (moment(from), moment(until));
    if real < Duration::from_millis(500) {
        format!("{from} to {until} skipped")
    } else {
        format!("{from} to {until} in {}", rough(real))
    }
}

/// A moment without what nobody needs of it.
fn moment(at: Duration) -> String {
    if at < Duration::from_secs(60) {
        show(at)
    } else {
        show(Duration::from_secs(at.as_secs()))
    }
}

/// To the second, or less when it is short.
fn rough(span: Duration) -> String {
    if span < Duration::from_secs(10) {
        format!("{:.1}s", span.as_secs_f64())
    } else {
        show(Duration::from_secs(span.as_secs()))
    }
}
