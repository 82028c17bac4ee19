//! Whether the node agent lives. Its heartbeats stay here; when they cease, the node says so, and
//! the cloud no longer vouches for it.
//!
//! An agent that never gave a heartbeat is not missed: not every agent gives them.

use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::source::format_time;
use causeway_kube_api::{Change, Clock as _, Expected, Source as _, SystemClock, Write};
use causeway_log::Resource;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::EdgeSource;

/// How often a node that is to be called silent is looked at while its store takes no writes.
const RETRY: Duration = Duration::from_secs(5);

/// Until when the agent counts as alive; `None` before its first heartbeat.
#[derive(Clone, Debug)]
pub(crate) struct Pulse(Arc<watch::Sender<Option<Instant>>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Pulse {
    /// The agent lives, and will say so again within `lease`.
    pub(crate) fn beat(&self, lease: Duration) {
        self.0.send_replace(Some(Instant::now() + lease));
    }
}

/// Looks after the agent of this node until stopped.
pub(crate) async fn watch(source: EdgeSource, mut stop: Stop) {
    tokio::select! {
        () = stop.wait() => {}
        () = listen(&source) => {}
    }
}

async fn listen(source: &EdgeSource) {
    let mut pulse = source.pulse.0.subscribe();
    loop {
        let until = *pulse.borrow_and_update();
        let silent = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            beat = pulse.changed() => {
                if beat.is_err() {
                    return;
                }
                continue;
            }
            () = silent => {}
        }
        while !say_silent(source).await {
            let beat = tokio::time::timeout(RETRY, pulse.changed()).await;
            if beat.is_ok() {
                break;
            }
        }
        // The agent says itself how the node is, when it is back.
        if pulse.changed().await.is_err() {
            return;
        }
    }
}

/// Says that nothing is known of the node any more. `false`: to be said later.
async fn say_silent(source: &EdgeSource) -> bool {
    let found = source.view.read(|objects| {
        let entry = objects.get(&Resource::core("nodes"), "", source.node.as_str())?;
        Some((entry.key().clone(), entry.modified(), entry.object()))
    });
    let Some((key, revision, mut node)) = found else {
        return true;
    };
    if !silence(&mut node, &format_time(SystemClock.now())) {
        return true;
    }
    let write = Write {
        key,
        expected: Expected::At(revision),
        change: Change::Status(node),
    };
    match source.commit(write).await {
        Ok(_) => {
            tracing::warn!(node = %source.node, "the node agent has fallen silent");
            true
        }
        Err(error) => {
            tracing::debug!(error = %error_chain(&error), "the silence of the node agent is told later");
            false
        }
    }
}

/// Makes `Ready` unknown; `false` when it is that already, or was never told.
fn silence(node: &mut Value, now: &str) -> bool {
    let conditions = node
        .get_mut("status")
        .and_then(|status| status.get_mut("conditions"))
        .and_then(Value::as_array_mut);
    let mut conditions = conditions.into_iter().flatten();
    let Some(ready) = conditions.find(|one| one.get("type") == Some(&json!("Ready"))) else {
        return false;
    };
    if ready.get("status") == Some(&json!("Unknown")) {
        return false;
    }
    *ready = json!({
        "type": "Ready",
        "status": "Unknown",
        "reason": "NodeAgentSilent",
        "message": "the node agent gives no heartbeats; its pods may go on running",
        "lastTransitionTime": now,
        "lastHeartbeatTime": now,
    });
    true
}

#[cfg(test)]
mod tests;
