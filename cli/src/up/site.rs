//! The processes and links of one `up`, and what is waited for while they start.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use causeway_simulator::daemons;
use causeway_simulator::http::Http;
use causeway_simulator::process::{Process, Program};
use causeway_simulator::proxy::Proxy;
use causeway_simulator::wait::eventually;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::Mutex;

use super::dir::Directory;
use super::ports::Ports;
use super::progress::Steps;
use super::{Args, Cluster, Plane, died};
use crate::locate::{CloudEntry, NodeEntry, UpFile};

/// What starting may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a restart may take before whoever asked for it is answered.
const RESTART_PATIENCE: Duration = Duration::from_secs(15);
/// How often processes are looked at.
const WATCH_PERIOD: Duration = Duration::from_millis(200);

/// Everything that runs. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Site(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    control: PathBuf,
    cloud: Unit,
    cloud_entry: CloudEntry,
    cluster: Option<Cluster>,
    nodes: Vec<Node>,
}

/// One process by name.
#[derive(Debug)]
pub(super) struct Unit {
    name: String,
    process: Mutex<Process>,
}

/// One edge node and its link.
#[derive(Debug)]
pub(super) struct Node {
    unit: Unit,
    proxy: Proxy,
    entry: NodeEntry,
}

impl Site {
    /// Chooses addresses and opens the links; starts no process.
    ///
    /// # Errors
    /// When an address asked for is in use.
    pub(super) async fn plan(
        args: &Args,
        cluster: Option<Cluster>,
        dir: &Directory,
        steps: &mut Steps,
    ) -> Result<Self> {
        let executable = std::env::current_exe().context("cannot find my own executable")?;
        let program = |name: &str, arguments: Vec<String>| Program {
            executable: executable.clone(),
            arguments,
            environment: Vec::new(),
            log: dir.log(name),
        };
        let mut ports = Ports::default();
        let api = ports.choose("API of the cloud", args.api_listen, 10080, steps)?;
        let sync = ports.choose("sync endpoint", args.sync_listen, 10000, steps)?;
        let mut arguments = daemons::cloud(&dir.cloud(), api, sync);
        arguments.extend(cluster.iter().flat_map(Cluster::arguments));
        let cloud = Unit::new("cloud", program("cloud", arguments));
        let cloud_entry = CloudEntry {
            api,
            sync,
            dir: dir.cloud(),
            kubeconfig: cluster.as_ref().map_or_else(
                || dir.kubeconfig("cloud"),
                |cluster| cluster.kubeconfig.clone(),
            ),
            log: dir.log("cloud"),
        };
        let mut nodes = Vec::new();
        for number in 1..=args.nodes {
            let name = format!("edge-{number}");
            let asked = args.edge_listen.map(|first| {
                let step = if first.port() == 0 { 0 } else { number - 1 };
                SocketAddr::new(first.ip(), first.port().saturating_add(step))
            });
            let api = ports.choose(&format!("local API of {name}"), asked, 10550, steps)?;
            let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let proxy = Proxy::listen(anywhere, sync)
                .await
                .context("cannot open the link")?;
            let link = proxy.local_addr();
            let mut arguments = daemons::edge(&name, &dir.node(&name), link, Some(api));
            if !args.keep {
                arguments.push("--stop-pods-on-exit".to_owned());
            }
            let entry = NodeEntry {
                api,
                link,
                dir: dir.node(&name),
                kubeconfig: dir.kubeconfig(&name),
                log: dir.log(&name),
                name: name.clone(),
            };
            nodes.push(Node {
                unit: Unit::new(&name, program(&name, arguments)),
                proxy,
                entry,
            });
        }
        Ok(Self(Arc::new(Inner {
            control: dir.control(),
            cloud,
            cloud_entry,
            cluster,
            nodes,
        })))
    }

    /// The cloud's process.
    pub(super) fn cloud(&self) -> &Unit {
        &self.0.cloud
    }

    /// The edge nodes.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.0.nodes
    }

    /// The node of that name.
    pub(super) fn node(&self, name: &str) -> Option<&Node> {
        self.0.nodes.iter().find(|node| node.entry.name == name)
    }

    /// The process of that name: a node, or `cloud`.
    pub(super) fn unit(&self, name: &str) -> Option<&Unit> {
        self.units().find(|unit| unit.name == name)
    }

    fn units(&self) -> impl Iterator<Item = &Unit> {
        std::iter::once(&self.0.cloud).chain(self.0.nodes.iter().map(Node::unit))
    }

    /// Where the cloud's API is.
    pub(super) fn cloud_api(&self) -> SocketAddr {
        self.0.cloud_entry.api
    }

    /// The Kubernetes cluster, when it is one.
    pub(super) fn cluster(&self) -> Option<&Cluster> {
        self.0.cluster.as_ref()
    }

    /// Where what is wanted is written.
    pub(super) fn plane(&self) -> Plane {
        match &self.0.cluster {
            None => Plane::Own(self.cloud_http()),
            Some(cluster) => cluster.plane(),
        }
    }

    fn cloud_http(&self) -> Http {
        Http::tcp(self.cloud_api())
    }

    /// What `up.json` says.
    pub(super) fn describe(&self) -> UpFile {
        UpFile {
            pid: std::process::id(),
            control: self.0.control.clone(),
            cloud: self.0.cloud_entry.clone(),
            nodes: self.0.nodes.iter().map(|node| node.entry.clone()).collect(),
        }
    }

    /// Waits for a process that ends without being asked to; says which, how, and its last words.
    pub(super) async fn first_end(&self) -> anyhow::Error {
        let mut ticks = tokio::time::interval(WATCH_PERIOD);
        loop {
            ticks.tick().await;
            for unit in self.units() {
                let mut process = unit.process.lock().await;
                if let Ok(Some(status)) = process.ended() {
                    let how = format!("ended by itself ({status})");
                    return died(
                        &unit.name,
                        &how,
                        &process.program().log,
                        &process.log_tail(10),
                    );
                }
            }
        }
    }

    /// Waits until the cloud serves.
    pub(super) async fn cloud_ready(&self) -> Result<()> {
        let http = self.cloud_http();
        let ready = eventually("the cloud is ready", PATIENCE, async || {
            http.text("/readyz")
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        });
        Ok(ready.await?)
    }

    /// Waits a while until the process of that name answers; it may as well have died.
    pub(super) async fn serving(&self, name: &str) {
        let api = self
            .node(name)
            .map_or_else(|| self.cloud_api(), |node| node.entry.api);
        let http = Http::tcp(api);
        let serves = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            while http.text("/readyz").await.is_err() {
                ticks.tick().await;
            }
        };
        // When it does not, nobody waits any longer; `causeway status` shows how it is.
        let _ = tokio::time::timeout(RESTART_PATIENCE, serves).await;
    }

    /// Waits until the cloud sees a node Ready.
    pub(super) async fn node_ready(&self, node: &Node) -> Result<()> {
        let (plane, name) = (self.plane(), node.name());
        let path = format!("/api/v1/nodes/{name}");
        let what = format!("{name} is Ready in the cloud");
        let ready = eventually(&what, PATIENCE, async || {
            let object = plane.get(&path).await.map_err(|error| error.to_string())?;
            match condition(&object, "Ready") {
                Some("True") => Ok(()),
                other => Err(format!("Ready is {}", other.unwrap_or("not reported"))),
            }
        });
        ready.await.map_err(|error| self.explain(error, name))
    }

    /// Waits until some edge runs a pod; says which.
    pub(super) async fn pod_running(&self, namespace: &str, name: &str) -> Result<String> {
        let what = format!("pod {namespace}/{name} runs");
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let running = eventually(&what, PATIENCE, async || {
            let mut seen = "no node has it".to_owned();
            for node in self.nodes() {
                let Ok(pod) = node.entry.http().get(&path).await else {
                    continue;
                };
                match pod.pointer("/status/phase").and_then(Value::as_str) {
                    Some("Running" | "Succeeded") => return Ok(node.name().to_owned()),
                    phase => seen = format!("{} on {}", phase.unwrap_or("no phase"), node.name()),
                }
            }
            Err(seen)
        });
        running.await.map_err(|error| anyhow!(error))
    }

    /// Waits until the cloud has a pod's status.
    pub(super) async fn pod_seen(&self, namespace: &str, name: &str) -> Result<()> {
        let plane = self.plane();
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let what = format!("the cloud sees pod {namespace}/{name} Running");
        let seen = eventually(&what, PATIENCE, async || {
            let pod = plane.get(&path).await.map_err(|error| error.to_string())?;
            match pod.pointer("/status/phase").and_then(Value::as_str) {
                Some("Running" | "Succeeded") => Ok(()),
                phase => Err(format!("the cloud sees {}", phase.unwrap_or("no phase"))),
            }
        });
        Ok(seen.await?)
    }

    /// Ends everything: edges first, since their last words go to the cloud. After `grace` a
    /// process is killed.
    pub(super) async fn stop(&self, grace: Duration) {
        let ends = self.nodes().iter().map(|node| {
            node.proxy.heal();
            node.unit.stop(grace)
        });
        join_all(ends).await;
        self.0.cloud.stop(grace).await;
    }

    /// Starts nodes that are down and have pods, since only they can end what outlived them.
    pub(super) async fn revive(&self) {
        for node in self.nodes() {
            let pods = std::fs::read_dir(node.entry.dir.join("edged").join("run"));
            let has_pods = pods.is_ok_and(|mut pods| pods.next().is_some());
            let down = node.unit.pid().await.is_none();
            if down && has_pods && node.unit.start().await.is_ok() {
                self.serving(node.name()).await;
            }
        }
    }

    fn explain(&self, error: impl Into<anyhow::Error>, name: &str) -> anyhow::Error {
        let log = self
            .node(name)
            .map(|node| node.entry.log.display().to_string());
        error
            .into()
            .context(format!("see {}", log.unwrap_or_default()))
    }
}

impl Unit {
    fn new(name: &str, program: Program) -> Self {
        Self {
            name: name.to_owned(),
            process: Mutex::new(Process::new(program)),
        }
    }

    /// Starts it; says its process id.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) async fn start(&self) -> Result<Option<u32>> {
        let mut process = self.process.lock().await;
        process
            .start()
            .with_context(|| format!("cannot start {}", self.name))?;
        Ok(process.pid())
    }

    /// Ends it at once, or with `graceful` lets it tidy up first.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) async fn end(&self, graceful: bool) -> Result<()> {
        let mut process = self.process.lock().await;
        let what = || format!("cannot end {}", self.name);
        if graceful {
            process
                .terminate(Duration::from_secs(40))
                .await
                .map(drop)
                .with_context(what)
        } else {
            process.kill().await.with_context(what)
        }
    }

    /// Its process id while it runs.
    pub(super) async fn pid(&self) -> Option<u32> {
        self.process.lock().await.pid()
    }

    async fn stop(&self, grace: Duration) {
        // What cannot be stopped dies with this process: its standard input closes.
        let _ = self.process.lock().await.terminate(grace).await;
    }
}

impl Node {
    /// Node name.
    pub(super) fn name(&self) -> &str {
        &self.entry.name
    }

    /// Its process.
    pub(super) const fn unit(&self) -> &Unit {
        &self.unit
    }

    /// Its link.
    pub(super) const fn proxy(&self) -> &Proxy {
        &self.proxy
    }
}

/// The status of a condition of an object.
fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == kind)?;
    found["status"].as_str()
}
