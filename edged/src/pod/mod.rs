//! What the API wants of this node: pods, read and resolved against the config they name. Pure.

mod config;
mod env;
mod volume;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

pub use self::config::{ConfigData, ConfigKind, ConfigRef, Configs, config_data, references};
pub use self::volume::{File, Volume, VolumeSource, hash_all};

use crate::config::GRACE_DEFAULT;
use crate::hash::Fnv;
use crate::probes::ProbeSpec;
use crate::runtime::{ContainerConfig, Mount, RunAs, SandboxConfig};

/// A pod as it should be.
#[derive(Clone, Debug)]
pub struct DesiredPod {
    /// Tells this life of the name from others.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Set when it is to go, with the grace its containers get.
    pub deletion: Option<Duration>,
    /// Grace when a container is stopped for another reason.
    pub grace: Duration,
    /// It has ended for good (phase `Succeeded` or `Failed`), so nothing is started again.
    pub ended: bool,
    /// What to do with containers that ended.
    pub restart: RestartPolicy,
    /// Run before the others, one after the other.
    pub init: Vec<DesiredContainer>,
    /// The containers.
    pub containers: Vec<DesiredContainer>,
    /// What volumes hold, or why that cannot be said yet.
    pub volumes: Result<Vec<Volume>, Problem>,
}

/// A container as it should be.
#[derive(Clone, Debug)]
pub struct DesiredContainer {
    /// Its name in the pod.
    pub name: String,
    /// Its image, as the pod names it.
    pub image: String,
    /// Identifies what it is made from.
    pub spec_hash: u64,
    /// An init container that stays (`restartPolicy: Always`).
    pub sidecar: bool,
    /// What to create, with attempt 0 and without the host's side of mounts; or why not.
    pub config: Result<ContainerConfig, Problem>,
    /// Which volume each mount shows, and which part of it.
    pub mounts: Vec<VolumeMount>,
    /// How to ask whether it is well.
    pub probes: ProbeSpec,
}

/// A volume shown in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeMount {
    /// The volume's name.
    pub volume: String,
    /// Where it appears.
    pub path: String,
    /// The part that appears; empty for the whole.
    pub sub_path: String,
    /// The container must not write.
    pub read_only: bool,
}

impl DesiredPod {
    /// What its sandbox is labelled with.
    #[must_use]
    pub fn sandbox_config(&self) -> SandboxConfig {
        SandboxConfig {
            uid: self.uid.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            grace: self.grace,
            labels: self.labels.clone(),
        }
    }

    /// One of its containers, init containers included.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&DesiredContainer> {
        self.init
            .iter()
            .chain(&self.containers)
            .find(|container| container.name == name)
    }
}

/// What to do with containers that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Start them again.
    #[default]
    Always,
    /// Start them again unless they succeeded.
    OnFailure,
    /// Leave them.
    Never,
}

/// Why something cannot be done yet, in Kubernetes' words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One word, as in a container's waiting state.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// Nothing is wrong, it is only not known yet: no event.
    pub quiet: bool,
}

/// Facts of the node that pods can ask for.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// The node's name.
    pub name: String,
    /// Address of the node and, as they share its network, of its pods.
    pub address: String,
}

/// Reads a pod and resolves what it refers to.
///
/// # Errors
/// What makes it impossible to run as it stands; the API should have refused it.
pub fn resolve(pod: &Value, configs: &Configs, node: &NodeFacts) -> Result<DesiredPod, Problem> {
    let text = |pointer: &str| {
        pod.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (uid, name) = (text("/metadata/uid"), text("/metadata/name"));
    if uid.is_empty() || name.is_empty() {
        return Err(invalid("the pod has no name or no uid"));
    }
    let seconds = |pointer: &str| pod.pointer(pointer).and_then(Value::as_u64);
    let grace =
        seconds("/spec/terminationGracePeriodSeconds").map_or(GRACE_DEFAULT, Duration::from_secs);
    let deletion = pod.pointer("/metadata/deletionTimestamp").map(|_| {
        seconds("/metadata/deletionGracePeriodSeconds").map_or(grace, Duration::from_secs)
    });
    let scope = Scope {
        pod,
        configs,
        node,
        namespace: text("/metadata/namespace"),
    };
    let containers = |pointer: &str| -> Vec<DesiredContainer> {
        list(pod, pointer)
            .iter()
            .map(|container| scope.container(container))
            .collect()
    };
    let (init, containers) = (
        containers("/spec/initContainers"),
        containers("/spec/containers"),
    );
    if containers.is_empty() {
        return Err(invalid("the pod has no containers"));
    }
    Ok(DesiredPod {
        uid: uid.to_owned(),
        namespace: scope.namespace.to_owned(),
        name: name.to_owned(),
        labels: strings(pod.pointer("/metadata/labels")),
        deletion,
        grace,
        ended: matches!(text("/status/phase"), "Succeeded" | "Failed"),
        restart: match text("/spec/restartPolicy") {
            "Never" => RestartPolicy::Never,
            "OnFailure" => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        },
        init,
        containers,
        volumes: scope.volumes(),
    })
}

/// What references in one pod are resolved against.
struct Scope<'a> {
    pod: &'a Value,
    configs: &'a Configs,
    node: &'a NodeFacts,
    namespace: &'a str,
}

impl<'a> Scope<'a> {
    fn container(&self, spec: &Value) -> DesiredContainer {
        let text = |key: &str| {
            spec.get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let mounts: Vec<VolumeMount> = list(spec, "/volumeMounts")
            .iter()
            .map(volume_mount)
            .collect();
        DesiredContainer {
            name: text("name"),
            image: text("image"),
            spec_hash: spec_hash(spec),
            sidecar: text("restartPolicy") == "Always",
            config: self.config(spec),
            mounts,
            probes: ProbeSpec::read(spec),
        }
    }

    fn config(&self, spec: &Value) -> Result<ContainerConfig, Problem> {
        let env = self.environment(spec)?;
        let expand = |value: &Value| env::expand(value.as_str().unwrap_or_default(), &env);
        let texts = |pointer: &str| list(spec, pointer).iter().map(expand).collect();
        let text = |key: &str| {
            spec.get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let working_dir = Some(text("workingDir")).filter(|dir| !dir.is_empty());
        Ok(ContainerConfig {
            name: text("name"),
            attempt: 0,
            spec_hash: spec_hash(spec),
            image: text("image"),
            command: texts("/command"),
            args: texts("/args"),
            working_dir,
            mounts: Vec::<Mount>::new(),
            run_as: self.run_as(spec),
            env,
        })
    }

    fn run_as(&self, spec: &Value) -> RunAs {
        let id = |field: &str| {
            let own = spec.pointer(&format!("/securityContext/{field}"));
            own.or_else(|| self.pod.pointer(&format!("/spec/securityContext/{field}")))
                .and_then(Value::as_u64)
                .and_then(|id| u32::try_from(id).ok())
        };
        RunAs {
            user: id("runAsUser"),
            group: id("runAsGroup"),
        }
    }

    /// The content of a config object; `None` when it does not exist and need not.
    fn data(
        &self,
        kind: ConfigKind,
        name: &str,
        optional: bool,
        reason: &'static str,
    ) -> Result<Option<&'a ConfigData>, Problem> {
        let wanted = ConfigRef {
            kind,
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
        };
        let word = match kind {
            ConfigKind::ConfigMap => "configmap",
            ConfigKind::Secret => "secret",
            ConfigKind::Token => "token",
        };
        match self.configs.known.get(&wanted) {
            Some(Some(data)) => Ok(Some(data)),
            Some(None) if optional => Ok(None),
            Some(None) => Err(Problem {
                reason,
                message: format!("{word} {name:?} not found"),
                quiet: false,
            }),
            None => {
                let message = format!("{word} {name:?} is not read yet");
                Err(Problem {
                    reason: "ContainerCreating",
                    message,
                    quiet: true,
                })
            }
        }
    }

    /// A field of the pod that env and files can show.
    fn field(&self, path: &str) -> Result<String, Problem> {
        let at = |pointer: &str| {
            self.pod
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let keyed = |map: &str| -> Option<String> {
            let key = path
                .strip_prefix(&format!("metadata.{map}['"))?
                .strip_suffix("']")?;
            let value = self
                .pod
                .get("metadata")?
                .get(map)
                .and_then(|map| map.get(key));
            Some(value.and_then(Value::as_str).unwrap_or_default().to_owned())
        };
        let lines = |map: &str| {
            strings(self.pod.pointer(&format!("/metadata/{map}")))
                .iter()
                .map(|(key, value)| format!("{key}={value:?}"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        Ok(match path {
            "metadata.name" => at("/metadata/name"),
            "metadata.namespace" => at("/metadata/namespace"),
            "metadata.uid" => at("/metadata/uid"),
            "metadata.labels" => lines("labels"),
            "metadata.annotations" => lines("annotations"),
            "spec.nodeName" => self.node.name.clone(),
            "spec.serviceAccountName" => at("/spec/serviceAccountName"),
            "status.podIP" | "status.podIPs" | "status.hostIP" | "status.hostIPs" => {
                self.node.address.clone()
            }
            _ => keyed("labels")
                .or_else(|| keyed("annotations"))
                .ok_or_else(|| Problem {
                    reason: "CreateContainerConfigError",
                    message: format!("field {path:?} cannot be shown to containers"),
                    quiet: false,
                })?,
        })
    }
}

fn volume_mount(mount: &Value) -> VolumeMount {
    let text = |key: &str| {
        mount
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    VolumeMount {
        volume: text("name"),
        path: text("mountPath"),
        sub_path: text("subPath"),
        read_only: mount
            .get("readOnly")
            .and_then(Value::as_bool)
            .unwrap_or(false),
    }
}

/// Covers what a container is made from, and nothing that defaulting may add.
fn spec_hash(spec: &Value) -> u64 {
    [
        "image",
        "command",
        "args",
        "env",
        "envFrom",
        "workingDir",
        "volumeMounts",
    ]
    .iter()
    .fold(Fnv::new(), |hash, key| {
        let field = spec.get(key).map(Value::to_string).unwrap_or_default();
        hash.field(field.as_bytes())
    })
    .finish()
}

fn invalid(message: &str) -> Problem {
    Problem {
        reason: "InvalidPod",
        message: message.to_owned(),
        quiet: false,
    }
}

fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn strings(map: Option<&Value>) -> BTreeMap<String, String> {
    map.and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests;
