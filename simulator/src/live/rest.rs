//! Whether everything is at rest: what was done has led to all it leads to.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Live;
use super::look::{Sight, streams};
use super::site::Node;
use crate::proxy::Link;

/// Rest is believed when nothing has changed for so long.
const QUIET: Duration = Duration::from_millis(1_500);

impl Live {
    /// Whether everything has been at rest for a while, since something was done at `since`.
    pub(super) fn is_at_rest(&mut self, since: Instant) -> bool {
        if since.elapsed() < QUIET || self.users.wait() {
            return false;
        }
        self.look();
        let is_quiet = self
            .sights
            .unchanged
            .is_some_and(|unchanged| unchanged.elapsed() >= QUIET);
        is_quiet && self.stir_of_nodes().is_none() && self.stir_of_streams().is_none()
    }

    /// Why it is not at rest, for people.
    pub(super) fn stirs(&mut self) -> String {
        if self.users.wait() {
            return "a user waits for an answer".to_owned();
        }
        let stir = self.stir_of_nodes();
        let stir = stir.or_else(|| self.stir_of_streams());
        stir.unwrap_or_else(|| "something still changes".to_owned())
    }

    fn stir_of_nodes(&self) -> Option<String> {
        let cloud_runs = self.site.cloud.runs();
        self.site.nodes.iter().find_map(|node| {
            let sight = self.sights.nodes.get(&node.name)?;
            let why = stir(node, sight, cloud_runs)?;
            Some(format!("{}: {why}", node.name))
        })
    }

    /// What one end holds of a stream and the other does not yet.
    fn stir_of_streams(&self) -> Option<String> {
        if !self.site.cloud.runs() {
            return None;
        }
        self.site.nodes.iter().find_map(|node| {
            if !node.sync.runs() || !carries(node) {
                return None;
            }
            let held = streams(&self.site.cloud_api, &node.api, &node.name);
            let why = match self.runtime.block_on(held) {
                Some(ends) => ends.iter().find_map(|ends| ends.differ().err())?,
                None => "a digest is not told".to_owned(),
            };
            Some(format!("{}: {why}", node.name))
        })
    }
}

/// Whether the link carries whatever is given to it.
fn carries(node: &Node) -> bool {
    matches!(node.link.link(), Link::Whole | Link::Slow(_))
}

/// What a node has still to do; none when it has nothing.
fn stir(node: &Node, sight: &Sight, cloud_runs: bool) -> Option<String> {
    let state = &sight.state;
    if !node.sync.runs() {
        return None;
    }
    if state.connected != (carries(node) && cloud_runs) {
        return Some(if state.connected {
            "it has not noticed that the cloud is gone".to_owned()
        } else {
            "it is not connected".to_owned()
        });
    }
    // A node that was never synchronised has nothing to run.
    let pods = sight.pods.as_ref()?;
    if !node.kubelet.runs() {
        return None;
    }
    let text = |pod: &Value, pointer: &str| {
        let text = pod.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    for pod in pods {
        let name = text(pod, "/metadata/name");
        if pod.pointer("/metadata/deletionTimestamp").is_some() {
            return Some(format!("{name} is being deleted"));
        }
        let uid = text(pod, "/metadata/uid");
        match text(pod, "/status/phase").as_str() {
            "Succeeded" | "Failed" => {}
            "Running" if state.pods.iter().any(|pod| pod.uid == uid && pod.running) => {}
            _ => return Some(format!("{name} does not run")),
        }
    }
    let is_wanted = |uid: &str| pods.iter().any(|pod| text(pod, "/metadata/uid") == uid);
    let runs = |pod: &&crate::world::PodState| pod.containers.iter().any(|one| one.copies > 0);
    let surplus = state
        .pods
        .iter()
        .filter(runs)
        .find(|pod| !is_wanted(&pod.uid));
    surplus.map(|pod| format!("{} still runs", pod.name))
}
