//! Deploy, partition, roll out during it, force-delete a pod, reboot the edge while cut, heal.

use std::collections::BTreeMap;
use std::path::Path;

use causeway_simulator::proxy::CutMode;
use serde_json::{Value, json};

use super::{Cluster, pods_on};
use crate::world::*;

const ALL_PODS: &str = "/api/v1/pods";

/// A shell script that writes down each of its starts by the name of its pod, and goes on.
fn script(starts: &Path) -> String {
    format!(
        "echo $$$$ >> {}/$NAME; trap 'exit 0' TERM; while true; do sleep 1 & wait $!; done",
        starts.display()
    )
}

fn template(app: &str, starts: &Path) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main", "image": "host", "command": ["/bin/sh", "-c", script(starts)],
                "env": [{
                    "name": "NAME",
                    "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
                }],
            }],
        },
    })
}

fn workload(kind: &str, name: &str, starts: &Path, more: &Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": name}},
        "template": template(name, starts),
    });
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    })
}

/// A pod bound to a node by its manifest.
fn bound(name: &str, node: &str, starts: &Path) -> Value {
    let mut pod = template(name, starts);
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(name);
    pod["spec"]["nodeName"] = json!(node);
    pod
}

/// How often the container of each pod was started.
fn starts(dir: &Path) -> BTreeMap<String, usize> {
    let files = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    files
        .map(|file| {
            let name = file.file_name().to_str().unwrap().to_owned();
            let lines = std::fs::read_to_string(file.path()).unwrap();
            (name, lines.lines().count())
        })
        .collect()
}

impl Cluster {
    /// Names of the pods of an application on a node, those that are to go left out.
    async fn pods_of(&self, app: &str, node: &str) -> Vec<String> {
        let path = format!("/api/v1/namespaces/default/pods?labelSelector=app%3D{app}");
        let list = self.api.get(&path).await.unwrap();
        let items = list["items"].as_array().unwrap().iter();
        items
            .filter(|pod| pod["spec"]["nodeName"] == node)
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Everything of the first version runs on both nodes, and the job is done.
    async fn deploy(&self, starts: &Path) {
        let spread = json!([{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }]);
        let mut web = workload("Deployment", "web", starts, &json!({"replicas": 2}));
        web["spec"]["template"]["spec"]["topologySpreadConstraints"] = spread;
        let agent = workload("DaemonSet", "agent", starts, &json!({}));
        let once = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "once", "namespace": "default"},
            "spec": {"completions": 2, "parallelism": 2, "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{
                    "name": "main", "image": "host", "command": ["/bin/sh", "-c", "echo done"],
                }],
            }}},
        });
        let mut leaves = bound("leaves", "edge-1", starts);
        leaves["metadata"]["annotations"] = json!({"causeway.dev/autonomy": "false"});
        let solo = bound("solo", "edge-1", starts);
        for object in [web, agent, once, leaves, solo] {
            self.apply(&object.to_string());
        }
        let apps = "/apis/apps/v1/namespaces/default";
        let (web, agent) = (
            format!("{apps}/deployments/web"),
            format!("{apps}/daemonsets/agent"),
        );
        seen(&self.api, &web, "two are available", |web| {
            web["status"]["availableReplicas"] == 2
        })
        .await;
        seen(&self.api, &agent, "one is ready on each node", |agent| {
            agent["status"]["numberReady"] == 2
        })
        .await;
        let job = "/apis/batch/v1/namespaces/default/jobs/once";
        seen(&self.api, job, "it is done", |job| {
            job["status"]["succeeded"] == 2
        })
        .await;
        for pod in ["solo", "leaves"] {
            let path = format!("{PODS}/{pod}");
            seen(&self.api, &path, "Running", |pod| {
                pod["status"]["phase"] == "Running"
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_costs_nothing_but_time() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let dir = cluster.scratch().join("starts");
    std::fs::create_dir_all(&dir).unwrap();
    let mut world = cluster.cloud(&cluster.kubeconfig());
    world.cloud_ready().await;
    for node in ["edge-1", "edge-2"] {
        world.add_edge(node).await;
        cluster.node_is(node, "True").await;
    }
    cluster.deploy(&dir).await;
    let kept: Vec<String> = {
        let mut kept = cluster.pods_of("agent", "edge-1").await;
        kept.extend(cluster.pods_of("agent", "edge-2").await);
        kept
    };
    let old_web = cluster.pods_of("web", "edge-1").await;
    assert_eq!(old_web.len(), 1, "the scheduler spreads them");

    // The tide comes in. The cluster gives the node up; whoever opted out of autonomy has to leave.
    world.edges[0].link.cut(CutMode::Silent);
    cluster.node_is("edge-1", "Unknown").await;
    let leaves = format!("{PODS}/leaves");
    seen(&cluster.api, &leaves, "it is evicted", |pod| {
        !pod["metadata"]["deletionTimestamp"].is_null()
    })
    .await;
    assert_eq!(cluster.pods_of("agent", "edge-1").await.len(), 1);
    assert_eq!(cluster.pods_of("web", "edge-1").await, old_web);

    meanwhile(&cluster, &dir).await;

    // The daemon of one edge crashes; the machine of the other reboots, with no cloud to ask.
    world.edges[1].crash_and_restart().await;
    world.edges[0].process.kill().await.unwrap();
    kill_all_below(&world.edges[0].dir);
    world.edges[0].process.start().unwrap();
    eventually("the rebooted edge starts its pods by itself", async || {
        let starts = starts(&dir);
        let again = [&cluster.pods_of("agent", "edge-1").await[0], &old_web[0]];
        if again.iter().all(|pod| starts.get(*pod) == Some(&2)) {
            Ok(())
        } else {
            Err(format!("{starts:?}"))
        }
    })
    .await;

    heals(&cluster, &world, &dir, &kept).await;
}

/// A new version, a pod deleted by force and made again under its name.
async fn meanwhile(cluster: &Cluster, dir: &Path) {
    cluster.kubectl(&["set", "env", "deployment/web", "VERSION=2"]);
    eventually(
        "the new version runs beside the old where it can",
        async || {
            let pods = cluster.pods_of("web", "edge-2").await;
            match pods.len() {
                2 => Ok(()),
                _ => Err(format!("{pods:?}")),
            }
        },
    )
    .await;
    cluster.kubectl(&["delete", "pod", "solo", "--force", "--grace-period=0"]);
    cluster.apply(&bound("solo", "edge-1", dir).to_string());
}

/// The link is whole again: everything is as it should be, and told.
async fn heals(cluster: &Cluster, world: &World, dir: &Path, kept: &[String]) {
    // The tide falls.
    world.edges[0].link.heal();
    cluster.node_is("edge-1", "True").await;
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=90s"]);
    seen(&cluster.api, &format!("{PODS}/solo"), "Running", |pod| {
        pod["status"]["phase"] == "Running"
    })
    .await;
    gone(&cluster.api, &format!("{PODS}/leaves")).await;
    agreed(cluster, world).await;
    world.converged().await;

    let counted = starts(dir);
    let expected = |pod: &String| 1 + usize::from(*pod == kept[0]);
    for pod in kept {
        assert_eq!(counted.get(pod), Some(&expected(pod)), "{pod}: {counted:?}");
    }
    let events = cluster.kubectl(&[
        "get",
        "events",
        "--namespace=default",
        "--sort-by=.lastTimestamp",
    ]);
    for told in ["Started", "NodeNotReady", "Evict", "ScalingReplicaSet"] {
        assert!(events.contains(told), "no event tells {told}:\n{events}");
    }
    let of_solo = [
        "get",
        "events",
        "--field-selector=involvedObject.name=solo,reason=Started",
    ];
    assert!(cluster.kubectl(&of_solo).contains("Started container"));
    // The rights of the deployment were enough for all of it.
    let log = std::fs::read_to_string(world.scratch().join("cloud.log")).unwrap();
    assert_eq!(refused(&log), "");
}

/// Waits until cluster and nodes name the same pods.
async fn agreed(cluster: &Cluster, world: &World) {
    for edge in &world.edges {
        let local = edge.http();
        eventually(
            &format!("the cluster and {} agree", edge.name),
            async || {
                let wanted = cluster
                    .api
                    .get(ALL_PODS)
                    .await
                    .map_err(|error| error.to_string())?;
                let held = local
                    .get(ALL_PODS)
                    .await
                    .map_err(|error| error.to_string())?;
                let (wanted, held) = (pods_on(&wanted, &edge.name), pods_on(&held, &edge.name));
                if wanted == held {
                    Ok(())
                } else {
                    Err(format!("{wanted:?} and {held:?}"))
                }
            },
        )
        .await;
    }
}

fn refused(log: &str) -> String {
    let lines = log.lines().filter(|line| is_refused(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// Lines about rights of the deployment. What a node may not ask for is another matter.
fn is_refused(line: &str) -> bool {
    let is_request = line.contains("request rejected");
    !is_request && (line.contains("Forbidden") || line.contains("forbidden"))
}
