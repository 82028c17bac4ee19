//! A Kubernetes cluster as the source: a real control plane, built and run on this machine.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use causeway_simulator::http::{Http, Lines};
use causeway_testbed::{Binaries, ControlPlane, FaultyApi, Options};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::figures::{Samples, percentile};
use super::site::{CONFIG_MAPS, Cluster, NODE, PATIENCE, PODS, Site, config_map, pod, seen};
use crate::{k8s::manifests, say};

mod pods;

/// The names of these figures.
pub(super) const NAMES: [&str; 6] = [
    "k8s_propagation_p50_ms",
    "k8s_propagation_p99_ms",
    "k8s_pod_running_p50_ms",
    "k8s_api_writes_per_delivered_object",
    "cloud_rss_mb",
    "k8s_list_after_restart_bytes_to_edges",
];
const ROUNDS: usize = 5;
const EDITS_PER_ROUND: usize = 100;
/// Edits apart from each other.
const PAUSE: Duration = Duration::from_millis(5);
/// Who writes, in the audit log.
const ACCOUNT: &str = "system:serviceaccount:causeway:cloud-sync";

/// Measures those that are wanted.
pub(super) async fn measure(samples: &mut Samples, wanted: impl Fn(&[&str]) -> bool) -> Result<()> {
    let programs = Binaries::build(&mut |text| say::line(text))?;
    if wanted(&[NAMES[0], NAMES[1], NAMES[2], NAMES[3]]) {
        let stage = Stage::set(&programs)?;
        let site = Site::start_for(Some(stage.cluster()?)).await?;
        pods::takes_pods(&site).await?;
        if wanted(&[NAMES[0], NAMES[1], NAMES[3]]) {
            propagation(&site, &stage.plane, samples)
                .await
                .context("propagation")?;
        }
        if wanted(&[NAMES[2]]) {
            pods::running(&site, samples).await.context("pods")?;
        }
    }
    if wanted(&[NAMES[4], NAMES[5]]) {
        say::line("measuring with a thousand pods");
        let stage = Stage::set(&programs)?;
        let mut site = Site::start_without_agent(stage.cluster()?).await?;
        pods::many(&mut site, samples).await.context("many pods")?;
    }
    Ok(())
}

/// A control plane with the deployment's manifests.
struct Stage {
    plane: ControlPlane,
    proxy: FaultyApi,
    /// Its state; gone after it.
    _scratch: tempfile::TempDir,
}

impl Stage {
    fn set(programs: &Binaries) -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let options = Options {
            audit: true,
            ..Options::default()
        };
        let dir = scratch.path().join("plane");
        let plane = ControlPlane::start(programs.clone(), &dir, options)?;
        plane.apply(&manifests::plain(programs)?)?;
        let proxy = FaultyApi::start(&plane)?;
        Ok(Self {
            plane,
            proxy,
            _scratch: scratch,
        })
    }

    /// Straight to the API server, with the rights of the deployment.
    fn cluster(&self) -> Result<Cluster> {
        Ok(Cluster {
            kubeconfig: self.plane.kubeconfig_of_account("causeway", "cloud-sync")?,
            api: Http::tcp(self.proxy.plain()),
        })
    }
}

/// From the API server's answer to a write until the record is durable at the edge; and what was
/// written to the API server for it.
async fn propagation(site: &Site, plane: &ControlPlane, samples: &mut Samples) -> Result<()> {
    let empty = Value::Object(Map::new());
    site.create(CONFIG_MAPS, &config_map("quick", &empty))
        .await?;
    site.create(PODS, &pod("quick", &["quick".to_owned()]))
        .await?;
    site.put("quick", "text", "first").await?;
    site.arrived("quick", "text", "first").await?;
    seen(&site.plane, &format!("{PODS}/quick"), is_running).await?;
    site.quiet().await;
    let mut arrivals = follow_texts(site).await?;
    for round in 0..ROUNDS {
        let written = writes(&plane.audit_log())?;
        let mut latencies = Vec::new();
        for number in 0..EDITS_PER_ROUND {
            let text = format!("round {round}, edit {number}");
            site.put("quick", "text", &text).await?;
            let answered = Instant::now();
            let arrived = arrival(&mut arrivals, &text).await?;
            latencies.push(milliseconds(arrived.saturating_duration_since(answered)));
            tokio::time::sleep(PAUSE).await;
        }
        samples.add("k8s_propagation_p50_ms", percentile(&latencies, 0.50));
        samples.add("k8s_propagation_p99_ms", percentile(&latencies, 0.99));
        let written = writes(&plane.audit_log())? - written;
        #[expect(clippy::cast_precision_loss, reason = "some hundred writes")]
        let each = written as f64 / EDITS_PER_ROUND as f64;
        samples.add("k8s_api_writes_per_delivered_object", each);
    }
    let note = "leases of nodes aside, which are renewed by time";
    samples.note("k8s_api_writes_per_delivered_object", note.to_owned());
    Ok(())
}

/// Writes of the cloud since the API server started, leases aside.
fn writes(audit: &Path) -> Result<usize> {
    let text = std::fs::read_to_string(audit).context("no audit log")?;
    let events = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = events.filter(|event| {
        event["user"]["username"] == ACCOUNT && event["objectRef"]["resource"] != "leases"
    });
    Ok(ours.count())
}

/// The bodies of what becomes durable at the edge, and when.
async fn follow_texts(site: &Site) -> Result<Arrivals> {
    let after = site.edge_revision().await?;
    let log = format!("/causeway/v1/nodes/{NODE}/log");
    let path = format!("{log}?stream=down&after={after}&follow=true&bodies=true");
    Ok(follow(site.edge_http.lines(&path).await?))
}

/// Lines of a stream, and when they came.
struct Arrivals {
    lines: mpsc::Receiver<(Value, Instant)>,
    _reader: JoinSet<()>,
}

fn follow(mut lines: Lines) -> Arrivals {
    let (sender, received) = mpsc::channel(4096);
    let mut reader = JoinSet::new();
    reader.spawn(async move {
        while let Ok(Some(line)) = lines.next().await {
            let now = Instant::now();
            if let Ok(value) = serde_json::from_slice(&line)
                && sender.send((value, now)).await.is_err()
            {
                return;
            }
        }
    });
    Arrivals {
        lines: received,
        _reader: reader,
    }
}

async fn arrival(arrivals: &mut Arrivals, text: &str) -> Result<Instant> {
    let quoted = Value::from(text).to_string();
    let found = first(arrivals, text, |line| line.to_string().contains(&quoted)).await;
    found.map(|(_, at)| at)
}

/// The next line that is right, and when it came.
async fn first(
    arrivals: &mut Arrivals,
    what: &str,
    right: impl Fn(&Value) -> bool,
) -> Result<(Value, Instant)> {
    let found = async {
        while let Some((line, at)) = arrivals.lines.recv().await {
            if right(&line) {
                return Some((line, at));
            }
        }
        None
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found
        .with_context(|| format!("{what:?} does not come"))?
        .context("the stream ended")
}

fn is_running(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running"
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
