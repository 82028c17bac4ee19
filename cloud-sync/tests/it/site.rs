//! A cloud and its edges, on one machine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use causeway_cloud_sync::config::Plane;
use causeway_cloud_sync::{Cloud, CloudConfig, start, start_on};
use causeway_daemon::tasks::{Shutdown, Task, spawn};
use causeway_daemon::ws::SyncUrl;
use causeway_edge_sync::EdgeConfig;
use causeway_kube_api::client::{Client, Gvr, ListOptions, Reflected};
use causeway_log::{NodeName, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Far more than anything here takes.
const DEADLINE: Duration = Duration::from_secs(90);

/// A running cloud.
pub(crate) struct RunningCloud {
    pub(crate) client: Client,
    pub(crate) api: SocketAddr,
    pub(crate) sync: SocketAddr,
    stop: Shutdown,
    task: Task,
}

/// A running edge.
pub(crate) struct RunningEdge {
    pub(crate) client: Client,
    stop: Shutdown,
    task: Task,
    dir: Option<TempDir>,
}

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn config(dir: &Path, sync: Option<SocketAddr>) -> CloudConfig {
    let mut config = CloudConfig::new(dir);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    config.api_listen = any;
    config.sync_listen = sync.unwrap_or(any);
    config.control.node_grace = Duration::from_millis(200);
    config
}

impl RunningCloud {
    /// A cloud on a directory, at a given sync address or at any.
    pub(crate) async fn start(dir: &Path, sync: Option<SocketAddr>) -> Self {
        let stop = Shutdown::new();
        let cloud = start(config(dir, sync), stop.clone()).await.unwrap();
        Self::of(cloud, stop)
    }

    /// A cloud on a directory, whose API is at a given address.
    pub(crate) async fn start_at(dir: &Path, api: SocketAddr) -> Self {
        let stop = Shutdown::new();
        let mut config = config(dir, None);
        config.api_listen = api;
        Self::of(start(config, stop.clone()).await.unwrap(), stop)
    }

    /// A cloud on a store.
    pub(crate) async fn start_on(store: Arc<dyn Store>) -> Self {
        let stop = Shutdown::new();
        let config = config(Path::new("unused"), None);
        let cloud = start_on(store, config, stop.clone()).await.unwrap();
        Self::of(cloud, stop)
    }

    /// A cloud that serves the cluster whose API is at `cluster`.
    pub(crate) async fn mirror(dir: &Path, cluster: SocketAddr, sync: Option<SocketAddr>) -> Self {
        let kubeconfig = dir.join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": format!("http://{cluster}")}}],
            "users": [{"name": "it", "user": {}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        std::fs::write(&kubeconfig, text.to_string()).unwrap();
        Self::serve(dir, kubeconfig, sync).await
    }

    /// A cloud that serves the cluster that a kubeconfig leads to.
    pub(crate) async fn serve(dir: &Path, kubeconfig: PathBuf, sync: Option<SocketAddr>) -> Self {
        Self::serve_only(dir, kubeconfig, sync, None).await
    }

    /// The same, for one cluster and no other.
    pub(crate) async fn serve_only(
        dir: &Path,
        kubeconfig: PathBuf,
        sync: Option<SocketAddr>,
        cluster: Option<uuid::Uuid>,
    ) -> Self {
        let mut config = config(&dir.join("store"), sync);
        config.kubernetes.cluster = cluster;
        config.control.plane = Plane::Kubernetes;
        config.kubernetes.kubeconfig = Some(kubeconfig);
        // Test clusters take a node for lost soon.
        config.kubernetes.lease_renewal = Duration::from_secs(2);
        let stop = Shutdown::new();
        let cloud = start(config, stop.clone()).await.unwrap();
        Self::of(cloud, stop)
    }

    fn of(cloud: Cloud, stop: Shutdown) -> Self {
        let (api, sync) = (cloud.api_address(), cloud.sync_address());
        let task = spawn("cloud", async move { cloud.finished().await.unwrap() });
        Self {
            client: Client::tcp(&api.to_string()),
            api,
            sync,
            stop,
            task,
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.begin();
        assert!(self.task.join().await.is_some());
    }

    /// What the status document says of a node.
    pub(crate) async fn node_status(&self, name: &str) -> Value {
        let status = self.client.get_path("/causeway/v1/status").await.unwrap();
        let nodes = status["nodes"].as_array().unwrap();
        nodes
            .iter()
            .find(|node| node["node"] == name)
            .cloned()
            .unwrap_or_default()
    }

    /// What the status document says of following a cluster, once it is as wanted.
    pub(crate) async fn kubernetes_when<T>(&self, wanted: impl Fn(&Value) -> Option<T>) -> T {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let mut last = Value::Null;
        let wait = async {
            loop {
                look.tick().await;
                let status = self.client.get_path("/causeway/v1/status").await.unwrap();
                last = status["kubernetes"].clone();
                if let Some(found) = wanted(&last) {
                    return found;
                }
            }
        };
        let found = tokio::time::timeout(2 * DEADLINE, wait).await;
        found.unwrap_or_else(|_| panic!("the cluster is followed in time; last seen: {last}"))
    }

    /// Waits until nodes can be served.
    pub(crate) async fn is_ready(&self) {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let wait = async {
            while self.readiness().await.is_err() {
                look.tick().await;
            }
        };
        tokio::time::timeout(DEADLINE, wait)
            .await
            .expect("readiness in time");
    }

    /// What `/readyz` answers.
    pub(crate) async fn readiness(&self) -> Result<String, String> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.api).await.unwrap();
        let request = b"GET /readyz HTTP/1.1\r\nhost: it\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let is_ready = head.starts_with("HTTP/1.1 200");
        if is_ready {
            Ok(body.to_owned())
        } else {
            Err(body.to_owned())
        }
    }

    /// Waits until the status document says something of a node.
    pub(crate) async fn node_status_when(
        &self,
        name: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        let wait = async {
            loop {
                look.tick().await;
                let status = self.node_status(name).await;
                if holds(&status) {
                    return status;
                }
            }
        };
        tokio::time::timeout(DEADLINE, wait)
            .await
            .expect("the status in time")
    }

    /// A Node with a `Ready` condition, as an agent at the edge would register it.
    pub(crate) async fn register(&self, edge: &RunningEdge, name: &str) {
        use causeway_kube_api::client::{NODES, PatchFormat};
        // Its API answers before it dials.
        self.node_status_when(name, |node| node["connected"] == true)
            .await;
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        edge.client.create(&NODES, "", &node).await.unwrap();
        when(&self.client, NODES, "", |nodes| nodes.get(name).cloned()).await;
        // The edge owns the status once the Node is no request any more.
        when(&edge.client, NODES, "", |nodes| {
            nodes.get(name).filter(|n| !is_pending(n)).cloned()
        })
        .await;
        let ready = json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
        edge.client
            .patch_status(&NODES, "", name, PatchFormat::Merge, &ready)
            .await
            .unwrap();
        when(&self.client, NODES, "", |nodes| {
            nodes.get(name).filter(|node| is_ready(node)).map(|_| ())
        })
        .await;
    }
}

pub(crate) fn is_pending(object: &Value) -> bool {
    object["metadata"]["annotations"]["causeway.dev/pending"] == "true"
}

pub(crate) fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    conditions
        .iter()
        .any(|it| it["type"] == "Ready" && it["status"] == "True")
}

impl RunningEdge {
    pub(crate) fn start(name: &str, sync: SocketAddr) -> Self {
        Self::start_in(TempDir::new().unwrap(), name, sync)
    }

    /// Starts it on a disk.
    pub(crate) fn start_in(dir: TempDir, name: &str, sync: SocketAddr) -> Self {
        let url: SyncUrl = format!("ws://{sync}").parse().unwrap();
        let mut config = EdgeConfig::new(node(name), dir.path().to_owned(), Some(url));
        config.api.listen = None;
        let client = Client::unix(&config.api.socket);
        let stop = Shutdown::new();
        let running = causeway_edge_sync::run(config, stop.clone());
        let task = spawn("edge", async move { running.await.unwrap() });
        Self {
            client,
            stop,
            task,
            dir: Some(dir),
        }
    }

    /// Stops it, and starts it again on the same disk.
    pub(crate) async fn restart(self, name: &str, sync: SocketAddr) -> Self {
        Self::start_in(self.halt().await, name, sync)
    }

    /// Stops it; its disk stays.
    pub(crate) async fn halt(mut self) -> TempDir {
        let dir = self.dir.take().unwrap();
        self.stop().await;
        dir
    }

    pub(crate) async fn stop(self) {
        self.stop.begin();
        assert!(self.task.join().await.is_some());
    }
}

/// Waits until the objects of a collection, by name, are as wanted.
pub(crate) async fn when<T>(
    client: &Client,
    gvr: Gvr,
    namespace: &str,
    wanted: impl Fn(&BTreeMap<String, Value>) -> Option<T>,
) -> T {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    let mut reflector = client.reflect(gvr, namespace, ListOptions::default());
    let mut objects = BTreeMap::new();
    let wait = async {
        loop {
            match reflector.next().await {
                Reflected::Replace(all) => {
                    objects = all
                        .into_iter()
                        .map(|object| (name(&object), object))
                        .collect();
                }
                Reflected::Applied(object) => {
                    objects.insert(name(&object), object);
                }
                Reflected::Deleted(object) => {
                    objects.remove(&name(&object));
                }
                Reflected::Interrupted { .. } => continue,
            }
            if let Some(found) = wanted(&objects) {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, wait)
        .await
        .expect("the objects in time")
}
