//! A picture in one file that needs nothing else: no script, no font, no network.

use std::fmt::Write as _;
use std::time::Duration;

use super::axis::Axis;
use super::junit::escape;
use super::{pace, shown, story};
use crate::scenario::span::show;
use crate::scenario::{Look, NodeHistory, Outcome, Spans, Verdict, When};

/// Nodes drawn; the JSON has the others.
const NODES_MAX: usize = 40;
/// Lines of one node's story.
const EVENTS_MAX: usize = 200;
/// Expectations beside each other above the nodes; more share the last row.
const LANES_MAX: usize = 6;

const WIDTH: f64 = 1120.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 14.0;
const ROW: f64 = 17.0;
const BAR: f64 = 11.0;

/// The report as an HTML document.
#[must_use]
pub fn html(outcome: &Outcome) -> String {
    let style = include_str!("style.css");
    let name = escape(&outcome.name);
    let failed = outcome
        .verdicts
        .iter()
        .filter(|verdict| verdict.failure.is_some())
        .count();
    let passed = outcome.verdicts.len().saturating_sub(failed);
    let (class, word) = if outcome.passed() {
        ("pass", "passed")
    } else {
        ("fail", "failed")
    };
    let nodes = shown(outcome, NODES_MAX);
    let picture = Picture::new(outcome).draw(outcome, &nodes);
    let hidden = outcome.nodes.len().saturating_sub(nodes.len());
    let hidden = if hidden > 0 {
        format!(", {hidden} more nodes are not drawn")
    } else {
        String::new()
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{name}</title>\
         <style>{style}</style></head><body>\n<h1>{name}<span class=\"badge {class}\">{word}</span></h1>\n\
         <p class=\"sum\">expectations: {passed} met, {failed} not; {}; {}{hidden}. \
         Quiet stretches of the axis are shortened.</p>\n{picture}\n{}\n{}\n{}\n{}\n</body></html>\n",
        escape(&pace::spent(outcome)),
        match outcome.nodes.len() {
            1 => "1 node".to_owned(),
            count => format!("{count} nodes"),
        },
        expectations(outcome),
        steps(outcome),
        pacing(outcome),
        stories(&nodes, outcome.end),
    )
}

/// The picture while it grows downwards.
struct Picture {
    axis: Axis,
    end: Duration,
    y: f64,
    body: String,
}

impl Picture {
    fn new(outcome: &Outcome) -> Self {
        Self {
            axis: Axis::of(outcome),
            end: outcome.end,
            y: 44.0,
            body: String::new(),
        }
    }

    fn draw(mut self, outcome: &Outcome, nodes: &[&NodeHistory]) -> String {
        self.verdicts(&outcome.verdicts);
        for node in nodes {
            self.node(node);
        }
        let height = self.y + 6.0;
        let mut back = String::new();
        for (moment, place) in self.axis.ticks(0.06) {
            let x = x_of(place);
            // What begins at the right edge would end beyond it.
            let anchor = if place > 0.95 {
                " text-anchor=\"end\""
            } else {
                ""
            };
            // Writing to a string cannot fail.
            let _ = write!(
                back,
                "<line class=\"tick\" x1=\"{x:.1}\" y1=\"16\" x2=\"{x:.1}\" y2=\"{height:.0}\"/>\
                 <text class=\"dim\" x=\"{x:.1}\" y=\"12\"{anchor}>{}</text>",
                show(moment),
            );
        }
        for (number, (at, label)) in outcome.steps.iter().enumerate() {
            let (x, number) = (self.x(*at), number.saturating_add(1));
            let title = escape(&format!("{} {label}", show(*at)));
            let _ = write!(
                back,
                "<g><title>{title}</title>\
                 <line class=\"step\" x1=\"{x:.1}\" y1=\"24\" x2=\"{x:.1}\" y2=\"{height:.0}\"/>\
                 <circle class=\"step-no\" cx=\"{x:.1}\" cy=\"26\" r=\"7\"/>\
                 <text class=\"step-no\" x=\"{x:.1}\" y=\"29\">{number}</text></g>",
            );
        }
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">{back}{}</svg>\n\
             <p class=\"key\"><i style=\"background:var(--link)\"></i>connected\
             <i style=\"background:var(--gone)\"></i>not connected, or not there\
             <i style=\"background:var(--api)\"></i>API serves\
             <i style=\"background:var(--p0)\"></i>pod; another colour is another version, \
             life or content<i style=\"background:var(--bad)\"></i>more than one copy</p>",
            self.body
        )
    }

    fn x(&self, at: Duration) -> f64 {
        x_of(self.axis.place(at))
    }

    fn label(&mut self, class: &str, indent: f64, text: &str) {
        let y = self.y + BAR - 1.0;
        let mut short: String = text.chars().take(30).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        let _ = write!(
            self.body,
            "<text class=\"{class}\" x=\"{indent}\" y=\"{y:.1}\">{}</text>",
            escape(&short)
        );
    }

    fn bar(&mut self, from: Duration, until: Duration, class: &str, title: &str) {
        let (x, y) = (self.x(from), self.y);
        let width = (self.x(until) - x).max(0.6);
        let title = format!("{title}, {} to {}", show(from), show(until));
        let _ = write!(
            self.body,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\">\
             <title>{}</title></rect>",
            escape(&title)
        );
    }

    /// Expectations that do not meet share a row.
    fn verdicts(&mut self, verdicts: &[Verdict]) {
        self.label("node", 0.0, "expectations");
        let mut lanes: Vec<f64> = Vec::new();
        let top = self.y;
        for verdict in verdicts {
            let (from, until) = match verdict.when {
                When::At(at) => (at, at),
                When::Within { from, within } => {
                    (from, from.saturating_add(verdict.took.unwrap_or(within)))
                }
                When::Throughout { from, until } => (from, until.unwrap_or(self.end)),
            };
            let (left, right) = (self.x(from), self.x(until.min(self.end)));
            let free = lanes.iter().position(|used| *used + 14.0 < left);
            let lane = free.unwrap_or_else(|| {
                if lanes.len() < LANES_MAX {
                    lanes.push(0.0);
                }
                lanes.len().saturating_sub(1)
            });
            if let Some(used) = lanes.get_mut(lane) {
                *used = used.max(right);
            }
            let class = if verdict.failure.is_none() {
                "met"
            } else {
                "unmet"
            };
            let y = top + ROW * to_f64(lane) + BAR / 2.0;
            let mut title = format!("{} {}", verdict.when.label(), verdict.label);
            if let Some(failure) = &verdict.failure {
                title.push_str(&format!(": {failure}"));
            }
            let _ = write!(
                self.body,
                "<g class=\"{class}\"><title>{}</title>\
                 <rect class=\"span\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"5\" stroke=\"none\"/>\
                 <circle cx=\"{right:.1}\" cy=\"{y:.1}\" r=\"5\"/></g>",
                escape(&title),
                y - 2.5,
                (right - left).max(0.0),
            );
        }
        self.y = top + ROW * to_f64(lanes.len().max(1)) + 8.0;
    }

    fn node(&mut self, node: &NodeHistory) {
        self.y += 8.0;
        self.label("node", 0.0, &node.node);
        self.two(
            &node.connected,
            "link",
            ("up", "connected"),
            ("down", "not connected"),
        );
        self.two(
            &node.serving,
            "API",
            ("api", "API serves"),
            ("down", "API does not serve"),
        );
        for (name, spans) in &node.pods {
            self.pod(name, spans);
        }
    }

    fn two(&mut self, spans: &Spans<bool>, name: &str, yes: (&str, &str), no: (&str, &str)) {
        self.label("dim", 128.0, name);
        for (from, until, so) in spans.iter(self.end) {
            let (class, title) = if *so { yes } else { no };
            self.bar(from, until, class, title);
        }
        self.y += ROW;
    }

    fn pod(&mut self, name: &str, spans: &Spans<Option<Look>>) {
        self.label("", 12.0, name);
        let mut before: Option<&Look> = None;
        let mut colour = 0_u8;
        for (from, until, look) in spans.iter(self.end) {
            if let Some(look) = look {
                let other = before.is_some_and(|before| {
                    (&before.uid, &before.images, before.content)
                        != (&look.uid, &look.images, look.content)
                });
                if other {
                    colour = (colour + 1) % 6;
                }
                let class = match (look.copies, look.running) {
                    (2.., _) => "twice".to_owned(),
                    (_, true) => format!("p{colour}"),
                    (_, false) => format!("p{colour} part"),
                };
                let what = story::change(before, Some(look)).unwrap_or_else(|| "runs".to_owned());
                self.bar(from, until, &class, &format!("{name} {what}"));
                if before.is_some_and(|before| before.restarts < look.restarts) {
                    let (x, y) = (self.x(from), self.y);
                    let _ = write!(
                        self.body,
                        "<line class=\"restart\" x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>",
                        y + BAR
                    );
                }
                before = Some(look);
            }
        }
        self.y += ROW;
    }
}

fn expectations(outcome: &Outcome) -> String {
    let mut rows = String::new();
    for verdict in &outcome.verdicts {
        let (class, mark) = if verdict.failure.is_none() {
            ("", "✓")
        } else {
            ("bad", "✗")
        };
        let took = verdict.took.map(|took| format!("took {}", show(took)));
        let note = verdict.failure.clone().or(took).unwrap_or_default();
        let _ = write!(
            rows,
            "<tr class=\"{class}\"><td>{mark}</td><td class=\"n\">line {}</td><td class=\"n\">{}</td>\
             <td>{}</td><td>{}</td></tr>",
            verdict.place.line,
            escape(&verdict.when.label()),
            escape(&verdict.label),
            escape(&note),
        );
    }
    if let Some(broken) = &outcome.broken {
        let rule = broken.invariant.unwrap_or("stopped");
        let what = escape(&broken.what);
        let _ = write!(
            rows,
            "<tr class=\"bad\"><td>✗</td><td>{rule}</td><td></td><td colspan=\"2\">{what}</td></tr>"
        );
    }
    format!(
        "<h2>Expectations</h2><table><tr><th></th><th></th><th>when</th><th>what</th><th></th></tr>{rows}</table>"
    )
}

/// What was not as the scenario says.
fn pacing(outcome: &Outcome) -> String {
    let changed = pace::changed(&outcome.pacing);
    if changed.is_empty() {
        return String::new();
    }
    let rows = changed.iter().map(|what| escape(what));
    let rows: Vec<String> = rows.map(|what| format!("<li>{what}</li>")).collect();
    format!("<h2>{}</h2><ul>{}</ul>", pace::TITLE, rows.concat())
}

fn steps(outcome: &Outcome) -> String {
    let mut rows = String::new();
    for (number, (at, label)) in outcome.steps.iter().enumerate() {
        let _ = write!(
            rows,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            number.saturating_add(1),
            show(*at),
            escape(label),
        );
    }
    for (at, what) in &outcome.refusals {
        let (at, what) = (show(*at), escape(what));
        let _ = write!(
            rows,
            "<tr class=\"bad\"><td>✗</td><td class=\"n\">{at}</td><td>refused: {what}</td></tr>"
        );
    }
    if rows.is_empty() {
        return String::new();
    }
    format!("<h2>Steps</h2><table>{rows}</table>")
}

fn stories(nodes: &[&NodeHistory], end: Duration) -> String {
    let mut out = String::from("<h2>Nodes</h2>");
    for node in nodes {
        let mut rows = String::new();
        let events = story::events(node, end);
        for (at, what) in events.iter().take(EVENTS_MAX) {
            let (at, what) = (show(*at), escape(what));
            let _ = write!(rows, "<tr><td class=\"n\">{at}</td><td>{what}</td></tr>");
        }
        if let Some(more) = events
            .len()
            .checked_sub(EVENTS_MAX)
            .filter(|more| *more > 0)
        {
            let _ = write!(rows, "<tr><td></td><td>and {more} more</td></tr>");
        }
        let name = escape(&node.node);
        let _ = write!(
            out,
            "<details><summary>{name}</summary><table>{rows}</table></details>"
        );
    }
    out
}

fn x_of(place: f64) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * place
}

#[expect(clippy::cast_precision_loss, reason = "a count of rows")]
const fn to_f64(count: usize) -> f64 {
    count as f64
}
