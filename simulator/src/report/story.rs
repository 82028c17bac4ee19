//! A node's history as sentences.

use std::time::Duration;

use crate::scenario::{Look, NodeHistory};

/// What happened on a node and when, in the order of time.
pub(super) fn events(node: &NodeHistory, end: Duration) -> Vec<(Duration, String)> {
    let mut events = Vec::new();
    let mut tell = |at, what: String| events.push((at, what));
    for (index, (at, _, alive)) in node.alive.iter(end).enumerate() {
        match (index, alive) {
            (0, true) => {}
            (_, true) => tell(at, "daemons run again".to_owned()),
            (_, false) => tell(at, "daemons are down".to_owned()),
        }
    }
    for (index, (at, _, serving)) in node.serving.iter(end).enumerate() {
        match (index, serving) {
            (0, false) => {}
            (_, true) => tell(at, "API serves".to_owned()),
            (_, false) => tell(at, "API does not serve".to_owned()),
        }
    }
    for (index, (at, _, connected)) in node.connected.iter(end).enumerate() {
        match (index, connected) {
            (0, false) => {}
            (_, true) => tell(at, "connected".to_owned()),
            (_, false) => tell(at, "connection lost".to_owned()),
        }
    }
    for (name, spans) in &node.pods {
        let mut before: Option<&Look> = None;
        for (at, _, look) in spans.iter(end) {
            if let Some(what) = change(before, look.as_ref()) {
                tell(at, format!("{name} {what}"));
            }
            before = look.as_ref();
        }
    }
    events.sort_by_key(|(at, _)| *at);
    events
}

/// What became of a pod; `None` when nothing that people care about did.
pub(super) fn change(before: Option<&Look>, after: Option<&Look>) -> Option<String> {
    let (before, after) = match (before, after) {
        (None, None) => return None,
        (Some(_), None) => return Some("stopped".to_owned()),
        (None, Some(after)) => return Some(format!("runs {}", images(after))),
        (Some(before), Some(after)) => (before, after),
    };
    let Look {
        uid,
        images: _,
        restarts,
        copies,
        running,
        content,
    } = after;
    Some(if *copies > 1 {
        format!("runs {copies} times")
    } else if *uid != before.uid {
        format!("replaced, runs {}", images(after))
    } else if after.images != before.images {
        format!("changed, runs {}", images(after))
    } else if *restarts > before.restarts {
        format!("started again ({restarts})")
    } else if *content != before.content {
        "has new settings".to_owned()
    } else if *running && !before.running {
        "runs in full".to_owned()
    } else if !running && before.running {
        "runs in part".to_owned()
    } else {
        return None;
    })
}

pub(super) fn images(look: &Look) -> String {
    look.images.join(" + ")
}
