//! Pods of a Kubernetes cluster: how soon they run, what a thousand of them cost.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use causeway_simulator::http::Http;
use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Arrivals, ROUNDS, first, follow, is_running, milliseconds};
use crate::bench::figures::{Samples, percentile};
use crate::bench::site::{NODE, PATIENCE, PODS, Site, memory_kb, pod, seen};

const PODS_PER_ROUND: usize = 10;
/// What `cloud_rss_mb` is measured with.
const MANY_PODS: usize = 1000;
/// Requests under way at a time when so many are made.
const MAKERS: usize = 8;
const RESTARTS: usize = 3;

/// Waits until the scheduler may bind pods to the node.
///
/// # Errors
/// At once when this machine runs short of what pods need: waiting changes nothing about it.
pub(super) async fn takes_pods(site: &Site) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let node = site.plane.get(&format!("/api/v1/nodes/{NODE}")).await?;
        let condition = |kind: &str| {
            let mut conditions = node["status"]["conditions"].as_array()?.iter();
            conditions.find(|one| one["type"] == kind)
        };
        for short in ["DiskPressure", "MemoryPressure", "PIDPressure"] {
            if condition(short).is_some_and(|one| one["status"] == "True") {
                bail!(
                    "the node reports {short}, so Kubernetes gives it no pods: free some of it on \
                     this machine (a disk needs 12 % free) and measure again"
                );
            }
        }
        let is_ready = condition("Ready").is_some_and(|one| one["status"] == "True");
        let is_tainted = node["spec"]["taints"]
            .as_array()
            .is_some_and(|taints| !taints.is_empty());
        if is_ready && !is_tainted {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the node takes no pods in {PATIENCE:?}: {node}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// From the request that creates a pod, which the scheduler binds, until the API shows it Running.
pub(super) async fn running(site: &Site, samples: &mut Samples) -> Result<()> {
    let mut events = watch(site).await?;
    for round in 0..ROUNDS {
        let mut latencies = Vec::new();
        for number in 0..PODS_PER_ROUND {
            let name = format!("runs-{round}-{number}");
            let mut pod = pod(&name, &[]);
            if let Some(spec) = pod["spec"].as_object_mut() {
                spec.remove("nodeName");
            }
            let begun = Instant::now();
            site.create(PODS, &pod).await?;
            let at = match runs(&mut events, &name).await {
                Ok(at) => at,
                Err(error) => return Err(why(site, &name, error).await),
            };
            latencies.push(milliseconds(at.saturating_duration_since(begun)));
        }
        samples.add("k8s_pod_running_p50_ms", percentile(&latencies, 0.50));
    }
    Ok(())
}

/// What keeps a pod from running: the node first, then what the pod says itself.
async fn why(site: &Site, name: &str, error: anyhow::Error) -> anyhow::Error {
    if let Err(reason) = takes_pods(site).await {
        return error.context(reason);
    }
    match site.plane.get(&format!("{PODS}/{name}")).await {
        Ok(pod) => error.context(format!("{name} is not Running: {}", pod["status"])),
        Err(gone) => error.context(gone),
    }
}

/// Memory of the cloud with a thousand pods of one node that report that they run, and what the
/// edge is sent when the cloud then starts anew, lists the cluster, and nothing has changed.
///
/// Nobody runs them: what is measured is the cloud's, and a thousand processes would be in its way.
pub(super) async fn many(site: &mut Site, samples: &mut Samples) -> Result<()> {
    each(site, make).await?;
    let held = format!("{PODS}?limit={MANY_PODS}");
    seen(&site.edge_http, &held, |list| {
        let items = list["items"].as_array();
        items.is_some_and(|items| items.len() == MANY_PODS)
    })
    .await?;
    each(site, report).await?;
    let told = format!("{PODS}?resourceVersion=0");
    seen(&site.plane, &told, |list| {
        let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
        items.iter().filter(|pod| is_running(pod)).count() == MANY_PODS
    })
    .await?;
    site.quiet().await;
    let (all, own) = resident(site)?;
    samples.add("cloud_rss_mb", all);
    for _ in 0..RESTARTS {
        restart(site, samples).await.context("restart")?;
    }
    let (after, _) = resident(site)?;
    let note =
        format!("{own:.1} MB of its own, the rest mapped from disk; {after:.1} MB after a restart");
    samples.note("cloud_rss_mb", note);
    Ok(())
}

/// Does something for each of the pods, some at a time.
async fn each<F>(site: &Site, act: impl Fn(Http, Http, String) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut acts = JoinSet::new();
    for number in 0..MANY_PODS {
        if acts.len() >= MAKERS
            && let Some(done) = acts.join_next().await
        {
            done??;
        }
        let (plane, edge) = (site.plane.clone(), site.edge_http.clone());
        acts.spawn(act(plane, edge, format!("many-{number}")));
    }
    while let Some(done) = acts.join_next().await {
        done??;
    }
    Ok(())
}

/// A user makes a pod.
async fn make(plane: Http, _: Http, name: String) -> Result<()> {
    plane
        .json(Method::POST, PODS, Some(&pod(&name, &[])))
        .await?;
    Ok(())
}

/// The node says of it what a node agent would.
async fn report(_: Http, edge: Http, name: String) -> Result<()> {
    let now = "2026-01-01T00:00:00Z";
    let conditions: Vec<_> = ["Initialized", "Ready", "ContainersReady"]
        .iter()
        .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now}))
        .collect();
    let container = json!({
        "name": "main", "image": "host", "imageID": "", "ready": true, "restartCount": 0,
        "started": true, "containerID": format!("process://{name}"),
        "state": {"running": {"startedAt": now}},
    });
    let status = json!({
        "phase": "Running", "startTime": now, "conditions": conditions,
        "hostIP": "127.0.0.1", "podIP": "127.0.0.1", "containerStatuses": [container],
    });
    let path = format!("{PODS}/{name}/status");
    edge.merge_patch(&path, &json!({"status": status})).await?;
    Ok(())
}

/// Megabytes in memory, and how much of them is not mapped from disk.
fn resident(site: &Site) -> Result<(f64, f64)> {
    let pid = site.cloud.pid().context("the cloud does not run")?;
    let megabytes = |field| Ok::<_, anyhow::Error>(memory_kb(pid, field)? * 1024.0 / 1e6);
    Ok((megabytes("VmRSS:")?, megabytes("RssAnon:")?))
}

/// What the edge is sent when the cloud starts anew, lists the cluster, and nothing has changed.
async fn restart(site: &mut Site, samples: &mut Samples) -> Result<()> {
    let path = format!("/causeway/v1/nodes/{NODE}/digest");
    let before = site.edge_http.get(&path).await?;
    let revision = site.edge_revision().await?;
    let traffic = site.quiet().await;
    site.cloud.kill().await?;
    site.cloud.start()?;
    seen(&site.cloud_http, "/causeway/v1/status", |status| {
        is_listed(status) && status.to_string().contains("\"connected\":true")
    })
    .await?;
    let carried = site.quiet().await.since(traffic);
    let log = format!("/causeway/v1/nodes/{NODE}/log?stream=down&after={revision}");
    let mut bytes = 0.0;
    for line in site.edge_http.text(&log).await?.lines() {
        let record: Value = serde_json::from_str(line)?;
        bytes += record["bytes"].as_f64().unwrap_or_default();
    }
    let after = site.edge_http.get(&path).await?;
    ensure!(
        before["down"] == after["down"],
        "the edge holds something else"
    );
    samples.add("k8s_list_after_restart_bytes_to_edges", bytes);
    let note = format!(
        "bytes of records; with handshakes and pings the wire carried {} bytes down and {} up",
        carried.down_bytes, carried.up_bytes
    );
    samples.note("k8s_list_after_restart_bytes_to_edges", note);
    Ok(())
}

/// Whether every kind was listed to its end, and is followed.
fn is_listed(status: &Value) -> bool {
    let kinds = status["kubernetes"]["kinds"].as_array();
    kinds.is_some_and(|kinds| {
        let whole = |kind: &Value| kind["lists"] != 0 && kind["condition"] == "following";
        !kinds.is_empty() && kinds.iter().all(whole)
    })
}

async fn watch(site: &Site) -> Result<Arrivals> {
    let list = site.plane.get(&format!("{PODS}?limit=1")).await?;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0");
    let path = format!("{PODS}?watch=true&resourceVersion={version}");
    Ok(follow(site.plane.lines(&path).await?))
}

async fn runs(events: &mut Arrivals, name: &str) -> Result<Instant> {
    let right =
        |event: &Value| event["object"]["metadata"]["name"] == name && is_running(&event["object"]);
    first(events, name, right).await.map(|(_, at)| at)
}
