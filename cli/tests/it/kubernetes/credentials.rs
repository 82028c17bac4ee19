//! Ways in that do not lead in.

use causeway_testbed::pki::Validity;
use serde_json::json;

use super::Cluster;
use crate::world::*;

/// May read everything that is followed, save Secrets: an administrator forgot a line.
const POOR: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: poor, namespace: causeway}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: poor}
rules:
  - apiGroups: ['', discovery.k8s.io, apiextensions.k8s.io]
    resources: [nodes, pods, namespaces, configmaps, serviceaccounts, services, persistentvolumes,
                persistentvolumeclaims, endpointslices, customresourcedefinitions]
    verbs: [get, list, watch]
  - apiGroups: ['']
    resources: [users, groups]
    verbs: [impersonate]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: poor}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: poor}
subjects: [{kind: ServiceAccount, name: poor, namespace: causeway}]
";

/// Waits until the log of the cloud has a line with all of these.
async fn said(world: &World, words: &[&str]) {
    let path = world.scratch().join("cloud.log");
    eventually(&format!("the cloud says {words:?}"), async || {
        let log = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let told = |line: &str| words.iter().all(|word| line.contains(word));
        if log.lines().any(told) {
            Ok(())
        } else {
            Err(log.lines().last().unwrap_or_default().to_owned())
        }
    })
    .await;
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    // In one step: the cloud may read it at any moment.
    let fresh = to.with_extension("new");
    std::fs::copy(from, &fresh).unwrap();
    std::fs::rename(fresh, to).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_named_and_mended_without_a_restart() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let path = cluster.scratch().join("kubeconfig");
    let expired = tokio::task::block_in_place(|| {
        cluster
            .plane
            .kubeconfig_of("ops", "system:masters", Validity::Expired)
            .unwrap()
    });
    copy(&expired, &path);
    let mut world = cluster.cloud(&path);
    said(&world, &["WARN", "resource=nodes"]).await;

    // Another account, which lacks a right: it is named, and all else goes on.
    cluster.apply(POOR);
    let poor = tokio::task::block_in_place(|| {
        cluster
            .plane
            .kubeconfig_of_account("causeway", "poor")
            .unwrap()
    });
    copy(&poor, &path);
    said(&world, &["WARN", "verb=\"watch\"", "resource=secrets"]).await;
    world.add_edge("edge-1").await;
    cluster.node_is("edge-1", "True").await;
    create(&cluster.api, CONFIG_MAPS, &config_map("settings", "first")).await;
    let script = "while true; do sleep 1; done";
    create(
        &cluster.api,
        PODS,
        &pod("reader", "edge-1", script, &["settings"]),
    )
    .await;
    let reader = format!("{PODS}/reader");
    seen(&cluster.api, &reader, "Running", |pod| {
        pod["status"]["phase"] == "Running"
    })
    .await;

    // Once the right is given, the kind is followed as well.
    let grant = json!([{"op": "add", "path": "/rules/0/resources/-", "value": "secrets"}]);
    let grant = grant.to_string();
    cluster.kubectl(&[
        "patch",
        "clusterrole",
        "poor",
        "--type=json",
        "--patch",
        &grant,
    ]);
    said(&world, &["followed again", "resource=secrets"]).await;
    world.converged().await;
}
