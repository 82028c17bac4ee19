//! The node object and its status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{condition, keep_foreign};
use crate::pod::NodeFacts;
use crate::runtime::RuntimeInfo;

/// The Kubernetes version whose node API this follows; clients parse it.
const KUBELET_VERSION: &str = concat!("v1.32.0+causeway-", env!("CARGO_PKG_VERSION"));
/// Says, where `kubectl describe node` shows it, that nothing isolates the pods.
const ISOLATED: &str = "causeway.dev/PodsIsolated";

/// What does not change while the host is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Number of processors.
    pub cpus: usize,
    /// Memory in KiB.
    pub memory_kib: u64,
    /// Disk that holds the pods, in KiB.
    pub disk_kib: u64,
    /// Processor architecture, in Kubernetes' words.
    pub architecture: &'static str,
    /// The kernel's release.
    pub kernel: String,
    /// The distribution.
    pub os_image: String,
    /// Identifies the installation.
    pub machine_id: String,
    /// Identifies the boot.
    pub boot_id: String,
}

/// What runs short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Memory.
    pub memory: bool,
    /// Disk.
    pub disk: bool,
    /// Process ids.
    pub pids: bool,
}

/// The labels a node gives itself; those of the configuration win.
#[must_use]
pub fn labels(
    node: &NodeFacts,
    host: &HostFacts,
    own: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let known = [
        ("kubernetes.io/hostname", node.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", host.architecture),
        ("node-role.kubernetes.io/edge", ""),
    ];
    let known = known.map(|(key, value)| (key.to_owned(), value.to_owned()));
    known.into_iter().chain(own.clone()).collect()
}

/// The node as it registers itself.
#[must_use]
pub fn object(node: &NodeFacts, labels: &BTreeMap<String, String>, runtime: &RuntimeInfo) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels, "annotations": annotations(runtime)},
        "spec": {},
    })
}

/// What the node says about its runtime.
#[must_use]
pub fn annotations(runtime: &RuntimeInfo) -> BTreeMap<String, String> {
    let isolation = if runtime.development_only {
        "none: pods run as plain processes of the host, for development only"
    } else {
        "containers"
    };
    let annotations = [
        ("causeway.dev/runtime", runtime.name),
        ("causeway.dev/isolation", isolation),
    ];
    annotations
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Says how the node is.
#[must_use]
pub fn status(
    node: &NodeFacts,
    host: &HostFacts,
    runtime: &RuntimeInfo,
    pressure: Pressure,
    previous: &Value,
    now: Timestamp,
) -> Value {
    let resources = json!({
        "cpu": host.cpus.to_string(),
        "memory": format!("{}Ki", host.memory_kib),
        "ephemeral-storage": format!("{}Ki", host.disk_kib),
        "pods": "110",
    });
    json!({
        "addresses": [
            {"type": "InternalIP", "address": node.address},
            {"type": "Hostname", "address": node.name},
        ],
        "allocatable": resources,
        "capacity": resources,
        "conditions": conditions(runtime, pressure, previous, now),
        "nodeInfo": {
            "architecture": host.architecture,
            "bootID": host.boot_id,
            "containerRuntimeVersion": format!("{}://{}", runtime.name, runtime.version),
            "kernelVersion": host.kernel,
            "kubeProxyVersion": "",
            "kubeletVersion": KUBELET_VERSION,
            "machineID": host.machine_id,
            "operatingSystem": "linux",
            "osImage": host.os_image,
            "systemUUID": host.machine_id,
        },
    })
}

fn conditions(
    runtime: &RuntimeInfo,
    pressure: Pressure,
    previous: &Value,
    now: Timestamp,
) -> Value {
    let one = |kind: &str, status: bool, reason: &str, message: &str| {
        let mut condition = condition(
            previous,
            kind,
            status,
            Some((reason, message.to_owned())),
            now,
        );
        // No heartbeats: the time it was last heard is the time it last changed.
        condition["lastHeartbeatTime"] = condition["lastTransitionTime"].clone();
        condition
    };
    let short = |kind: &str, what: &str, is_short: bool| {
        if is_short {
            one(
                kind,
                true,
                &format!("NodeHasInsufficient{what}"),
                "the node runs short of it",
            )
        } else {
            one(
                kind,
                false,
                &format!("NodeHasSufficient{what}"),
                "the node has enough of it",
            )
        }
    };
    let mut own = vec![
        short("MemoryPressure", "Memory", pressure.memory),
        short("DiskPressure", "Disk", pressure.disk),
        short("PIDPressure", "PID", pressure.pids),
        one(
            "Ready",
            true,
            "EdgedReady",
            "edged runs the pods of this node",
        ),
    ];
    if runtime.development_only {
        own.push(one(
            ISOLATED,
            false,
            "ProcessRuntime",
            "pods run as plain processes of the host, without isolation: for development only",
        ));
    }
    keep_foreign(previous, own)
}
