//! A pod goes down together with what it names, so that its node need not wait for a second batch:
//! what the mirror does not have of that is asked for before the pod is handed in.

use std::collections::BTreeSet;
use std::time::Duration;

use causeway_kube_api::View;
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::Value;

use super::asker::Asker;
use crate::cluster::Seen;
use crate::interest::{Name, pod_references};

/// Pods wait this long; what came too late comes after them.
const PATIENCE: Duration = Duration::from_secs(1);
/// Questions under way at a time.
const QUESTIONS_MAX: usize = 16;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Needs {
    pub(super) asker: Asker,
    pub(super) view: View,
}

impl Needs {
    /// Adds what the pods among `seen` name and the mirror does not have. Gives its size in bytes.
    pub(super) async fn add_to(&self, seen: &mut Vec<Seen>) -> usize {
        let names = self.missing(seen);
        if names.is_empty() {
            return 0;
        }
        let mut answers = stream::iter(names)
            .map(|name| async move { self.asker.object(&name).await })
            .buffer_unordered(QUESTIONS_MAX);
        let mut bytes = 0;
        let all = async {
            while let Some(answer) = answers.next().await {
                // What cannot be asked for now is wanted by the machine, and asked for again.
                if let Ok(Some((present, size))) = answer {
                    bytes += size;
                    seen.push(present);
                }
            }
        };
        let _ = tokio::time::timeout(PATIENCE, all).await;
        bytes
    }

    fn missing(&self, seen: &[Seen]) -> BTreeSet<Name> {
        let mut names = BTreeSet::new();
        self.view.read(|objects| {
            let is_here = |name: &Name| {
                objects
                    .get(&name.resource, &name.namespace, &name.name)
                    .is_some()
            };
            for seen in seen {
                let Seen::Present { key, object, .. } = seen else {
                    continue;
                };
                let node = object.get("spec").and_then(|spec| spec.get("nodeName"));
                let Some(node) = node.and_then(Value::as_str) else {
                    continue;
                };
                let node = Name {
                    resource: causeway_log::Resource::core("nodes"),
                    namespace: "".into(),
                    name: node.into(),
                };
                // A pod that is here already brought what it names.
                if is_here(&node) && !is_here(&Name::of(key)) {
                    names.extend(
                        pod_references(key, object)
                            .into_iter()
                            .filter(|n| !is_here(n)),
                    );
                }
            }
        });
        names.retain(|name| self.asker.can_ask(&name.resource));
        names
    }
}
