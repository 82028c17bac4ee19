//! What the volumes of a pod hold.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use serde_json::Value;

use super::config::{TOKEN_KEY, token_name};
use super::{ConfigKind, ConfigRef, Problem, Scope, list};
use crate::hash::Fnv;

/// Mode of a file whose volume names none.
const MODE_DEFAULT: u32 = 0o644;
/// The reason containers wait with while a volume cannot be made.
const REASON: &str = "ContainerCreating";

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name in the pod.
    pub name: String,
    /// What it shows.
    pub source: VolumeSource,
}

/// What a volume shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeSource {
    /// A directory that begins empty and lives as long as the pod.
    Empty,
    /// A path of the host.
    Host {
        /// The path.
        path: PathBuf,
        /// Make a directory there when there is nothing.
        create: bool,
    },
    /// Files, by relative path, replaced together when they change.
    Files(BTreeMap<String, File>),
}

/// A file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its content.
    pub content: Bytes,
    /// Its permission bits.
    pub mode: u32,
}

impl Volume {
    /// Identifies what it holds.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let named = Fnv::new().field(self.name.as_bytes());
        match &self.source {
            VolumeSource::Empty => named.field(b"empty"),
            VolumeSource::Host { path, .. } => named.field(path.as_os_str().as_encoded_bytes()),
            VolumeSource::Files(files) => files.iter().fold(named, |hash, (path, file)| {
                hash.field(path.as_bytes())
                    .field(&file.content)
                    .field(&file.mode.to_be_bytes())
            }),
        }
        .finish()
    }
}

/// Identifies what all volumes of a pod hold.
#[must_use]
pub fn hash_all(volumes: &[Volume]) -> u64 {
    volumes
        .iter()
        .fold(Fnv::new(), |hash, one| {
            hash.field(&one.hash().to_be_bytes())
        })
        .finish()
}

type Files = BTreeMap<String, File>;

impl Scope<'_> {
    pub(super) fn volumes(&self) -> Result<Vec<Volume>, Problem> {
        list(self.pod, "/spec/volumes")
            .iter()
            .map(|volume| self.volume(volume))
            .collect()
    }

    fn volume(&self, volume: &Value) -> Result<Volume, Problem> {
        let name = text(volume, "/name");
        let source = if volume.get("emptyDir").is_some() {
            VolumeSource::Empty
        } else if let Some(host) = volume.get("hostPath") {
            let create = matches!(text(host, "/type").as_str(), "DirectoryOrCreate");
            VolumeSource::Host {
                path: text(host, "/path").into(),
                create,
            }
        } else {
            let mut files = Files::new();
            self.files(volume, &mut files)?;
            VolumeSource::Files(files)
        };
        Ok(Volume { name, source })
    }

    fn files(&self, volume: &Value, files: &mut Files) -> Result<(), Problem> {
        if let Some(source) = volume.get("configMap") {
            let mode = mode(source, "/defaultMode", MODE_DEFAULT);
            return self.keys(
                ConfigKind::ConfigMap,
                &text(source, "/name"),
                source,
                mode,
                files,
            );
        }
        if let Some(source) = volume.get("secret") {
            let mode = mode(source, "/defaultMode", MODE_DEFAULT);
            return self.keys(
                ConfigKind::Secret,
                &text(source, "/secretName"),
                source,
                mode,
                files,
            );
        }
        if let Some(source) = volume.get("downwardAPI") {
            return self.fields(source, mode(source, "/defaultMode", MODE_DEFAULT), files);
        }
        let Some(projected) = volume.get("projected") else {
            let message = format!(
                "volume {:?} is of a kind this node does not support",
                text(volume, "/name")
            );
            return Err(problem(message));
        };
        let mode = mode(projected, "/defaultMode", MODE_DEFAULT);
        for (index, source) in list(projected, "/sources").iter().enumerate() {
            if let Some(source) = source.get("configMap") {
                self.keys(
                    ConfigKind::ConfigMap,
                    &text(source, "/name"),
                    source,
                    mode,
                    files,
                )?;
            } else if let Some(source) = source.get("secret") {
                self.keys(
                    ConfigKind::Secret,
                    &text(source, "/name"),
                    source,
                    mode,
                    files,
                )?;
            } else if let Some(source) = source.get("downwardAPI") {
                self.fields(source, mode, files)?;
            } else if let Some(source) = source.get("serviceAccountToken") {
                let name = token_name(self.uid(), &text(volume, "/name"), index);
                let content = self.token(&name)?;
                let mode = if self.runs_as_others() {
                    mode
                } else {
                    mode & 0o700
                };
                put(files, text(source, "/path"), File { content, mode })?;
            } else {
                let message = format!(
                    "volume {:?} has a source that this node does not support",
                    text(volume, "/name")
                );
                return Err(problem(message));
            }
        }
        Ok(())
    }

    fn uid(&self) -> &str {
        let uid = self.pod.pointer("/metadata/uid");
        uid.and_then(Value::as_str).unwrap_or_default()
    }

    /// A token as it came last, whatever its age: whether it still counts is for whom it is shown to
    /// to say. The cluster issues it after it has bound the pod.
    fn token(&self, name: &str) -> Result<Bytes, Problem> {
        let wanted = ConfigRef {
            kind: ConfigKind::Token,
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
        };
        let known = self.configs.known.get(&wanted).and_then(Option::as_ref);
        let token = known.and_then(|data| data.get(TOKEN_KEY));
        token.cloned().ok_or_else(|| Problem {
            quiet: true,
            ..problem("the token of its service account has not come from the cloud yet".to_owned())
        })
    }

    /// Whether a container may run as another user than this program, and must be let in.
    fn runs_as_others(&self) -> bool {
        let named = |context: Option<&Value>| {
            context.is_some_and(|context| {
                ["runAsUser", "runAsGroup", "fsGroup"]
                    .iter()
                    .any(|field| context.get(*field).is_some())
            })
        };
        named(self.pod.pointer("/spec/securityContext"))
            || ["/spec/initContainers", "/spec/containers"]
                .iter()
                .flat_map(|at| list(self.pod, at))
                .any(|container| named(container.get("securityContext")))
    }

    fn keys(
        &self,
        kind: ConfigKind,
        name: &str,
        source: &Value,
        mode_default: u32,
        files: &mut Files,
    ) -> Result<(), Problem> {
        let optional = source
            .get("optional")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let Some(data) = self.data(kind, name, optional, REASON)? else {
            return Ok(());
        };
        let items = list(source, "/items");
        if items.is_empty() {
            for (key, content) in data {
                let file = File {
                    content: content.clone(),
                    mode: mode_default,
                };
                put(files, key.clone(), file)?;
            }
        }
        for item in items {
            let key = text(item, "/key");
            match data.get(&key) {
                Some(content) => {
                    let mode = mode(item, "/mode", mode_default);
                    put(
                        files,
                        text(item, "/path"),
                        File {
                            content: content.clone(),
                            mode,
                        },
                    )?;
                }
                None if optional => {}
                None => {
                    let message = format!("references non-existent config key: {key} in {name}");
                    return Err(problem(message));
                }
            }
        }
        Ok(())
    }

    fn fields(&self, source: &Value, mode_default: u32, files: &mut Files) -> Result<(), Problem> {
        for item in list(source, "/items") {
            let Some(path) = item.pointer("/fieldRef/fieldPath").and_then(Value::as_str) else {
                return Err(problem(
                    "downwardAPI shows fields only, no resources".to_owned(),
                ));
            };
            let content = Bytes::from(self.field(path)?);
            let mode = mode(item, "/mode", mode_default);
            put(files, text(item, "/path"), File { content, mode })?;
        }
        Ok(())
    }
}

/// Adds a file, if its path stays inside the volume.
fn put(files: &mut Files, path: String, file: File) -> Result<(), Problem> {
    let inside = !path.is_empty()
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
        && !path.starts_with("..");
    if !inside {
        return Err(problem(format!(
            "{path:?} cannot be a path inside a volume"
        )));
    }
    files.insert(path, file);
    Ok(())
}

fn mode(value: &Value, pointer: &str, default: u32) -> u32 {
    value
        .pointer(pointer)
        .and_then(Value::as_u64)
        .and_then(|mode| u32::try_from(mode).ok())
        .map_or(default, |mode| mode & 0o777)
}

fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn problem(message: String) -> Problem {
    Problem {
        reason: REASON,
        message,
        quiet: false,
    }
}
