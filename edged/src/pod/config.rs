//! ConfigMaps, Secrets and service account tokens, as far as pods refer to them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use causeway_log::Resource;
use serde_json::Value;

use super::list;

/// Which kind of config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigKind {
    /// A `ConfigMap`.
    ConfigMap,
    /// A `Secret`.
    Secret,
    /// A `ServiceAccountToken`: what the cluster issued for one source of one volume of one pod.
    Token,
}

impl ConfigKind {
    /// The resource of its objects.
    #[must_use]
    pub fn resource(self) -> Resource {
        match self {
            Self::ConfigMap => Resource::core("configmaps"),
            Self::Secret => Resource::core("secrets"),
            Self::Token => Resource::new("causeway.dev", "serviceaccounttokens"),
        }
    }
}

/// The key of a token in its [`ConfigData`].
pub(super) const TOKEN_KEY: &str = "token";

/// The name of the object that brings the token for a source of a projected volume.
pub(super) fn token_name(uid: &str, volume: &str, source: usize) -> String {
    format!("{uid}.{volume}.{source}")
}

/// Names a config object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigRef {
    /// Its kind.
    pub kind: ConfigKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The content of a config object.
pub type ConfigData = BTreeMap<String, Bytes>;

/// What is known of config objects.
#[derive(Clone, Debug, Default)]
pub struct Configs {
    /// `None`: it is known not to exist. No entry: nothing is known yet.
    pub known: BTreeMap<ConfigRef, Option<ConfigData>>,
}

/// The config objects a pod refers to.
#[must_use]
pub fn references(pod: &Value) -> BTreeSet<ConfigRef> {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str);
    let namespace = text("/metadata/namespace").unwrap_or_default();
    let uid = text("/metadata/uid").unwrap_or_default();
    let mut found = BTreeSet::new();
    let mut add = |kind, name: Option<&Value>| {
        if let Some(name) = name.and_then(Value::as_str).filter(|name| !name.is_empty()) {
            found.insert(ConfigRef {
                kind,
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            });
        }
    };
    for container in ["/spec/initContainers", "/spec/containers"]
        .map(|at| list(pod, at))
        .concat()
    {
        for source in list(&container, "/envFrom") {
            add(ConfigKind::ConfigMap, source.pointer("/configMapRef/name"));
            add(ConfigKind::Secret, source.pointer("/secretRef/name"));
        }
        for variable in list(&container, "/env") {
            add(
                ConfigKind::ConfigMap,
                variable.pointer("/valueFrom/configMapKeyRef/name"),
            );
            add(
                ConfigKind::Secret,
                variable.pointer("/valueFrom/secretKeyRef/name"),
            );
        }
    }
    for volume in list(pod, "/spec/volumes") {
        add(ConfigKind::ConfigMap, volume.pointer("/configMap/name"));
        add(ConfigKind::Secret, volume.pointer("/secret/secretName"));
        for (index, source) in list(volume, "/projected/sources").iter().enumerate() {
            add(ConfigKind::ConfigMap, source.pointer("/configMap/name"));
            add(ConfigKind::Secret, source.pointer("/secret/name"));
            if source.get("serviceAccountToken").is_some() {
                let volume = volume.get("name").and_then(Value::as_str);
                let name = token_name(uid, volume.unwrap_or_default(), index);
                add(ConfigKind::Token, Some(&name.into()));
            }
        }
    }
    found
}

/// The content of a config object.
#[must_use]
pub fn config_data(kind: ConfigKind, object: &Value) -> ConfigData {
    use base64::Engine as _;
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
    let entries = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    };
    let plain = |(key, value): (&String, &Value)| {
        Some((
            key.clone(),
            Bytes::copy_from_slice(value.as_str()?.as_bytes()),
        ))
    };
    let encoded = |(key, value): (&String, &Value)| {
        Some((key.clone(), Bytes::from(decode(value.as_str()?)?)))
    };
    match kind {
        ConfigKind::ConfigMap => entries("data")
            .filter_map(plain)
            .chain(entries("binaryData").filter_map(encoded))
            .collect(),
        ConfigKind::Secret => entries("data").filter_map(encoded).collect(),
        ConfigKind::Token => object
            .get("token")
            .and_then(Value::as_str)
            .filter(|token| !token.is_empty())
            .map(|token| {
                (
                    TOKEN_KEY.to_owned(),
                    Bytes::copy_from_slice(token.as_bytes()),
                )
            })
            .into_iter()
            .collect(),
    }
}
