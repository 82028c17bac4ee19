//! What nodes need of a real cluster, while everything goes wrong with its API server.

use std::path::PathBuf;

use causeway_kube_api::client::{CONFIGMAPS, PODS};
use causeway_testbed::pki::Validity;
use causeway_testbed::{Component, Faults, FaultyApi, Options};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Plane;
use crate::site::{RunningCloud, RunningEdge, when};

/// A role that may read everything but secrets.
const NO_SECRETS: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: half, namespace: causeway}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: half}
rules:
- apiGroups: [""]
  resources: [nodes, pods, namespaces, configmaps, serviceaccounts, services, persistentvolumes,
    persistentvolumeclaims]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io, apiextensions.k8s.io]
  resources: ["*"]
  verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: half}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: half}
subjects: [{kind: ServiceAccount, name: half, namespace: causeway}]
"#;

struct Site {
    plane: Plane,
    faulty: FaultyApi,
    kubeconfig: PathBuf,
    cloud: RunningCloud,
    edge: RunningEdge,
}

fn manifests(pod: &str) -> String {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "s1",
        "labels": {"node-role.kubernetes.io/edge": ""}}});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "menu", "namespace": "default"}, "data": {"today": "soup"}});
    let secret = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "vault", "namespace": "default"}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": pod, "namespace": "default"}, "spec": {"nodeName": "s1",
            "containers": [{"name": "c", "image": "i",
                "envFrom": [{"configMapRef": {"name": "menu"}}]}]}});
    format!("{node}\n---\n{map}\n---\n{secret}\n---\n{pod}\n")
}

/// Runs something that blocks, such as kubectl.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

impl Site {
    async fn start() -> Option<Self> {
        let plane = Plane::start(Options::default()).await?;
        let (plane, faulty, kubeconfig) = blocking(move || {
            let faulty = FaultyApi::start(&plane.plane).unwrap();
            let kubeconfig = faulty.kubeconfig_of_account(&plane.plane, "causeway", "cloud-sync");
            plane.plane.apply(&manifests("till")).unwrap();
            (plane, faulty, kubeconfig.unwrap())
        })
        .await;
        let cloud = RunningCloud::serve(plane.dir.path(), kubeconfig.clone(), None).await;
        let edge = RunningEdge::start("s1", cloud.sync);
        Some(Self {
            plane,
            faulty,
            kubeconfig,
            cloud,
            edge,
        })
    }

    fn set(&self, data: &str) {
        let patch = json!({"data": {"today": data}}).to_string();
        let patched = self
            .plane
            .plane
            .kubectl(&["patch", "configmap", "menu", "-p", &patch]);
        patched.unwrap();
    }

    async fn reads(&self, data: &str) {
        when(&self.edge.client, CONFIGMAPS, "default", |maps| {
            maps.get("menu")
                .filter(|map| map["data"]["today"] == data)
                .map(|_| ())
        })
        .await;
    }

    async fn head(&self) -> Value {
        self.cloud.node_status("s1").await["down"]["head"].clone()
    }

    /// Stops the cloud and starts it again on the same disk and addresses.
    async fn restart_cloud(self) -> Self {
        let Self {
            plane,
            faulty,
            kubeconfig,
            cloud,
            edge,
        } = self;
        let sync = cloud.sync;
        cloud.stop().await;
        let cloud = RunningCloud::serve(plane.dir.path(), kubeconfig.clone(), Some(sync)).await;
        Self {
            plane,
            faulty,
            kubeconfig,
            cloud,
            edge,
        }
    }
}

/// Waits until all kinds were listed and are followed without trouble.
async fn is_followed(cloud: &RunningCloud) {
    cloud
        .kubernetes_when(|kubernetes| {
            let kinds = kubernetes["kinds"].as_array()?;
            let fine = |kind: &Value| {
                kind["condition"] == "following"
                    && kind["trouble"].is_null()
                    && kind["lists"].as_u64() > Some(0)
            };
            (kinds.len() > 5 && kinds.iter().all(fine)).then_some(())
        })
        .await;
}

/// What keeps a kind from being followed.
async fn trouble_of(cloud: &RunningCloud, resource: &str) -> Value {
    cloud
        .kubernetes_when(|kubernetes| {
            let mut kinds = kubernetes["kinds"].as_array()?.iter();
            let kind = kinds.find(|kind| kind["resource"] == resource)?;
            (!kind["trouble"].is_null()).then(|| kind["trouble"].clone())
        })
        .await
}

/// One control plane for all of it: starting one is most of the time that this takes.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_have_what_they_need_whatever_happens_to_the_api_server() {
    let Some(site) = Site::start().await else {
        return;
    };
    when(&site.edge.client, PODS, "", |pods| {
        pods.get("till").map(|_| ())
    })
    .await;
    site.reads("soup").await;
    let site = a_restart_sends_nothing_again(site).await;
    let site = a_slow_server_is_waited_for(site).await;
    let mut site = a_quarter_of_all_requests_fails(site).await;
    the_server_restarts_with_a_compacted_history(&mut site).await;
    what_may_not_be_read_is_named_and_the_rest_goes_on(&site).await;
    credentials_that_expired_are_named(&site).await;
    another_cluster_takes_the_place(&mut site).await;
    site.edge.stop().await;
    site.cloud.stop().await;
}

async fn a_restart_sends_nothing_again(site: Site) -> Site {
    is_followed(&site.cloud).await;
    let before = settled_head(&site).await;
    let site = site.restart_cloud().await;
    is_followed(&site.cloud).await;
    assert_eq!(site.head().await, before);
    site
}

/// The head once the node has everything and the tokens of its pod are there.
async fn settled_head(site: &Site) -> Value {
    let done = |node: &Value| node["down"]["lag"] == 0 && node["connected"] == true;
    let node = site.cloud.node_status_when("s1", done).await;
    node["down"]["head"].clone()
}

async fn a_slow_server_is_waited_for(site: Site) -> Site {
    let slow = Faults {
        delay_ms: 1500,
        ..Faults::default()
    };
    site.faulty.set(&slow).unwrap();
    let site = site.restart_cloud().await;
    // Served from the disk meanwhile.
    site.cloud
        .node_status_when("s1", |node| node["connected"] == true)
        .await;
    site.set("slow soup");
    site.reads("slow soup").await;
    is_followed(&site.cloud).await;
    site.faulty.set(&Faults::default()).unwrap();
    site
}

/// Of a half, one run in fifty would have so many in a row that the pauses between them are longer than
/// anybody waits here.
async fn a_quarter_of_all_requests_fails(mut site: Site) -> Site {
    for (status, retry_after) in [(429, 1), (500, 0), (503, 0)] {
        let faults = Faults {
            status,
            retry_after,
            percent: 25,
            ..Faults::default()
        };
        site.faulty.set(&faults).unwrap();
        site = site.restart_cloud().await;
        let soup = format!("soup in spite of {status}");
        site.set(&soup);
        site.reads(&soup).await;
    }
    site.faulty.set(&Faults::default()).unwrap();
    is_followed(&site.cloud).await;
    let pods = site
        .edge
        .client
        .find(&PODS, "default", "till")
        .await
        .unwrap();
    assert!(pods.is_some(), "nothing was taken for gone");
    site
}

async fn the_server_restarts_with_a_compacted_history(site: &mut Site) {
    site.plane
        .plane
        .stop_component(Component::ApiServer)
        .unwrap();
    let pods = trouble_of(&site.cloud, "pods").await;
    assert!(
        ["unreachable", "busy"].contains(&pods["class"].as_str().unwrap()),
        "{pods}"
    );
    site.plane
        .plane
        .start_component(Component::ApiServer)
        .unwrap();
    site.plane.plane.ready().unwrap();
    site.set("new soup");
    site.plane.plane.compact().unwrap();
    site.reads("new soup").await;
    is_followed(&site.cloud).await;
    let pods = site
        .edge
        .client
        .find(&PODS, "default", "till")
        .await
        .unwrap();
    assert!(pods.is_some(), "nothing was taken for gone");
}

async fn what_may_not_be_read_is_named_and_the_rest_goes_on(site: &Site) {
    site.plane.plane.apply(NO_SECRETS).unwrap();
    let half = site
        .plane
        .plane
        .kubeconfig_of_account("causeway", "half")
        .unwrap();
    let dir = TempDir::new().unwrap();
    let cloud = RunningCloud::serve(dir.path(), half, None).await;
    let trouble = trouble_of(&cloud, "secrets").await;
    assert_eq!(trouble["class"], "forbidden", "{trouble}");
    let words = trouble["message"].as_str().unwrap();
    assert!(
        words.contains("cannot watch resource \"secrets\""),
        "{words}"
    );
    assert_eq!(trouble["verb"], "watch");
    let edge = RunningEdge::start("s1", cloud.sync);
    when(&edge.client, PODS, "", |pods| pods.get("till").map(|_| ())).await;
    let remark = cloud.readiness().await.unwrap();
    assert!(remark.contains("secrets"), "{remark}");
    edge.stop().await;
    cloud.stop().await;
}

async fn credentials_that_expired_are_named(site: &Site) {
    let plane = &site.plane.plane;
    let expired = plane
        .kubeconfig_of("late", "system:masters", Validity::Expired)
        .unwrap();
    let dir = TempDir::new().unwrap();
    let cloud = RunningCloud::serve(dir.path(), expired, None).await;
    let trouble = trouble_of(&cloud, "nodes").await;
    assert!(
        ["credentials", "unreachable"].contains(&trouble["class"].as_str().unwrap()),
        "{trouble}"
    );
    let why = cloud.readiness().await.unwrap_err();
    assert!(why.contains("never seen whole"), "{why}");
    cloud.stop().await;
}

async fn another_cluster_takes_the_place(site: &mut Site) {
    let epoch = site.cloud.node_status("s1").await["down"]["epoch"].clone();
    site.plane.plane.wipe().unwrap();
    // Accounts are made anew, and their tokens with them.
    site.plane.plane.apply(&super::deployment()).unwrap();
    let renewed = site
        .faulty
        .kubeconfig_of_account(&site.plane.plane, "causeway", "cloud-sync");
    assert_eq!(renewed.unwrap(), site.kubeconfig);
    site.plane.plane.apply(&manifests("bar")).unwrap();
    site.cloud
        .node_status_when("s1", |node| node["down"]["epoch"] != epoch)
        .await;
    when(&site.edge.client, PODS, "", |pods| {
        (pods.len() == 1 && pods.contains_key("bar")).then_some(())
    })
    .await;
    site.reads("soup").await;
}
