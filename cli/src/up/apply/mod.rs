//! Applying manifests: the example in this binary, or files.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Args, Plane};
use crate::discovery::{Kind, Kinds};
use crate::exit::Coded;

/// A file of `examples` in this binary: its path there, and what it says.
macro_rules! example {
    ($path:literal) => {
        (
            concat!("examples/", $path),
            include_str!(concat!("../../../../examples/", $path)),
        )
    };
}

/// The example, in the order in which it is applied.
const EXAMPLE: [(&str, &str); 3] = [
    example!("hello/00-namespace.yaml"),
    example!("hello/10-config.yaml"),
    example!("hello/20-pods.yaml"),
];

/// A device, where there is the Device API.
const DEVICE: [(&str, &str); 2] = [
    example!("thermostat/10-model.yaml"),
    example!("thermostat/20-device.yaml"),
];

/// The label of edge nodes in a Kubernetes cluster.
const EDGE_LABEL: &str = "node-role.kubernetes.io/edge";

/// One object of a manifest and where it stands.
#[derive(Debug)]
pub(super) struct Document {
    source: String,
    object: Value,
    /// Whether it is left out where nobody knows its kind, and where there is one of its name.
    is_extra: bool,
}

/// How many objects were created, changed, or already as wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    created: usize,
    changed: usize,
    unchanged: usize,
    /// Kinds of what was left out, as nobody knows them.
    unknown: BTreeSet<String>,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            created,
            changed,
            unchanged,
            unknown: _,
        } = self;
        write!(
            f,
            "manifests: {created} created, {changed} changed, {unchanged} unchanged"
        )
    }
}

impl Applied {
    /// What to say of devices that were left out.
    pub(super) fn hint(&self) -> Option<&'static str> {
        self.unknown.contains("Device").then_some(
            "no thermostat: this cluster has no Device API; \
             kubectl apply -f deploy/kubernetes/chart/crds, and `up` again",
        )
    }
}

/// Reads what is to be applied, before anything is started.
///
/// # Errors
/// When a file cannot be read or is no manifest.
pub(super) fn load(args: &Args) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    if args.manifest.is_empty() && !args.no_example {
        for (source, text) in EXAMPLE {
            parse(source, text, &mut documents)?;
        }
        if args.cluster.is_given() {
            // It may have other nodes, which run images.
            for pod in documents
                .iter_mut()
                .filter(|one| one.object["kind"] == "Pod")
            {
                pod.object["spec"]["nodeSelector"] = json!({EDGE_LABEL: ""});
            }
        }
        let devices = documents.len();
        for (source, text) in DEVICE {
            parse(source, text, &mut documents)?;
        }
        for device in &mut documents[devices..] {
            // A cluster need not know devices, and may have others of these names.
            device.is_extra = args.cluster.is_given();
        }
    }
    for path in &args.manifest {
        for file in files(path)? {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            parse(&file.display().to_string(), &text, &mut documents)?;
        }
    }
    Ok(documents)
}

/// Creates or changes the objects, in order.
///
/// # Errors
/// When the server refuses one; those before it are applied.
pub(super) async fn apply(server: &Plane, documents: &[Document]) -> Result<Applied> {
    let mut kinds = Kinds::of(server).await?;
    let mut applied = Applied::default();
    for document in documents {
        if kinds.of_object(&document.object).is_none() {
            // A custom kind defined a document earlier.
            kinds = Kinds::of(server).await?;
        }
        let kind = kinds.of_object(&document.object);
        if document.is_extra && kind.is_none() {
            let kind = document.object["kind"].as_str().unwrap_or_default();
            applied.unknown.insert(kind.to_owned());
            continue;
        }
        let kind = kind.ok_or_else(|| {
            let what = format!("{}: the server does not know this kind", document.source);
            Coded::failed(what)
        })?;
        apply_one(server, kind, document, &mut applied)
            .await
            .with_context(|| format!("cannot apply {}", document.source))?;
    }
    Ok(applied)
}

/// Namespace and name of each pod among the documents.
pub(super) fn pods(documents: &[Document]) -> Vec<(String, String)> {
    let pods = documents.iter().filter(|document| {
        document.object["kind"] == "Pod" && document.object["apiVersion"] == "v1"
    });
    pods.map(|pod| {
        (
            namespace(&pod.object).to_owned(),
            name(&pod.object).to_owned(),
        )
    })
    .collect()
}

async fn apply_one(
    server: &Plane,
    kind: &Kind,
    document: &Document,
    applied: &mut Applied,
) -> Result<()> {
    let Document {
        object, is_extra, ..
    } = document;
    let namespace = if kind.namespaced {
        namespace(object)
    } else {
        ""
    };
    let collection = kind.path(namespace, None);
    if server.create(&collection, object).await? {
        applied.created += 1;
        if kind.plural == "namespaces" {
            server.namespace_usable(name(object)).await?;
        }
        return Ok(());
    }
    let path = kind.path(namespace, Some(name(object)));
    let held = server.get(&path).await?;
    if *is_extra || covers(&held, &stored_form(object)) {
        applied.unchanged += 1;
    } else {
        server.merge_patch(&path, object).await?;
        applied.changed += 1;
    }
    Ok(())
}

/// Whether `held` has everything that `wanted` says; what the server added does not matter.
fn covers(held: &Value, wanted: &Value) -> bool {
    match (held, wanted) {
        (Value::Object(held), Value::Object(wanted)) => wanted
            .iter()
            .all(|(field, wanted)| held.get(field).is_some_and(|held| covers(held, wanted))),
        // The server may append, such as tolerations, but keeps the order.
        (Value::Array(held), Value::Array(wanted)) => {
            held.len() >= wanted.len()
                && held
                    .iter()
                    .zip(wanted)
                    .all(|(held, wanted)| covers(held, wanted))
        }
        (held, wanted) => held == wanted,
    }
}

/// The object as a server keeps it: `stringData` of a Secret is written only.
fn stored_form(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut()
        && let Some(Value::Object(strings)) = fields.remove("stringData")
    {
        let data = fields
            .entry("data")
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
        for (name, text) in strings {
            data[name] = Value::String(base64(text.as_str().unwrap_or_default().as_bytes()));
        }
    }
    object
}

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            let letter = if place <= chunk.len() {
                ALPHABET[index as usize]
            } else {
                b'='
            };
            text.push(char::from(letter));
        }
    }
    text
}

fn parse(source: &str, text: &str, into: &mut Vec<Document>) -> Result<()> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| Coded::failed(format!("{source} is no YAML: {error}")))?;
    for (number, object) in objects.into_iter().enumerate() {
        if object.is_null() {
            continue;
        }
        let source = format!("{source}, document {}", number + 1);
        for field in ["/apiVersion", "/kind", "/metadata/name"] {
            if object.pointer(field).and_then(Value::as_str).is_none() {
                let field = field.trim_start_matches('/').replace('/', ".");
                return Err(Coded::failed(format!("{source} has no {field}")).into());
            }
        }
        into.push(Document {
            source,
            object,
            is_extra: false,
        });
    }
    Ok(())
}

/// The file itself, or the manifests of a directory by name.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let what = || format!("cannot read {}", path.display());
    if !std::fs::metadata(path).with_context(what)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).with_context(what)? {
        let file = entry.with_context(what)?.path();
        let extension = file.extension().and_then(std::ffi::OsStr::to_str);
        if matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn namespace(object: &Value) -> &str {
    object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or("default")
}

fn name(object: &Value) -> &str {
    object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
