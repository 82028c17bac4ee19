//! For a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use super::axis::Axis;
use super::{pace, shown, story};
use crate::scenario::span::show;
use crate::scenario::{Look, NodeHistory, Outcome, Pacing, Spans};

/// How wide the bars are, in characters.
const WIDTH: usize = 64;
/// Lines of one node's story; a link that flaps for a month has more.
const EVENTS_MAX: usize = 40;

/// The whole report. At most `nodes` nodes are drawn.
#[must_use]
pub fn text(outcome: &Outcome, nodes: usize) -> String {
    let axis = Axis::of(outcome);
    let mut out = String::new();
    let nodes = shown(outcome, nodes);
    let names = nodes.iter().flat_map(|node| node.pods.keys());
    let margin = names.map(|name| name.chars().count()).max().unwrap_or(0);
    let margin = margin.clamp(6, 32).saturating_add(4);
    ruler(&mut out, outcome, &axis, margin);
    for (at, what) in &outcome.refusals {
        line(
            &mut out,
            format_args!("{:>12}  refused: {what}\n", show(*at)),
        );
    }
    for node in &nodes {
        bars(&mut out, node, &axis, margin);
    }
    for node in &nodes {
        events(&mut out, node, outcome.end);
    }
    let hidden = outcome.nodes.len().saturating_sub(nodes.len());
    if hidden > 0 {
        line(&mut out, format_args!("and {hidden} more nodes\n"));
    }
    pacing(&mut out, &outcome.pacing);
    verdicts(&mut out, outcome);
    out
}

/// What was not as the scenario says.
fn pacing(out: &mut String, pacing: &Pacing) {
    let changed = pace::changed(pacing);
    if changed.is_empty() {
        return;
    }
    line(out, pace::TITLE.to_lowercase());
    for what in changed {
        line(out, format_args!("  {what}"));
    }
    out.push('\n');
}

fn line(out: &mut String, text: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

/// Times above, and a mark for each step.
fn ruler(out: &mut String, outcome: &Outcome, axis: &Axis, margin: usize) {
    let mut times = vec![' '; WIDTH.saturating_add(8)];
    for (moment, place) in axis.ticks(0.13) {
        let text = show(moment);
        for (offset, letter) in text.chars().enumerate() {
            if let Some(cell) = times.get_mut(column(place).saturating_add(offset)) {
                *cell = letter;
            }
        }
    }
    let times: String = times.into_iter().collect();
    line(out, format_args!("{:margin$}{}", "", times.trim_end()));
    let mut marks = vec!['┈'; WIDTH];
    for (at, _) in &outcome.steps {
        if let Some(cell) = marks.get_mut(column(axis.place(*at))) {
            *cell = '▼';
        }
    }
    let marks: String = marks.into_iter().collect();
    line(out, format_args!("{:margin$}{marks}", "steps"));
    let mut listed = 0;
    for (at, label) in outcome.steps.iter().take(EVENTS_MAX) {
        line(out, format_args!("{:>12}  {label}", show(*at)));
        listed += 1;
    }
    if outcome.steps.len() > listed {
        line(
            out,
            format_args!("{:>12}  {} more", "", outcome.steps.len() - listed),
        );
    }
    out.push('\n');
}

fn bars(out: &mut String, node: &NodeHistory, axis: &Axis, margin: usize) {
    line(out, &node.node);
    let two = |spans: &Spans<bool>, yes, no| {
        bar(
            axis,
            |at| if spans.at(at) == Some(&true) { yes } else { no },
        )
    };
    let rows = [
        ("  link", two(&node.connected, '━', '·')),
        ("  API", two(&node.serving, '─', ' ')),
    ];
    for (name, cells) in rows {
        line(out, format_args!("{name:margin$}{}", cells.trim_end()));
    }
    for (name, spans) in &node.pods {
        let mut before: Option<Look> = None;
        let cells = bar(axis, |at| {
            let look = spans.at(at).and_then(Option::as_ref);
            let cell = match (&before, look) {
                (_, None) => ' ',
                (_, Some(look)) if look.copies > 1 => '2',
                (Some(before), Some(look))
                    if before.uid != look.uid || before.images != look.images =>
                {
                    '◆'
                }
                (Some(before), Some(look)) if before.restarts < look.restarts => '↻',
                (Some(before), Some(look)) if before.content != look.content => '◇',
                (_, Some(look)) if !look.running => '▒',
                (_, Some(_)) => '█',
            };
            before = look.cloned();
            cell
        });
        let name: String = name.chars().take(margin.saturating_sub(4)).collect();
        let name = format!("  {name}");
        line(out, format_args!("{name:margin$}{}", cells.trim_end()));
    }
    out.push('\n');
}

fn bar(axis: &Axis, mut cell: impl FnMut(Duration) -> char) -> String {
    let middle = |index: usize| (to_f64(index) + 0.5) / to_f64(WIDTH);
    (0..WIDTH)
        .map(|index| cell(axis.moment(middle(index))))
        .collect()
}

fn events(out: &mut String, node: &NodeHistory, end: Duration) {
    line(out, &node.node);
    let events = story::events(node, end);
    for (at, what) in events.iter().take(EVENTS_MAX) {
        line(out, format_args!("{:>12}  {what}", show(*at)));
    }
    if let Some(more) = events
        .len()
        .checked_sub(EVENTS_MAX)
        .filter(|more| *more > 0)
    {
        line(out, format_args!("{:>12}  and {more} more", ""));
    }
    out.push('\n');
}

fn verdicts(out: &mut String, outcome: &Outcome) {
    line(out, "expectations");
    for verdict in &outcome.verdicts {
        let mark = if verdict.failure.is_some() {
            '✗'
        } else {
            '✓'
        };
        let when = verdict.when.label();
        let took = verdict.took.map(|took| format!("  (took {})", show(took)));
        let took = took.unwrap_or_default();
        let number = verdict.place.line;
        line(
            out,
            format_args!(
                "  {mark} line {number:<4} {when:<22} {}{took}",
                verdict.label
            ),
        );
        if let Some(failure) = &verdict.failure {
            line(out, format_args!("              {failure}"));
        }
    }
    if let Some(broken) = &outcome.broken {
        let rule = broken.invariant.unwrap_or("stopped");
        line(out, format_args!("  ✗ {rule}: {broken}"));
    }
    let failed = outcome
        .verdicts
        .iter()
        .filter(|verdict| verdict.failure.is_some())
        .count();
    let passed = outcome.verdicts.len().saturating_sub(failed);
    let (name, spent) = (&outcome.name, pace::spent(outcome));
    line(
        out,
        format_args!("\n{name}: {passed} passed, {failed} failed ({spent})"),
    );
}

#[expect(clippy::cast_precision_loss, reason = "a count of characters")]
const fn to_f64(count: usize) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places are from 0 to 1"
)]
fn column(place: f64) -> usize {
    ((place * to_f64(WIDTH)) as usize).min(WIDTH.saturating_sub(1))
}
