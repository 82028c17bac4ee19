//! The whole road on a real Kubernetes cluster: its scheduler and controllers, the deployment's own
//! manifests and rights, edges on links that can be cut.
//!
//! The programs of the control plane are built by `cargo xtask k8s build`; where they never were,
//! these tests pass and say that they did nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use causeway_simulator::http::Http;
use causeway_testbed::{Binaries, ControlPlane, FaultyApi, Options};
use serde_json::Value;

use crate::world::*;

mod clients;
mod credentials;
mod devices;
mod kubelet;
mod narrow;
mod outages;
mod story;

/// A node is `Unknown` when its lease is so old; leases are renewed every ten seconds.
const NODE_GRACE: Duration = Duration::from_secs(14);
/// Pods that were given no tolerations leave such a node so soon.
const EVICTION_AFTER: Duration = Duration::from_secs(2);

/// A control plane with cloud-sync's manifests applied, and a proxy before it that may do wrong.
pub(crate) struct Cluster {
    pub(crate) plane: ControlPlane,
    pub(crate) proxy: FaultyApi,
    /// As the administrator.
    pub(crate) api: Http,
    /// Its state; gone with the test.
    scratch: tempfile::TempDir,
}

impl Cluster {
    /// `None` where the programs are not built.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = Binaries::find().unwrap() else {
            println!("skipped: no control plane is built here (cargo xtask k8s build)");
            return None;
        };
        let scratch = tempfile::tempdir().unwrap();
        let options = Options {
            node_grace: Some(NODE_GRACE),
            eviction_after: Some(EVICTION_AFTER),
            ..Options::default()
        };
        let cluster = tokio::task::block_in_place(|| {
            let dir = scratch.path().join("cluster");
            let plane = ControlPlane::start(programs, &dir, options).unwrap();
            plane.apply(&manifests()).unwrap();
            let proxy = FaultyApi::start(&plane).unwrap();
            (plane, proxy)
        });
        let (plane, proxy) = cluster;
        let api = Http::tcp(proxy.plain());
        Some(Self {
            plane,
            proxy,
            api,
            scratch,
        })
    }

    /// A kubeconfig of exactly what the deployment lets cloud-sync do, through the proxy.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        tokio::task::block_in_place(|| {
            self.proxy
                .kubeconfig_of_account(&self.plane, "causeway", "cloud-sync")
                .unwrap()
        })
    }

    /// A cloud for this cluster, started but not waited for.
    pub(crate) fn cloud(&self, kubeconfig: &Path) -> World {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("cloud");
        let more = [
            "--kubernetes".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
        ];
        World::begin(scratch, dir, &more)
    }

    /// What kubectl says.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        tokio::task::block_in_place(|| self.plane.kubectl(arguments).unwrap())
    }

    /// Applies manifests.
    pub(crate) fn apply(&self, manifests: &str) {
        tokio::task::block_in_place(|| self.plane.apply(manifests).unwrap());
    }

    /// Waits until the cluster sees a node `Ready` so.
    pub(crate) async fn node_is(&self, name: &str, status: &str) {
        let path = format!("/api/v1/nodes/{name}");
        let what = format!("Ready is {status}");
        seen(&self.api, &path, &what, |node| ready(node) == status).await;
    }

    /// A directory of this cluster for other things.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }
}

/// What is deployed, as users apply it.
fn manifests() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/causeway.yaml");
    std::fs::read_to_string(path).unwrap()
}

/// The status of a node's condition `Ready`.
pub(crate) fn ready(node: &Value) -> &str {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|one| one["type"] == "Ready");
    found.and_then(|one| one["status"].as_str()).unwrap_or("")
}

/// Namespace, name and uid of the pods of a list that run or will on a node.
pub(crate) fn pods_on(list: &Value, node: &str) -> Vec<String> {
    let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    let mut pods: Vec<String> = items
        .iter()
        .filter(|pod| pod["spec"]["nodeName"] == node)
        .map(|pod| {
            let text = |field: &str| {
                pod["metadata"][field]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            format!("{}/{} {}", text("namespace"), text("name"), text("uid"))
        })
        .collect();
    pods.sort();
    pods
}
