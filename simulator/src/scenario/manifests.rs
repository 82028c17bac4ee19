//! The user's own Kubernetes YAML: files, directories, or written in the scenario.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use causeway_kube_api::decide::{Context, prepare_create};
use causeway_kube_api::schema::FieldValidation;
use causeway_kube_api::{Catalog, ServedKind};
use causeway_log::{NodeName, WallTime};
use serde_json::Value;

use super::devices;
use super::fields::Notes;
use super::model::Manifest;
use super::tree::{At, Place, Tree};

/// What stands for the node's name in a manifest below `each_node:`.
const NODE: &str = "$(NODE)";
/// The largest manifest file that is read.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Where a scenario finds the files it names.
pub trait Files {
    /// The files at a path: itself, or the manifests of a directory by name. Name and text of each.
    ///
    /// # Errors
    /// When there is nothing at the path, or it cannot be read.
    fn read(&self, path: &str) -> io::Result<Vec<(String, String)>>;
}

/// Files relative to a directory, that of the scenario.
#[derive(Clone, Debug)]
pub struct Directory(pub PathBuf);

/// No files at all: a scenario that comes from elsewhere cannot read this machine's.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Files for Directory {
    fn read(&self, path: &str) -> io::Result<Vec<(String, String)>> {
        let root = self.0.join(path);
        let mut found = Vec::new();
        if std::fs::metadata(&root)?.is_dir() {
            for entry in std::fs::read_dir(&root)? {
                let file = entry?.path();
                let extension = file.extension().and_then(std::ffi::OsStr::to_str);
                if matches!(extension, Some("yaml" | "yml" | "json")) {
                    found.push(file);
                }
            }
            found.sort();
        } else {
            found.push(root);
        }
        found.iter().map(|file| read_file(file)).collect()
    }
}

fn read_file(file: &Path) -> io::Result<(String, String)> {
    if std::fs::metadata(file)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("the file is larger than 8 MiB"));
    }
    Ok((file.display().to_string(), std::fs::read_to_string(file)?))
}

impl Files for NoFiles {
    fn read(&self, _path: &str) -> io::Result<Vec<(String, String)>> {
        Err(io::Error::other("files cannot be read here"))
    }
}

/// Reads one entry of `manifests:` or the value of `apply:`. `resource` names the kind of objects
/// whose kind is not built in.
pub(super) fn entry(
    tree: &At<Tree>,
    resource: Option<&str>,
    nodes: &[NodeName],
    files: &dyn Files,
    notes: &mut Notes,
) -> Vec<Manifest> {
    if let Some([(key, each)]) = tree.value.as_map()
        && key.value == "each_node"
    {
        let templates = of_kind(read(each, files, notes), resource);
        let fill = |node| templates.iter().map(move |template| template.of(node));
        // If one is good, so are all.
        let first: Vec<Manifest> = nodes.first().into_iter().flat_map(fill).collect();
        validate(&first, tree.place, notes);
        return nodes.iter().flat_map(fill).collect();
    }
    if let Some([(key, named), (other, objects)]) = tree.value.as_map()
        && (&*key.value, &*other.value) == ("resource", "objects")
    {
        let named = notes.text(named, "the resource of a custom kind: widgets.example.com");
        return entry(objects, named.as_deref(), nodes, files, notes);
    }
    if let Some(items) = tree.value.as_list() {
        let mut manifests = Vec::new();
        for item in items {
            manifests.extend(entry(item, resource, nodes, files, notes));
        }
        return manifests;
    }
    let manifests = of_kind(read(tree, files, notes), resource);
    validate(&manifests, tree.place, notes);
    manifests
}

/// The same; those of no built-in kind are of `resource`. Every cloud serves the kinds of devices.
fn of_kind(mut manifests: Vec<Manifest>, resource: Option<&str>) -> Vec<Manifest> {
    for manifest in &mut manifests {
        if manifest.kind().is_none() {
            let named = resource.or_else(|| devices::resource_of(&manifest.object));
            manifest.resource = named.map(ToOwned::to_owned);
        }
    }
    manifests
}

/// The objects at a path, or the one that stands here.
fn read(tree: &At<Tree>, files: &dyn Files, notes: &mut Notes) -> Vec<Manifest> {
    match &tree.value {
        Tree::Text(path) => load(path, tree.place, files, notes),
        Tree::List(items) => {
            let mut manifests = Vec::new();
            for item in items {
                manifests.extend(read(item, files, notes));
            }
            manifests
        }
        Tree::Map(_) => {
            let source = format!("line {}", tree.place.line);
            check(source, tree.value.json(), tree.place, notes)
                .into_iter()
                .collect()
        }
        Tree::Null | Tree::Bool(_) | Tree::Number(_) => {
            let what = "a path, a Kubernetes object, `each_node:` with one of them, or a list";
            notes.expected(tree, what);
            Vec::new()
        }
    }
}

/// What the API would refuse is a mistake here, where its place is known.
fn validate(manifests: &[Manifest], place: Place, notes: &mut Notes) {
    for manifest in manifests {
        let Manifest {
            source,
            resource,
            object,
        } = manifest;
        let Some(kind) = manifest.kind() else {
            // What a custom kind takes is known to its definition only.
            if resource.is_none() {
                let (version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
                let what = format!(
                    "expected a built-in kind, but {source} is a {version} {kind}; a custom kind \
                     is named by `resource:`, beside `apply:` or in `manifests:`"
                );
                notes.at(place, what);
            }
            continue;
        };
        let kind = &*kind;
        let namespace = match text(object, "/metadata/namespace") {
            "" if kind.namespaced => "default",
            namespace => namespace,
        };
        let context = Context {
            now: WallTime::from_unix_millis(0),
            uid: uuid::Uuid::from_u128(1),
            namespace: namespace.to_owned(),
            name: text(object, "/metadata/name").to_owned(),
            field_validation: FieldValidation::Strict,
        };
        if let Err(status) = prepare_create(kind, object.clone(), &context) {
            notes.at(
                place,
                format!("the API refuses {source}: {}", status.message),
            );
        }
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn load(path: &str, place: Place, files: &dyn Files, notes: &mut Notes) -> Vec<Manifest> {
    let found = match files.read(path) {
        Ok(found) => found,
        Err(error) => {
            let what =
                format!("expected a manifest file or a directory of them at `{path}`: {error}");
            notes.at(place, what);
            return Vec::new();
        }
    };
    if found.is_empty() {
        notes.at(
            place,
            format!("expected manifests in `{path}`, found no .yaml, .yml or .json"),
        );
    }
    let mut manifests = Vec::new();
    for (name, text) in found {
        let objects: Result<Vec<Value>, _> = serde_saphyr::from_multiple(&text);
        match objects {
            Ok(objects) => {
                for (number, object) in objects.into_iter().enumerate() {
                    if !object.is_null() {
                        let source = format!("{name}, document {}", number.saturating_add(1));
                        manifests.extend(check(source, object, place, notes));
                    }
                }
            }
            Err(error) => {
                let error = error.to_string();
                let first = error.lines().next().unwrap_or_default();
                notes.at(place, format!("{name} is no YAML: {first}"));
            }
        }
    }
    manifests
}

fn check(source: String, object: Value, place: Place, notes: &mut Notes) -> Option<Manifest> {
    for field in ["apiVersion", "kind", "metadata.name"] {
        let pointer = format!("/{}", field.replace('.', "/"));
        let text = object.pointer(&pointer).and_then(Value::as_str);
        if text.is_none_or(str::is_empty) {
            let what = format!("expected a Kubernetes object, but {source} has no {field}");
            notes.at(place, what);
            return None;
        }
    }
    Some(Manifest {
        source,
        resource: None,
        object,
    })
}

impl Manifest {
    /// The object for one node.
    fn of(&self, node: &NodeName) -> Self {
        let mut object = self.object.clone();
        fill(&mut object, node.as_str());
        Self {
            source: self.source.clone(),
            resource: self.resource.clone(),
            object,
        }
    }

    /// Its kind, when that is built in.
    fn kind(&self) -> Option<Arc<ServedKind>> {
        let api_version = text(&self.object, "/apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = text(&self.object, "/kind");
        Catalog::builtin()
            .find_kind(group, version, kind)
            .map(Arc::clone)
    }

    /// Namespace and name of the object, and its kind.
    #[must_use]
    pub fn about(&self) -> String {
        let text = |pointer| self.object.pointer(pointer).and_then(Value::as_str);
        let kind = text("/kind").unwrap_or_default();
        let name = text("/metadata/name").unwrap_or_default();
        match text("/metadata/namespace") {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}"),
        }
    }
}

fn fill(value: &mut Value, node: &str) {
    match value {
        Value::String(text) if text.contains(NODE) => *text = text.replace(NODE, node),
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, node)),
        Value::Object(fields) => fields.values_mut().for_each(|value| fill(value, node)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
