//! One cloud and its edges, as processes, for the length of a test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use causeway_simulator::daemons;
pub(crate) use causeway_simulator::daemons::{kill_all_below, processes_below};
use causeway_simulator::http::{Endpoint, Http, HttpError};
use causeway_simulator::process::{Process, Program};
use causeway_simulator::proxy::Proxy;
use causeway_simulator::wait;
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What a condition may take on a slow, busy machine. Nothing waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The binary under test.
pub(crate) const CAUSEWAY: &str = env!("CARGO_BIN_EXE_causeway");

pub(crate) struct World {
    pub(crate) cloud: Cloud,
    pub(crate) edges: Vec<Edge>,
    /// Removed at the end, with every process that was started below it.
    scratch: TempDir,
}

pub(crate) struct Cloud {
    pub(crate) process: Process,
    pub(crate) api: SocketAddr,
    pub(crate) sync: SocketAddr,
    pub(crate) dir: PathBuf,
}

pub(crate) struct Edge {
    pub(crate) name: String,
    pub(crate) process: Process,
    pub(crate) api: SocketAddr,
    pub(crate) link: Proxy,
    pub(crate) dir: PathBuf,
}

impl World {
    /// A cloud and one edge, `edge-1`, that the cloud sees Ready.
    pub(crate) async fn start() -> Self {
        let mut world = Self::cloud_only().await;
        world.add_edge("edge-1").await;
        world.node_ready("edge-1").await;
        world
    }

    /// A cloud that serves.
    pub(crate) async fn cloud_only() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("cloud");
        Self::with_cloud(scratch, dir).await
    }

    /// A cloud that keeps its store in `dir`.
    pub(crate) async fn with_cloud(scratch: TempDir, dir: PathBuf) -> Self {
        let world = Self::begin(scratch, dir, &[]);
        world.cloud_ready().await;
        world
    }

    /// A cloud with more on its command line, started but not waited for.
    pub(crate) fn begin(scratch: TempDir, dir: PathBuf, more: &[String]) -> Self {
        let (api, sync) = (free_address(), free_address());
        let mut arguments = daemons::cloud(&dir, api, sync);
        arguments.extend_from_slice(more);
        arguments.push("--log-level=debug".to_owned());
        let program = program(arguments, scratch.path().join("cloud.log"));
        let cloud = Cloud {
            process: Process::new(program),
            api,
            sync,
            dir,
        };
        let mut world = Self {
            cloud,
            edges: Vec::new(),
            scratch,
        };
        world.cloud.process.start().unwrap();
        world
    }

    /// A directory of this world for other things.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Starts an edge that dials through a link of its own; does not wait for it.
    pub(crate) async fn add_edge(&mut self, name: &str) -> &mut Edge {
        let dir = self.scratch.path().join(name);
        self.add_edge_in(name, &dir).await
    }

    /// The same with its directory.
    pub(crate) async fn add_edge_in(&mut self, name: &str, dir: &Path) -> &mut Edge {
        self.add_edge_with(name, dir, &[]).await
    }

    /// The same with more arguments.
    pub(crate) async fn add_edge_with(
        &mut self,
        name: &str,
        dir: &Path,
        more: &[&str],
    ) -> &mut Edge {
        let api = free_address();
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let link = Proxy::listen(anywhere, self.cloud.sync).await.unwrap();
        let mut arguments = daemons::edge(name, dir, link.local_addr(), Some(api));
        arguments.push("--log-level=debug".to_owned());
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let log = self
            .scratch
            .path()
            .join(format!("{name}-{}.log", self.edges.len()));
        let mut process = Process::new(program(arguments, log));
        process.start().unwrap();
        self.edges.push(Edge {
            name: name.to_owned(),
            process,
            api,
            link,
            dir: dir.to_owned(),
        });
        self.edges.last_mut().unwrap()
    }

    /// The first edge.
    pub(crate) fn edge(&mut self) -> &mut Edge {
        &mut self.edges[0]
    }

    pub(crate) async fn cloud_ready(&self) {
        let cloud = self.cloud.http();
        eventually("the cloud is ready", async || {
            cloud
                .text("/readyz")
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        })
        .await;
    }

    pub(crate) async fn node_ready(&self, name: &str) {
        let path = format!("/api/v1/nodes/{name}");
        seen(&self.cloud.http(), &path, "Ready is True", |node| {
            let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
            conditions
                .into_iter()
                .flatten()
                .any(|one| one["type"] == "Ready" && one["status"] == "True")
        })
        .await;
    }

    /// Waits until both sides hold the same of every node.
    pub(crate) async fn converged(&self) {
        for edge in &self.edges {
            let (cloud, local) = (self.cloud.http(), edge.http());
            let path = format!("/causeway/v1/nodes/{}/digest?entries=true", edge.name);
            eventually(&format!("{} and the cloud agree", edge.name), async || {
                let one = cloud.get(&path).await.map_err(|error| error.to_string())?;
                let other = local.get(&path).await.map_err(|error| error.to_string())?;
                for stream in ["down", "up"] {
                    for field in ["epoch", "digest"] {
                        let (one, other) = (&one[stream][field], &other[stream][field]);
                        if one.is_null() || one != other {
                            return Err(format!("{stream} {field}: {one} and {other}"));
                        }
                    }
                }
                Ok(())
            })
            .await;
        }
    }

    /// Runs the command under test against this world; for one edge.
    pub(crate) fn causeway(&self, arguments: &[&str]) -> Output {
        let edge = self
            .edges
            .first()
            .map(|edge| format!("--edge=unix:{}", edge.socket().display()));
        Command::new(CAUSEWAY)
            .args(arguments)
            .arg(format!("--cloud={}", self.cloud.api))
            .args(edge)
            .output()
            .unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let processes = std::iter::once(&self.cloud.process)
                .chain(self.edges.iter().map(|edge| &edge.process));
            for process in processes {
                println!(
                    "── {}\n{}",
                    process.program().log.display(),
                    process.log_tail(40)
                );
            }
        }
        // Pods outlive their edge by design; nothing outlives its test.
        kill_all_below(self.scratch.path());
    }
}

impl Cloud {
    pub(crate) fn http(&self) -> Http {
        Http::tcp(self.api)
    }
}

impl Edge {
    pub(crate) fn http(&self) -> Http {
        Http::new(Endpoint::Unix(self.socket()))
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("edge.sock")
    }

    /// SIGKILL, then a new process on the same disk.
    pub(crate) async fn crash_and_restart(&mut self) {
        self.process.kill().await.unwrap();
        self.process.start().unwrap();
    }

    /// Waits until its local API serves.
    pub(crate) async fn serving(&self) {
        let http = self.http();
        eventually(&format!("{} serves", self.name), async || {
            http.text("/readyz")
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        })
        .await;
    }
}

/// Creates an object, or fails the test.
pub(crate) async fn create(api: &Http, collection: &str, object: &Value) -> Value {
    api.json(Method::POST, collection, Some(object))
        .await
        .unwrap()
}

/// Waits until `api` shows an object that satisfies `right`.
pub(crate) async fn seen(
    api: &Http,
    path: &str,
    what: &str,
    right: impl Fn(&Value) -> bool,
) -> Value {
    let endpoint = api.endpoint();
    eventually(&format!("{path} at {endpoint}: {what}"), async || {
        let object = api.get(path).await.map_err(|error| error.to_string())?;
        if right(&object) {
            Ok(object)
        } else {
            Err(object.to_string())
        }
    })
    .await
}

/// Waits until `api` says that there is no such object.
pub(crate) async fn gone(api: &Http, path: &str) {
    eventually(
        &format!("{path} at {} is gone", api.endpoint()),
        async || match api.get(path).await {
            Err(error) if error.status() == Some(http::StatusCode::NOT_FOUND) => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(object) => Err(object.to_string()),
        },
    )
    .await;
}

/// Waits for a condition; fails the test after [`PATIENCE`].
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Result<T, String>) -> T {
    match wait::eventually(what, PATIENCE, look).await {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

/// An object whose data is one text.
pub(crate) fn config_map(name: &str, text: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"text": text},
    })
}

/// A pod of one shell script, bound to a node, that has these ConfigMaps as volumes.
pub(crate) fn pod(name: &str, node: &str, script: &str, config_maps: &[&str]) -> Value {
    let volumes: Vec<_> = config_maps
        .iter()
        .map(|map| json!({"name": map, "configMap": {"name": map, "optional": true}}))
        .collect();
    let mounts: Vec<_> = config_maps
        .iter()
        .map(|map| json!({"name": map, "mountPath": format!("/etc/{map}")}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "volumes": volumes,
            "containers": [{
                "name": "main", "image": "host", "command": ["/bin/sh", "-c", script],
                "volumeMounts": mounts,
            }],
        },
    })
}

/// A script that writes its process id to a file and goes on for ever. Kubernetes makes one `$` of
/// two in a command.
pub(crate) fn long_running(pid_file: &Path) -> String {
    let file = pid_file.display();
    format!("echo $$$$ > {file}.new; mv {file}.new {file}; while true; do sleep 1; done")
}

/// Waits until the file names a process, and gives it.
pub(crate) async fn process_of(pid_file: &Path) -> u32 {
    eventually(
        &format!("{} names a process", pid_file.display()),
        async || {
            let text = std::fs::read_to_string(pid_file).map_err(|error| error.to_string())?;
            text.trim().parse().map_err(|_| format!("{text:?}"))
        },
    )
    .await
}

pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands after the name in brackets; a zombie is no living process.
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const EVENTS: &str = "/api/v1/namespaces/default/events";

/// Whether an error leaves open what became of the request: the connection broke.
pub(crate) const fn outcome_unknown(error: &HttpError) -> bool {
    matches!(
        error,
        HttpError::Exchange { .. } | HttpError::Connect { .. }
    )
}

/// A loopback address that nobody uses.
pub(crate) fn free_address() -> SocketAddr {
    daemons::free_address().unwrap()
}

fn program(arguments: Vec<String>, log: PathBuf) -> Program {
    Program {
        executable: CAUSEWAY.into(),
        arguments,
        environment: Vec::new(),
        log,
    }
}
