//! The chart, installed with the least rights that the cluster knows, and objects of any size: what
//! is too large for one end is told of, and everything else goes on.

use std::path::Path;
use std::process::Command;

use causeway_simulator::proxy::CutMode;
use serde_json::{Value, json};

use super::Cluster;
use crate::world::*;

const MAPS: &str = "/apis/shops.example.com/v1/namespaces/default/maps";

/// A kind whose objects nodes subscribe to and may write.
const KIND: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: maps.shops.example.com}
spec:
  group: shops.example.com
  scope: Namespaced
  names: {plural: maps, singular: map, kind: Map}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: maps-of-nodes}
rules:
  - apiGroups: [shops.example.com]
    resources: [maps]
    verbs: [get, create, patch, delete]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: maps-of-nodes}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: maps-of-nodes}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: system:nodes}]
";

/// What `helm install` applies.
fn chart(cluster: &Cluster) -> String {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/chart");
    let version = cluster.kubectl(&["version", "--output=json"]);
    let version: Value = serde_json::from_str(&version).unwrap();
    let output = Command::new(cluster.plane.binaries().path("helm"))
        .args(["template", "causeway", "--namespace=causeway"])
        .arg("--kube-version")
        .arg(version["serverVersion"]["gitVersion"].as_str().unwrap())
        .args([
            "--set",
            "rbac.customResources[0].apiGroups={shops.example.com}",
        ])
        .args(["--set", "rbac.customResources[0].resources={maps}"])
        .arg(chart)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What kubectl with the rights of the deployment says when it is somebody else.
fn said_as(cluster: &Cluster, user: &str) -> String {
    let kubeconfig = cluster.kubeconfig();
    let mut kubectl = Command::new(cluster.plane.binaries().path("kubectl"));
    kubectl.arg("--kubeconfig").arg(kubeconfig);
    let read = ["get", "--raw", "/api/v1/namespaces/default/pods"];
    let output = kubectl.args(["--as", user]).args(read).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn map(name: &str, bytes: usize) -> Value {
    json!({
        "apiVersion": "shops.example.com/v1", "kind": "Map",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"text": "x".repeat(bytes)},
    })
}

fn text_bytes(object: &Value) -> usize {
    object["spec"]["text"].as_str().map_or(0, str::len)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_with_narrow_rights_carries_objects_of_any_size() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    cluster.apply(&chart(&cluster));
    cluster.apply(KIND);
    let as_controller = said_as(&cluster, "system:kube-controller-manager");
    assert!(
        as_controller.contains("cannot impersonate"),
        "{as_controller}"
    );
    let mut world = cluster.cloud(&cluster.kubeconfig());
    world.cloud_ready().await;
    world.add_edge("edge-1").await;
    cluster.node_is("edge-1", "True").await;
    let subscribe = "causeway.dev/subscribe=shops.example.com";
    cluster.kubectl(&["annotate", "node", "edge-1", subscribe]);

    // More than 1 MiB, in both directions.
    create(&cluster.api, MAPS, &map("shop", 1_200_000)).await;
    let mut large = config_map("large", &"\n".repeat(1_000_000));
    large["metadata"]["annotations"] = json!({"note": "n".repeat(200_000)});
    create(&cluster.api, CONFIG_MAPS, &large).await;
    let script = "while true; do sleep 1; done";
    let reader = pod("reader", "edge-1", script, &["large", "huge"]);
    create(&cluster.api, PODS, &reader).await;
    let (edge, shop) = (world.edge().http(), format!("{MAPS}/shop"));
    seen(&edge, &shop, "all of it", |map| {
        text_bytes(map) == 1_200_000
    })
    .await;
    seen(
        &edge,
        &format!("{CONFIG_MAPS}/large"),
        "all of it",
        |held| {
            held["data"] == large["data"]
                && held["metadata"]["annotations"]["note"] == "n".repeat(200_000)
        },
    )
    .await;
    let grown = |bytes: usize| json!({"spec": {"text": "y".repeat(bytes)}});
    edge.merge_patch(&shop, &grown(1_300_000)).await.unwrap();
    seen(&cluster.api, &shop, "what the edge wrote", |map| {
        text_bytes(map) == 1_300_000
    })
    .await;
    faster_than_the_link(&cluster, &world).await;
    too_large(&cluster, &mut world).await;
}

/// An application writes again and again before it is answered: only some of its requests travel,
/// and none is in conflict with those before it.
async fn faster_than_the_link(cluster: &Cluster, world: &World) {
    let (edge, fast) = (&world.edges[0], format!("{MAPS}/fast"));
    let (link, edge) = (&edge.link, edge.http());
    create(&cluster.api, MAPS, &map("fast", 10)).await;
    seen(&edge, &fast, "it is there", |map| text_bytes(map) == 10).await;
    let count = |count: u32| json!({"spec": {"count": count}});
    link.cut(CutMode::ToEdge);
    edge.merge_patch(&fast, &count(1)).await.unwrap();
    seen(&cluster.api, &fast, "the first write", |map| {
        map["spec"]["count"] == 1
    })
    .await;
    link.cut(CutMode::Reset);
    for write in 2..=20 {
        edge.merge_patch(&fast, &count(write)).await.unwrap();
    }
    link.heal();
    for api in [&cluster.api, &edge] {
        seen(api, &fast, "the last write, answered", |map| {
            let pending = &map["metadata"]["annotations"]["causeway.dev/pending"];
            map["spec"]["count"] == 20 && pending.is_null()
        })
        .await;
    }
    let log = std::fs::read_to_string(world.scratch().join("cloud.log")).unwrap();
    let about: Vec<_> = log
        .lines()
        .filter(|line| line.contains("default/fast"))
        .collect();
    assert_eq!(about.len(), 2, "the first and the last: {about:#?}");
}

/// What one end does not take is told of by name, and stops nothing.
async fn too_large(cluster: &Cluster, world: &mut World) {
    let (edge, shop) = (world.edge().http(), format!("{MAPS}/shop"));
    let grown = |bytes: usize| json!({"spec": {"text": "y".repeat(bytes)}});
    // More than the store of the cluster takes, though its API would.
    edge.merge_patch(&shop, &grown(1_800_000)).await.unwrap();
    let refused = seen(&edge, &shop, "refused", |map| {
        map["metadata"]["annotations"]["causeway.dev/rejected"].is_string()
    })
    .await;
    let reason = &refused["metadata"]["annotations"]["causeway.dev/rejected"];
    assert!(
        reason
            .as_str()
            .unwrap()
            .contains("takes no object this large"),
        "{reason}"
    );
    assert_eq!(text_bytes(&refused), 1_300_000, "what the cluster has");
    // More than the edge takes.
    let error = edge
        .merge_patch(&shop, &grown(3_300_000))
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(http::StatusCode::PAYLOAD_TOO_LARGE));
    // More than is delivered: each of these is six letters of JSON; the API takes 3 MiB at a time.
    let letters = "\u{1}".repeat(400_000);
    create(&cluster.api, CONFIG_MAPS, &config_map("huge", &letters)).await;
    let more = json!({"data": {"more": letters}});
    let huge = format!("{CONFIG_MAPS}/huge");
    cluster.api.merge_patch(&huge, &more).await.unwrap();
    let cloud = world.cloud.http();
    seen(&cloud, "/causeway/v1/status", "huge is named", |status| {
        status["kubernetes"]["too_large"][0]["name"] == "huge"
    })
    .await;
    edge.merge_patch(&shop, &grown(10)).await.unwrap();
    seen(&cluster.api, &shop, "what the edge wrote", |map| {
        text_bytes(map) == 10
    })
    .await;
    create(&cluster.api, MAPS, &map("after", 10)).await;
    seen(&edge, &format!("{MAPS}/after"), "all of it", |map| {
        text_bytes(map) == 10
    })
    .await;
    world.converged().await;
}
