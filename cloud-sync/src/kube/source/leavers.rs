//! Forgets the streams of nodes that left the cluster.

use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::tasks::Stop;
use causeway_kube_api::View;
use causeway_log::{Direction, NodeName, Resource, Store, StreamId};
use tokio::sync::oneshot;

use super::feed::Ended;
use crate::cluster::{Request, Requests, is_complete};
use crate::hub::{Hub, Presence};

/// How often it is looked who left.
const INTERVAL: Duration = Duration::from_secs(60);
/// A node that is not in the cluster is forgotten after this long without a session. Should it come
/// back, that costs a reconcile.
const AGE: Duration = Duration::from_secs(3600);

/// See the module documentation.
#[derive(Clone, Debug)]
pub(crate) struct Leavers {
    pub(crate) view: View,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) writer: Requests,
}

impl Leavers {
    /// Forgets them until stopped.
    pub(crate) async fn run(self, mut stop: Stop) {
        loop {
            tokio::select! {
                biased;
                () = stop.wait() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            if self.forget().await.is_err() {
                return;
            }
        }
    }

    /// Forgets whoever left long ago.
    async fn forget(&self) -> Result<(), Ended> {
        for node in self.leavers() {
            let (answer, answered) = oneshot::channel();
            let node_asked = node.clone();
            let request = Request::Forget { node, answer };
            self.writer.send(request).await.map_err(|_| Ended)?;
            // Whoever still holds something is looked at again.
            if let Ok(Ok(true)) = answered.await {
                self.hub.forget(&node_asked);
                tracing::info!(node = %node_asked, "forgot a node that left the cluster");
            }
        }
        Ok(())
    }

    fn leavers(&self) -> Vec<NodeName> {
        // Who is in the cluster is known of one that was seen.
        if !is_complete(&self.view) {
            return Vec::new();
        }
        let nodes = Resource::core("nodes");
        let is_in_cluster = |node: &NodeName| {
            let found = |objects: &causeway_projections::Objects| {
                objects.get(&nodes, "", node.as_str()).is_some()
            };
            self.view.read(found)
        };
        let is_away = |node: &NodeName| {
            let presence = self.hub.presence(node);
            matches!(presence, Presence::Away { lasting } if lasting >= AGE)
        };
        let streams = self.store.streams().unwrap_or_default().into_iter();
        let known = streams.filter_map(|stream| match stream {
            StreamId::Node(node, Direction::Down) => Some(node),
            StreamId::Node(_, Direction::Up) | StreamId::Cluster => None,
        });
        known
            .filter(|node| is_away(node) && !is_in_cluster(node))
            .collect()
    }
}

#[cfg(test)]
mod tests;
