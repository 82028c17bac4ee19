//! Registers the node and tells how it is, when that changes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::client::{ApiError, LEASES, NODES, Reflected};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Interruptions;
use crate::api::Api;
use crate::config::EdgedConfig;
use crate::pod::NodeFacts;
use crate::runtime::RuntimeInfo;
use crate::status::node::{HostFacts, Pressure, annotations, labels, object, status};
use crate::status::patch;

/// How often the host is looked at. Nothing is told unless something changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// An agent that says nothing for so many looks is silent.
const LEASE_LOOKS: u64 = 3;
/// Where the heartbeats of node agents stand.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// Memory runs short below this, in KiB, as for the kubelet.
const MEMORY_KIB_MIN: u64 = 100 << 10;
/// Disk runs short below this share, in percent.
const DISK_PERCENT_MIN: u64 = 10;
/// Process ids run short below this share, in percent.
const PIDS_PERCENT_MIN: u64 = 5;
/// Pressure is over only when there is this much more than the limit, in percent of it, so that a
/// value at the limit does not flap.
const RELIEF_PERCENT: u64 = 120;

/// Keeps the node object as it should be, for ever.
pub(super) async fn maintain(
    api: Arc<dyn Api>,
    node: NodeFacts,
    config: EdgedConfig,
    runtime: RuntimeInfo,
) {
    let host = host_facts(&config.dir);
    let fields = format!("metadata.name={}", node.name);
    let mut follow = api.follow(NODES, &fields).fuse();
    let mut keeper = Keeper {
        api,
        node,
        config,
        runtime,
        host,
        pressure: Pressure::default(),
        asked: None,
    };
    let mut interruptions = Interruptions::default();
    let mut current: Option<Value> = None;
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            Some(told) = follow.next() => {
                interruptions.note("the node", &told);
                match told {
                    Reflected::Replace(objects) => {
                        current = objects.into_iter().next();
                        keeper.asked = None;
                        if current.is_none() {
                            current = keeper.register().await;
                        }
                    }
                    Reflected::Applied(object) => current = Some(object),
                    // Whoever deleted it does not want it back; a restart of edged brings it.
                    Reflected::Deleted(_) => current = None,
                    Reflected::Interrupted { .. } => continue,
                }
            }
            _ = looks.tick() => {
                keeper.look();
                keeper.beat().await;
            }
        }
        if let Some(known) = &current
            && let Some(newer) = keeper.tell(known).await
        {
            current = Some(newer);
        }
    }
}

struct Keeper {
    api: Arc<dyn Api>,
    node: NodeFacts,
    config: EdgedConfig,
    runtime: RuntimeInfo,
    host: HostFacts,
    pressure: Pressure,
    /// The labels and annotations asked for since the last look at the host. The cloud may refuse
    /// them, and its answer is a change of the node: asking at each change would never end.
    asked: Option<Value>,
}

impl Keeper {
    async fn register(&self) -> Option<Value> {
        let labels = labels(&self.node, &self.host, &self.config.labels);
        let node = object(&self.node, &labels, &self.runtime);
        match self.api.create(&NODES, "", &node).await {
            Ok(created) => Some(created),
            // Another copy of the request arrived first; the watch will show it.
            Err(error) if error.is_conflict() => None,
            Err(error) => {
                warn(&error, "the node could not be registered");
                None
            }
        }
    }

    /// Says that edged lives. The local API keeps it in memory: nothing is written, nothing travels.
    async fn beat(&self) {
        let name = &self.node.name;
        let spec = json!({
            "holderIdentity": name,
            "leaseDurationSeconds": LOOK_INTERVAL.as_secs() * LEASE_LOOKS,
            "renewTime": format!("{:.6}", Timestamp::now()),
        });
        let patch = json!({"spec": spec});
        let beaten = match self.api.patch(&LEASES, LEASE_NAMESPACE, name, &patch).await {
            Err(error) if error.is_not_found() => {
                let lease = json!({
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": name, "namespace": LEASE_NAMESPACE},
                    "spec": spec,
                });
                self.api.create(&LEASES, LEASE_NAMESPACE, &lease).await
            }
            beaten => beaten,
        };
        if let Err(error) = beaten {
            tracing::debug!(error = %error_chain(&error), "no heartbeat");
        }
    }

    /// Makes object and status as they should be; the object as it is then, if it changed.
    async fn tell(&mut self, known: &Value) -> Option<Value> {
        let name = &self.node.name;
        let mut newer = None;
        if let Some(patch) = self.missing_metadata(known)
            && self.asked.as_ref() != Some(&patch)
        {
            self.asked = Some(patch.clone());
            match self.api.patch(&NODES, "", name, &patch).await {
                Ok(object) => newer = Some(object),
                Err(error) => warn(&error, "the labels of the node could not be written"),
            }
        }
        let previous = &known["status"];
        let (host, runtime) = (&self.host, &self.runtime);
        let now = Timestamp::now();
        let wanted = status(&self.node, host, runtime, self.pressure, previous, now);
        let uid = known["metadata"]["uid"].as_str().unwrap_or_default();
        if let Some(mut patch) = patch(previous, &wanted, uid) {
            if uid.is_empty() {
                // A node whose registration is under way has no life of its own yet.
                patch.as_object_mut()?.remove("metadata");
            }
            match self.api.patch_status(&NODES, "", name, &patch).await {
                Ok(object) => newer = Some(object),
                Err(error) => warn(&error, "the status of the node could not be written"),
            }
        }
        newer
    }

    /// A patch for own labels and annotations that are not there; those of others stay.
    fn missing_metadata(&self, known: &Value) -> Option<Value> {
        let metadata = &known["metadata"];
        let mut wanted = json!({});
        let maps = [
            (
                "labels",
                labels(&self.node, &self.host, &self.config.labels),
            ),
            ("annotations", annotations(&self.runtime)),
        ];
        for (field, map) in maps {
            for (key, value) in map {
                if metadata[field][&key] != value {
                    wanted[field][key] = value.into();
                }
            }
        }
        let has_some = wanted.as_object().is_some_and(|wanted| !wanted.is_empty());
        has_some.then(|| json!({"metadata": wanted}))
    }

    fn look(&mut self) {
        self.asked = None;
        let memory = memory();
        let disk = disk(&self.config.dir);
        let pids = pids();
        let Pressure {
            memory: was_memory,
            disk: was_disk,
            pids: was_pids,
        } = self.pressure;
        self.pressure = Pressure {
            memory: memory.map_or(was_memory, |(available, total)| {
                short(available, MEMORY_KIB_MIN.min(total / 20), was_memory)
            }),
            disk: disk.map_or(was_disk, |(available, total)| {
                short(available, total * DISK_PERCENT_MIN / 100, was_disk)
            }),
            pids: pids.map_or(was_pids, |(available, total)| {
                short(available, total * PIDS_PERCENT_MIN / 100, was_pids)
            }),
        };
    }
}

const fn short(available: u64, limit: u64, was_short: bool) -> bool {
    let limit = if was_short {
        limit.saturating_mul(RELIEF_PERCENT) / 100
    } else {
        limit
    };
    available < limit
}

fn warn(error: &ApiError, what: &'static str) {
    tracing::warn!(error = %error_chain(error), "{what}");
}

fn host_facts(dir: &Path) -> HostFacts {
    let text = |path: &str| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let release = text("/etc/os-release");
    let os_image = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    HostFacts {
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        memory_kib: memory().map_or(0, |(_, total)| total),
        disk_kib: disk(dir).map_or(0, |(_, total)| total),
        architecture: match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
        kernel: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
        os_image: os_image.unwrap_or("Linux").trim_matches('"').to_owned(),
        machine_id: text("/etc/machine-id"),
        boot_id: crate::runtime::process::host::boot(),
    }
}

/// Memory that is available and that there is, in KiB.
fn memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let value = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some((value("MemAvailable:")?, value("MemTotal:")?))
}

/// Disk that is available and that there is, in KiB.
fn disk(dir: &Path) -> Option<(u64, u64)> {
    let found = rustix::fs::statvfs(dir).ok()?;
    let kib = |blocks: u64| blocks.saturating_mul(found.f_frsize) >> 10;
    Some((kib(found.f_bavail), kib(found.f_blocks)))
}

/// Process ids that are free and that there are.
fn pids() -> Option<(u64, u64)> {
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    let used: u64 = load
        .split_whitespace()
        .nth(3)?
        .split_once('/')?
        .1
        .parse()
        .ok()?;
    let total: u64 = fs::read_to_string("/proc/sys/kernel/pid_max")
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some((total.saturating_sub(used), total))
}
