//! Looking at everything: what the nodes say of themselves, and what really runs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use causeway_kube_api::client::{Client, ListOptions, PODS};
use causeway_log::NodeName;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::runtime::{self, Living};
use super::site::Site;
use crate::scenario::{Ends, Held};
use crate::world::NodeState;

/// Looks closer together than this show the same.
const FRESH: Duration = Duration::from_millis(150);
/// Who does not answer by then does not serve.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Sights {
    at: Option<Instant>,
    pub(super) nodes: BTreeMap<NodeName, Sight>,
    /// Since when nothing has changed.
    pub(super) unchanged: Option<Instant>,
    /// The names of the containers of pods, by uid, as the API said last.
    specs: BTreeMap<String, Vec<String>>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sight {
    pub(super) state: NodeState,
    /// The pods that its API shows; none while it does not answer.
    pub(super) pods: Option<Vec<Value>>,
}

/// What a node's API says.
#[derive(Debug, Default)]
struct Answers {
    connected: bool,
    pods: Option<Vec<Value>>,
}

impl Sights {
    /// Looks, unless the last look was a moment ago.
    pub(super) async fn look(&mut self, site: &Site) {
        if self.at.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        let mut answers = ask_all(site).await;
        let living = Living::look();
        let mut changed = false;
        for node in &site.nodes {
            let Answers { connected, pods } = answers.remove(&node.name).unwrap_or_default();
            for pod in pods.iter().flatten() {
                self.remember(pod);
            }
            let specs = &self.specs;
            let state = NodeState {
                connected,
                edge_running: node.sync.runs(),
                edged_running: node.kubelet.runs(),
                serving: pods.is_some(),
                pods: runtime::pods(&node.kubelet.dir, &living, |uid| specs.get(uid).cloned()),
            };
            let sight = Sight { state, pods };
            if self.nodes.get(&node.name) != Some(&sight) {
                changed = true;
                self.nodes.insert(node.name.clone(), sight);
            }
        }
        let now = Instant::now();
        if changed || self.unchanged.is_none() {
            self.unchanged = Some(now);
        }
        self.at = Some(now);
    }

    /// What was seen is past: something was done.
    pub(super) const fn forget(&mut self) {
        self.at = None;
        self.unchanged = None;
    }

    fn remember(&mut self, pod: &Value) {
        let Some(uid) = pod["metadata"]["uid"].as_str() else {
            return;
        };
        if self.specs.contains_key(uid) {
            return;
        }
        let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        let names = containers.filter_map(|container| container["name"].as_str());
        let names = names.map(ToOwned::to_owned).collect();
        self.specs.insert(uid.to_owned(), names);
    }
}

/// Asks every node that can answer, all at once.
async fn ask_all(site: &Site) -> BTreeMap<NodeName, Answers> {
    let mut asked = JoinSet::new();
    for node in site.nodes.iter().filter(|node| node.sync.runs()) {
        let (name, api) = (node.name.clone(), node.api.clone());
        asked.spawn(async move { (name, ask(&api).await) });
    }
    asked.join_all().await.into_iter().collect()
}

async fn ask(api: &Client) -> Answers {
    let status = timeout(ANSWER_WITHIN, api.get_path("/causeway/v1/status")).await;
    let status = status.ok().and_then(Result::ok).unwrap_or_default();
    let options = ListOptions::default();
    let pods = timeout(ANSWER_WITHIN, api.list_all(&PODS, "", &options)).await;
    Answers {
        connected: status["link"]["state"] == "connected",
        pods: pods.ok().and_then(Result::ok).map(|list| list.items),
    }
}

/// What both ends hold of a node's streams; none while one of them does not say.
pub(super) async fn streams(cloud: &Client, edge: &Client, node: &NodeName) -> Option<[Ends; 2]> {
    let path = format!("/causeway/v1/nodes/{node}/digest?entries=true");
    let cloud = timeout(ANSWER_WITHIN, cloud.get_path(&path)).await;
    let edge = timeout(ANSWER_WITHIN, edge.get_path(&path)).await;
    let (cloud, edge) = (cloud.ok()?.ok()?, edge.ok()?.ok()?);
    let ends = |direction| {
        Some(Ends {
            direction,
            cloud: held(&cloud[direction])?,
            edge: held(&edge[direction])?,
        })
    };
    Some([ends("down")?, ends("up")?])
}

fn held(stream: &Value) -> Option<Held> {
    let text = |value: &Value, pointer: &str| {
        let text = value.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let mut keys = BTreeMap::new();
    for entry in stream["entries"].as_array()? {
        let [resource, namespace, name] =
            ["/key/resource", "/key/namespace", "/key/name"].map(|pointer| text(entry, pointer));
        let separator = if namespace.is_empty() { "" } else { "/" };
        let uid: String = text(entry, "/key/uid").chars().take(8).collect();
        let slot = text(entry, "/slot");
        let hash: String = text(entry, "/hash").chars().take(12).collect();
        keys.insert(
            format!("{resource}/{namespace}{separator}{name} ({uid}) {slot}"),
            format!("v{} {hash}", entry["version"]),
        );
    }
    Some(Held {
        epoch: text(stream, "/epoch"),
        keys,
    })
}
