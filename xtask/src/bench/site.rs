//! A cloud and an edge as real processes, with a link that counts bytes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use causeway_simulator::http::{Endpoint, Http};
use causeway_simulator::process::{Process, Program};
use causeway_simulator::proxy::{Proxy, Traffic};
use causeway_simulator::wait::eventually;
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::shipped;

/// Name of the node.
pub(super) const NODE: &str = "edge-1";
/// What anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// Lines of a log that are shown when its process does not do its part.
const LAST_WORDS: usize = 5;
/// Collection paths.
pub(super) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// See [`CONFIG_MAPS`].
pub(super) const PODS: &str = "/api/v1/namespaces/default/pods";

/// Everything under measurement.
pub(super) struct Site {
    pub(super) cloud: Process,
    pub(super) edge: Process,
    pub(super) link: Proxy,
    pub(super) cloud_http: Http,
    pub(super) edge_http: Http,
    /// Where users write.
    pub(super) plane: Http,
    scratch: TempDir,
}

/// A Kubernetes cluster for a [`Site`].
pub(super) struct Cluster {
    pub(super) kubeconfig: PathBuf,
    /// Its API, as the administrator.
    pub(super) api: Http,
}

impl Site {
    /// A cloud, and an edge: `edge-sync` and `edged` in one process, as `causeway edge` runs them.
    ///
    /// # Errors
    /// When one does not start.
    pub(super) async fn start() -> Result<Self> {
        Self::start_for(None).await
    }

    /// The same for a Kubernetes cluster, when there is one.
    ///
    /// # Errors
    /// When one does not start.
    pub(super) async fn start_for(cluster: Option<Cluster>) -> Result<Self> {
        Self::start_with(cluster, "").await
    }

    /// The same with more in the configuration of the edge.
    ///
    /// # Errors
    /// When one does not start.
    pub(super) async fn start_with(cluster: Option<Cluster>, edge: &str) -> Result<Self> {
        let site = Self::launch(cluster, edge, &[]).await?;
        let node = format!("/api/v1/nodes/{NODE}");
        let ready = seen(&site.plane, &node, |node| {
            node.to_string().contains("\"Ready\"")
        });
        ready.await.with_context(|| site.last_words())?;
        Ok(site)
    }

    /// The same with an edge that runs no pods: its node is registered, and says nothing.
    ///
    /// # Errors
    /// When one does not start.
    pub(super) async fn start_without_agent(cluster: Cluster) -> Result<Self> {
        let site = Self::launch(Some(cluster), "", &["--no-kubelet"]).await?;
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
        let register = eventually("the edge", PATIENCE, async || {
            let made = site
                .edge_http
                .json(Method::POST, "/api/v1/nodes", Some(&node));
            made.await.map_err(|error| error.to_string())
        });
        register.await?;
        seen(&site.plane, &format!("/api/v1/nodes/{NODE}"), |_| true).await?;
        Ok(site)
    }

    async fn launch(cluster: Option<Cluster>, edge: &str, more: &[&str]) -> Result<Self> {
        let scratch = tempfile::Builder::new()
            .prefix("causeway-bench")
            .tempdir()?;
        let dir = scratch.path();
        let (api, sync, local) = (free_address()?, free_address()?, free_address()?);
        let link = Proxy::listen((Ipv4Addr::LOCALHOST, 0).into(), sync).await?;
        let config = dir.join("cloud-sync.toml");
        let mut text = format!(
            "dir = {:?}\napi_listen = \"{api}\"\nsync_listen = \"{sync}\"\n",
            dir.join("cloud")
        );
        if let Some(Cluster { kubeconfig, .. }) = &cluster {
            text.push_str("[control]\nplane = \"kubernetes\"\n");
            text.push_str(&format!("[kubernetes]\nkubeconfig = {kubeconfig:?}\n"));
        }
        std::fs::write(&config, text)?;
        let mut cloud = process(dir, "cloud-sync", vec!["--config".into(), show(&config)])?;
        cloud.start().context("cannot start cloud-sync")?;
        let arguments = [
            format!("--node={NODE}"),
            format!("--dir={}", show(&dir.join("edge"))),
            format!("--cloud=ws://{}", link.local_addr()),
            format!("--api-listen={local}"),
        ];
        let mut arguments = arguments.to_vec();
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        if !edge.is_empty() {
            let config = dir.join("edge.toml");
            std::fs::write(&config, edge)?;
            arguments.push(format!("--config={}", show(&config)));
        }
        let mut edge = process(dir, "causeway-edge", arguments)?;
        edge.start().context("cannot start the edge")?;
        let socket = dir.join("edge").join("edge.sock");
        let (cloud_http, edge_http) = (Http::tcp(api), Http::new(Endpoint::Unix(socket)));
        let plane = cluster.map_or_else(|| cloud_http.clone(), |cluster| cluster.api);
        Ok(Self {
            cloud,
            edge,
            link,
            cloud_http,
            edge_http,
            plane,
            scratch,
        })
    }

    /// The ends of both logs.
    fn last_words(&self) -> String {
        let programs = [&self.cloud, &self.edge].map(|process| process.program());
        let words = programs.map(|program| {
            let log = std::fs::read_to_string(&program.log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
            format!("{} said last:\n{last}\n", program.log.display())
        });
        words.concat()
    }

    /// The directory of the edge.
    pub(super) fn edge_dir(&self) -> PathBuf {
        self.scratch.path().join("edge")
    }

    /// Creates an object in the cloud.
    ///
    /// # Errors
    /// When the cloud refuses.
    pub(super) async fn create(&self, collection: &str, object: &Value) -> Result<()> {
        self.plane
            .json(Method::POST, collection, Some(object))
            .await?;
        Ok(())
    }

    /// Changes data of a ConfigMap in the cloud; gives the version it has then.
    ///
    /// # Errors
    /// When the cloud refuses.
    pub(super) async fn edit(&self, name: &str, key: &str, text: &str) -> Result<u64> {
        let answer = self.put(name, key, text).await?;
        let version = answer["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default();
        version
            .parse()
            .with_context(|| format!("no resourceVersion in {answer}"))
    }

    /// Changes data of a ConfigMap where users write.
    ///
    /// # Errors
    /// When that is refused.
    pub(super) async fn put(&self, name: &str, key: &str, text: &str) -> Result<Value> {
        let patch = json!({"data": {key: text}});
        let path = format!("{CONFIG_MAPS}/{name}");
        Ok(self.plane.merge_patch(&path, &patch).await?)
    }

    /// Waits until the edge serves this text.
    ///
    /// # Errors
    /// When it does not in time.
    pub(super) async fn arrived(&self, name: &str, key: &str, text: &str) -> Result<()> {
        let path = format!("{CONFIG_MAPS}/{name}");
        seen(&self.edge_http, &path, |map| map["data"][key] == text).await
    }

    /// Waits until the link has carried nothing for a while; gives what it carried so far.
    pub(super) async fn quiet(&self) -> Traffic {
        let mut last = self.link.traffic();
        loop {
            tokio::time::sleep(Duration::from_millis(700)).await;
            let now = self.link.traffic();
            if now == last {
                return now;
            }
            last = now;
        }
    }

    /// Revision of the edge's store.
    ///
    /// # Errors
    /// When it does not say.
    pub(super) async fn edge_revision(&self) -> Result<u64> {
        let list = self
            .edge_http
            .get(&format!("{CONFIG_MAPS}?limit=1"))
            .await?;
        let version = list["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default();
        version
            .parse()
            .context("the edge's list has no resourceVersion")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Containers outlive their kubelet by design.
        let needle = show(self.scratch.path());
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            if pid.parse::<u32>().is_err() || pid == std::process::id().to_string() {
                continue;
            }
            let names_it = |file: &str| {
                let text = std::fs::read(entry.path().join(file)).unwrap_or_default();
                String::from_utf8_lossy(&text).contains(&needle)
            };
            if names_it("cmdline") || names_it("environ") {
                let _ = std::process::Command::new("kill")
                    .args(["-9", &pid])
                    .status();
            }
        }
    }
}

/// A ConfigMap with these data.
pub(super) fn config_map(name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"}, "data": data,
    })
}

/// A pod that does nothing and needs these ConfigMaps.
pub(super) fn pod(name: &str, config_maps: &[String]) -> Value {
    let volumes: Vec<_> = config_maps
        .iter()
        .map(|map| json!({"name": map, "configMap": {"name": map, "optional": true}}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": NODE, "terminationGracePeriodSeconds": 1, "volumes": volumes,
            "containers": [{"name": "main", "image": "host", "command": ["/bin/sleep", "1000000"]}],
        },
    })
}

/// Waits until a server shows an object that is as wanted.
///
/// # Errors
/// When it does not in time.
pub(super) async fn seen(http: &Http, path: &str, right: impl Fn(&Value) -> bool) -> Result<()> {
    let look = eventually(path, PATIENCE, async || {
        let object = http.get(path).await.map_err(|error| error.to_string())?;
        if right(&object) {
            Ok(())
        } else {
            Err(object.to_string())
        }
    });
    Ok(look.await?)
}

fn process(dir: &Path, name: &str, arguments: Vec<String>) -> Result<Process> {
    Ok(Process::new(Program {
        executable: shipped(name)?,
        arguments,
        environment: Vec::new(),
        log: dir.join(format!("{name}.log")),
    }))
}

pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// A field of `/proc/PID/status` that is in kB.
pub(super) fn memory_kb(pid: u32, field: &str) -> Result<f64> {
    let status = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/status")))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .with_context(|| format!("no {field}"))?
        .parse()
        .context("no number")
}
