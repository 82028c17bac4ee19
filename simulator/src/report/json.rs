//! For programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::story;
use crate::scenario::{Look, NodeHistory, Outcome, Pacing, Spans};

/// The whole run.
#[must_use]
pub fn json(outcome: &Outcome) -> Value {
    let Outcome {
        name,
        seed,
        end,
        steps,
        refusals,
        nodes,
        verdicts,
        broken,
        pacing,
    } = outcome;
    json!({
        "name": name,
        "seed": seed,
        "passed": outcome.passed(),
        "end_ms": millis(*end),
        "steps": steps.iter()
            .map(|(at, label)| json!({"at_ms": millis(*at), "what": label}))
            .collect::<Value>(),
        "refusals": refusals.iter()
            .map(|(at, what)| json!({"at_ms": millis(*at), "what": what}))
            .collect::<Value>(),
        "expectations": verdicts.iter().map(|verdict| json!({
            "line": verdict.place.line,
            "when": verdict.when.label(),
            "what": verdict.label,
            "passed": verdict.failure.is_none(),
            "failure": verdict.failure,
            "took_ms": verdict.took.map(millis),
        })).collect::<Value>(),
        "broken": broken.as_ref().map(|broken| json!({
            "invariant": broken.invariant, "what": broken.what,
        })),
        "live": live(pacing),
        "nodes": nodes.iter().map(|node| of_node(node, *end)).collect::<Value>(),
    })
}

/// How the time of a live run went; null when it was simulated.
fn live(pacing: &Pacing) -> Value {
    let Pacing::Live { real, skips, notes } = pacing else {
        return Value::Null;
    };
    json!({
        "real_ms": millis(*real),
        "shortened": skips.iter()
            .map(|skip| json!({
                "from_ms": millis(skip.from), "until_ms": millis(skip.until),
                "real_ms": millis(skip.real),
            }))
            .collect::<Value>(),
        "notes": notes,
    })
}

fn of_node(history: &NodeHistory, end: Duration) -> Value {
    let NodeHistory {
        node,
        connected,
        serving,
        alive,
        pods,
    } = history;
    json!({
        "node": node,
        "connected": truths(connected, end),
        "serving": truths(serving, end),
        "alive": truths(alive, end),
        "pods": pods.iter().map(|(name, spans)| (name.clone(), of_pod(spans, end)))
            .collect::<serde_json::Map<_, _>>(),
        "story": story::events(history, end).iter()
            .map(|(at, what)| json!({"at_ms": millis(*at), "what": what}))
            .collect::<Value>(),
    })
}

/// The stretches in which something was so.
fn truths(spans: &Spans<bool>, end: Duration) -> Value {
    let so = spans.iter(end).filter(|(_, _, so)| **so);
    so.map(|(from, until, _)| json!([millis(from), millis(until)]))
        .collect()
}

fn of_pod(spans: &Spans<Option<Look>>, end: Duration) -> Value {
    let running = spans.iter(end).filter_map(|(from, until, look)| {
        let look = look.as_ref()?;
        Some(json!({
            "from_ms": millis(from), "until_ms": millis(until), "uid": look.uid,
            "images": look.images, "restarts": look.restarts, "copies": look.copies,
            "running": look.running,
        }))
    });
    running.collect()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
