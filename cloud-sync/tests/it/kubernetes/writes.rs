//! What an edge reports and asks, at a real API server. The test is the node agent.

use std::net::SocketAddr;
use std::time::Duration;

use causeway_kube_api::client::{CONFIGMAPS, DeleteOptions, EVENTS, Gvr, NODES, PODS, PatchFormat};
use causeway_testbed::{Component, Options};
use serde_json::{Value, json};

use super::Plane;
use crate::site::{RunningCloud, RunningEdge, is_pending, is_ready, when};

const TOKENS: Gvr = Gvr::of("causeway.dev", "v1", "serviceaccounttokens");

struct Site {
    plane: Plane,
    cloud: RunningCloud,
    edge: RunningEdge,
    /// A node that stays: a cluster whose nodes are all away evicts nothing anyhow.
    other: RunningEdge,
}

impl Site {
    async fn start() -> Option<Self> {
        let options = Options {
            node_grace: Some(Duration::from_secs(8)),
            eviction_after: Some(Duration::from_secs(5)),
            audit: true,
            ..Options::default()
        };
        let plane = Plane::start(options).await?;
        let kubeconfig = plane
            .plane
            .kubeconfig_of_account("causeway", "cloud-sync")
            .unwrap();
        let cloud = RunningCloud::serve(plane.dir.path(), kubeconfig, None).await;
        let edge = RunningEdge::start("e1", cloud.sync);
        let other = RunningEdge::start("e2", cloud.sync);
        Some(Self {
            plane,
            cloud,
            edge,
            other,
        })
    }

    /// The agent of `e1` registers its Node, and says that it is ready; so does that of `e2`.
    async fn register(&self) {
        let node = self.join(&self.other, "e2").await;
        assert_eq!(node["metadata"]["labels"]["shop"], "7");
        let node = self.join(&self.edge, "e1").await;
        let labels = &node["metadata"]["labels"];
        assert_eq!(labels["node-role.kubernetes.io/edge"], "");
        let promoted = labels.get("node-role.kubernetes.io/master");
        assert_eq!(promoted, None, "no node promotes itself");
    }

    async fn join(&self, edge: &RunningEdge, name: &str) -> Value {
        self.cloud
            .node_status_when(name, |node| node["connected"] == true)
            .await;
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {
            "node-role.kubernetes.io/edge": "", "node-role.kubernetes.io/master": "",
            "shop": "7"}}});
        edge.client.create(&NODES, "", &node).await.unwrap();
        when(&edge.client, NODES, "", |nodes| {
            nodes.get(name).filter(|node| !is_pending(node)).map(|_| ())
        })
        .await;
        let ready = json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
        let format = PatchFormat::Merge;
        edge.client
            .patch_status(&NODES, "", name, format, &ready)
            .await
            .unwrap();
        self.plane
            .when(&["node", name], |node| is_ready(node).then(|| node.clone()))
            .await
    }

    async fn patch_status(&self, gvr: Gvr, namespace: &str, name: &str, patch: &Value) {
        let format = PatchFormat::Merge;
        self.edge
            .client
            .patch_status(&gvr, namespace, name, format, patch)
            .await
            .unwrap();
    }

    /// The agent says that a pod runs; gives the pod as the cluster shows it then.
    async fn run_pod(&self, name: &str) -> Value {
        when(&self.edge.client, PODS, "default", |pods| {
            pods.get(name).map(|_| ())
        })
        .await;
        let running = json!({"status": {"phase": "Running",
            "podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true,
                "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}});
        self.patch_status(PODS, "default", name, &running).await;
        self.plane
            .when(&["pod", name], |pod| {
                (ready_of(pod) == "True").then(|| pod.clone())
            })
            .await
    }
}

fn ready_of(pod: &Value) -> String {
    let conditions = pod["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ready = conditions.into_iter().find(|one| one["type"] == "Ready");
    let status = ready.and_then(|one| one["status"].as_str().map(str::to_owned));
    status.unwrap_or_default()
}

fn pod(name: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": "e1", "containers": [{"name": "c", "image": "i"}]}})
    .to_string()
}

/// One control plane for all of it: starting one is most of the time that this takes.
#[tokio::test(flavor = "multi_thread")]
async fn an_edge_reports_and_asks_at_a_real_api_server() {
    let Some(mut site) = Site::start().await else {
        return;
    };
    site.register().await;
    a_pod_runs_with_token_and_tolerations(&site).await;
    an_event_arrives_once(&site).await;
    requests_are_for_the_api_server_to_decide(&site).await;
    a_pod_ends_and_its_name_begins_anew(&site).await;
    an_outage_of_the_api_server_loses_nothing(&mut site).await;
    let site = a_cut_evicts_nothing_and_is_forgotten(site).await;
    let site = a_node_that_was_deleted_joins_again(site).await;
    writes_are_the_nodes_own(&site);
    site.edge.stop().await;
    site.other.stop().await;
    site.cloud.stop().await;
}

async fn a_pod_runs_with_token_and_tolerations(site: &Site) {
    site.plane.plane.apply(&pod("till")).unwrap();
    let shown = site.run_pod("till").await;
    assert_eq!(shown["status"]["qosClass"], "BestEffort", "kept");
    assert_eq!(shown["status"]["podIPs"], json!([{"ip": "10.1.2.3"}]));
    let uid = shown["metadata"]["uid"].as_str().unwrap().to_owned();
    let token = when(&site.edge.client, TOKENS, "default", |tokens| {
        let mut tokens = tokens.values();
        tokens
            .find(|token| token["spec"]["podUid"] == *uid)
            .cloned()
    })
    .await;
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token["token"]}});
    let file = site.plane.dir.path().join("review.json");
    std::fs::write(&file, review.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let review = site
        .plane
        .plane
        .kubectl(&["create", "-o", "json", "-f", file])
        .unwrap();
    let review: Value = serde_json::from_str(&review).unwrap();
    assert_eq!(
        review["status"]["user"]["username"],
        "system:serviceaccount:default:default"
    );
    when(&site.edge.client, CONFIGMAPS, "default", |maps| {
        maps.get("kube-root-ca.crt").map(|_| ())
    })
    .await;
    let armed = |pod: &Value| {
        let tolerations = pod["spec"]["tolerations"].as_array()?;
        let limited = tolerations
            .iter()
            .any(|one| one.get("tolerationSeconds").is_some());
        (tolerations.len() == 2 && !limited).then_some(())
    };
    site.plane.when(&["pod", "till"], armed).await;
}

async fn an_event_arrives_once(site: &Site) {
    let till = site.plane.get(&["pod", "till"]);
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "till.1", "namespace": "default"},
        "reason": "Started", "message": "Started container c", "type": "Normal",
        "source": {"component": "kubelet", "host": "liar"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "till", "uid": till["metadata"]["uid"]}});
    site.edge
        .client
        .create(&EVENTS, "default", &event)
        .await
        .unwrap();
    let of_till = [
        "events",
        "--field-selector",
        "reason=Started,involvedObject.name=till",
    ];
    let found = |list: &Value| {
        list["items"]
            .as_array()
            .filter(|all| !all.is_empty())
            .cloned()
    };
    let events = site.plane.when(&of_till, found).await;
    assert_eq!(
        (events.len(), &events[0]["source"]["host"]),
        (1, &json!("e1"))
    );
}

async fn requests_are_for_the_api_server_to_decide(site: &Site) {
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"soup": "pea"}});
    let edge = &site.edge.client;
    edge.create(&CONFIGMAPS, "default", &map("forbidden"))
        .await
        .unwrap();
    // Without a right to it, it is refused, and goes from the edge again.
    when(edge, CONFIGMAPS, "default", |maps| {
        maps.get("forbidden").is_none().then_some(())
    })
    .await;
    let role = "system:node:e1";
    site.plane
        .plane
        .kubectl(&[
            "create",
            "role",
            "maps",
            "--verb=create,patch,delete",
            "--resource=configmaps",
        ])
        .unwrap();
    site.plane
        .plane
        .kubectl(&[
            "create",
            "rolebinding",
            "maps",
            "--role=maps",
            &format!("--user={role}"),
        ])
        .unwrap();
    let settled = |maps: &std::collections::BTreeMap<String, Value>, soup: &str| {
        let map = maps.get("menu").filter(|map| !is_pending(map))?;
        (map["data"]["soup"] == *soup).then_some(())
    };
    edge.create(&CONFIGMAPS, "default", &map("menu"))
        .await
        .unwrap();
    when(edge, CONFIGMAPS, "default", |maps| settled(maps, "pea")).await;
    let leek = json!({"data": {"soup": "leek"}});
    edge.patch(&CONFIGMAPS, "default", "menu", PatchFormat::Merge, &leek)
        .await
        .unwrap();
    when(edge, CONFIGMAPS, "default", |maps| settled(maps, "leek")).await;
    let shown: Value = serde_json::from_str(
        &site
            .plane
            .plane
            .kubectl(&["get", "cm", "menu", "-o", "json", "--show-managed-fields"])
            .unwrap(),
    )
    .unwrap();
    assert_eq!(shown["data"]["soup"], "leek");
    let managers = shown["metadata"]["managedFields"].as_array().unwrap();
    assert!(
        managers
            .iter()
            .any(|one| one["manager"] == "causeway/e1" && one["operation"] == "Apply")
    );
    edge.delete(&CONFIGMAPS, "default", "menu", &DeleteOptions::default())
        .await
        .unwrap();
    site.plane
        .when(&["cm", "menu"], |map| map.is_null().then_some(()))
        .await;
}

async fn a_pod_ends_and_its_name_begins_anew(site: &Site) {
    let kubectl = |arguments: &[&str]| site.plane.plane.kubectl(arguments).unwrap();
    let first = site.plane.get(&["pod", "till"])["metadata"]["uid"].clone();
    kubectl(&["delete", "pod", "till", "--wait=false"]);
    when(&site.edge.client, PODS, "default", |pods| {
        let pod = pods.get("till")?;
        pod["metadata"]["deletionTimestamp"].as_str().map(|_| ())
    })
    .await;
    let now = DeleteOptions {
        grace_period_seconds: Some(0),
        ..DeleteOptions::default()
    };
    site.edge
        .client
        .delete(&PODS, "default", "till", &now)
        .await
        .unwrap();
    site.plane
        .when(&["pod", "till"], |pod| pod.is_null().then_some(()))
        .await;
    site.plane.plane.apply(&pod("till")).unwrap();
    kubectl(&["delete", "pod", "till", "--force", "--grace-period=0"]);
    site.plane.plane.apply(&pod("till")).unwrap();
    let third = site.plane.get(&["pod", "till"])["metadata"]["uid"].clone();
    when(&site.edge.client, PODS, "default", |pods| {
        pods.get("till")
            .filter(|pod| pod["metadata"]["uid"] == third)
            .map(|_| ())
    })
    .await;
    assert_ne!(first, third);
    let shown = site.run_pod("till").await;
    assert_eq!(shown["metadata"]["uid"], third);
}

async fn an_outage_of_the_api_server_loses_nothing(site: &mut Site) {
    site.plane
        .plane
        .stop_component(Component::ApiServer)
        .unwrap();
    for message in ["one", "two", "three"] {
        let status = json!({"status": {"phase": "Running", "message": message}});
        site.patch_status(PODS, "default", "till", &status).await;
    }
    site.plane
        .plane
        .start_component(Component::ApiServer)
        .unwrap();
    let said = |pod: &Value| (pod["status"]["message"] == "three").then_some(());
    site.plane.when(&["pod", "till"], said).await;
}

async fn a_cut_evicts_nothing_and_is_forgotten(site: Site) -> Site {
    let Site {
        plane,
        cloud,
        edge,
        other,
    } = site;
    let sync: SocketAddr = cloud.sync;
    let lease = ["lease", "e1", "-n", "kube-node-lease"];
    let renewed = |lease: &Value| lease["spec"]["renewTime"].as_str().map(str::to_owned);
    plane.when(&lease, renewed).await;
    let till = plane.get(&["pod", "till"])["metadata"]["uid"].clone();
    let disk = edge.halt().await;
    plane
        .when(&["node", "e1"], |node| (!is_ready(node)).then_some(()))
        .await;
    plane
        .when(&["pod", "till"], |pod| {
            (ready_of(pod) == "False").then_some(())
        })
        .await;
    // The taints stand, and eviction would be due; nothing else happens to the pod.
    let tainted = |node: &Value| {
        let taints = node["spec"]["taints"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        taints
            .iter()
            .any(|taint| taint["effect"] == "NoExecute")
            .then_some(())
    };
    plane.when(&["node", "e1"], tainted).await;
    let edge = RunningEdge::start_in(disk, "e1", sync);
    let back = plane
        .when(&["pod", "till"], |pod| {
            (ready_of(pod) == "True").then(|| pod.clone())
        })
        .await;
    assert_eq!(back["metadata"]["uid"], till);
    assert_eq!(back["metadata"].get("deletionTimestamp"), None);
    plane
        .when(&["node", "e1"], |node| is_ready(node).then_some(()))
        .await;
    plane
        .when(&["edgenode", "e1"], |one| {
            (one["status"]["connected"] == true).then_some(())
        })
        .await;
    Site {
        plane,
        cloud,
        edge,
        other,
    }
}

async fn a_node_that_was_deleted_joins_again(site: Site) -> Site {
    let Site {
        plane,
        cloud,
        edge,
        other,
    } = site;
    let before = plane.get(&["node", "e1"])["metadata"]["uid"].clone();
    plane.plane.kubectl(&["delete", "node", "e1"]).unwrap();
    when(&edge.client, NODES, "", |nodes| {
        nodes.is_empty().then_some(())
    })
    .await;
    let edge = edge.restart("e1", cloud.sync).await;
    let is_new =
        |node: &Value| (!node.is_null() && node["metadata"]["uid"] != before).then_some(());
    plane.when(&["node", "e1"], is_new).await;
    when(&edge.client, NODES, "", |nodes| {
        let node = nodes.get("e1")?;
        (node["metadata"]["uid"] != before && !is_pending(node)).then_some(())
    })
    .await;
    let site = Site {
        plane,
        cloud,
        edge,
        other,
    };
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    site.patch_status(NODES, "", "e1", &ready).await;
    site.plane
        .when(&["node", "e1"], |node| is_ready(node).then_some(()))
        .await;
    site
}

/// Whatever a node reports was written as that node; this service itself writes labels, tolerations
/// and what it publishes, and nothing else.
fn writes_are_the_nodes_own(site: &Site) {
    let log = std::fs::read_to_string(site.plane.plane.audit_log()).unwrap();
    let mut ours = 0;
    for line in log.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if event["user"]["username"] != "system:serviceaccount:causeway:cloud-sync" {
            continue;
        }
        if event["responseStatus"]["code"].as_u64() >= Some(400) {
            // Refused; a server that has just started knows of no rights yet.
            continue;
        }
        ours += 1;
        let object = &event["objectRef"];
        let own = ["nodes", "pods", "edgenodes"].map(Value::from);
        match event["impersonatedUser"]["username"].as_str() {
            Some(user) => assert!(
                user == "system:node:e1" || user == "system:node:e2",
                "{event}"
            ),
            None => assert!(
                event["verb"] == "patch"
                    && own.contains(&object["resource"])
                    && object.get("subresource").is_none(),
                "{event}"
            ),
        }
    }
    assert!(ours > 10, "{ours} writes in the audit log");
}
