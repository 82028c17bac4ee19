//! OpenAPI documents: as much as kubectl asks for.
//!
//! - kubectl before 1.24 reads `/openapi/v2` as protobuf: it checks manifests against it, and
//!   `explain` prints it.
//! - kubectl from 1.27 reads `/openapi/v3`: a PATCH that lists `fieldValidation` says that the
//!   server checks unknown fields, and `explain` prints the schemas.
//!
//! Patches list no request bodies on purpose: kubectl then computes strategic patches from the types
//! compiled into it, which know more than any document.
//!
//! Documents are made when asked for, and not kept: they are asked for rarely and are large.

mod definitions;
mod proto;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use self::definitions::Definitions;
use crate::catalog::{Catalog, ServedKind};

/// Media type of [`v2_protobuf`] as clients ask for it.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

const TITLE: &str = "Causeway";

/// `/openapi/v2` as JSON.
#[must_use]
pub fn v2_json(catalog: &Catalog) -> Value {
    let mut definitions = Definitions::new("#/definitions/");
    for kind in catalog.kinds() {
        definitions.add(kind);
    }
    json!({
        "swagger": "2.0",
        "info": {"title": TITLE, "version": env!("CARGO_PKG_VERSION")},
        "paths": {},
        "definitions": definitions.finish(),
    })
}

/// `/openapi/v2` as protobuf.
#[must_use]
pub fn v2_protobuf(catalog: &Catalog) -> Vec<u8> {
    proto::document(&v2_json(catalog))
}

/// `/openapi/v3`: which group versions have a document.
#[must_use]
pub fn v3_index(catalog: &Catalog) -> Value {
    let mut paths = Map::new();
    for kind in catalog.kinds() {
        let path = group_version_path(kind);
        let url = json!({"serverRelativeURL": format!("/openapi/v3/{path}")});
        paths.insert(path, url);
    }
    json!({ "paths": paths })
}

/// `/openapi/v3/api/v1` or `/openapi/v3/apis/{group}/{version}`; `None` when nothing of it is served.
#[must_use]
pub fn v3_document(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    let mut definitions = Definitions::new("#/components/schemas/");
    let mut paths = Map::new();
    for kind in catalog.kinds() {
        if *kind.resource.group != *group || *kind.version != *version {
            continue;
        }
        definitions.add(kind);
        let (path, item) = path_item(kind);
        paths.insert(path, item);
    }
    if paths.is_empty() {
        return None;
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": TITLE, "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {"schemas": definitions.finish()},
    }))
}

/// `api/v1` or `apis/apps/v1`.
fn group_version_path(kind: &ServedKind) -> String {
    let prefix = if kind.resource.group.is_empty() {
        "api"
    } else {
        "apis"
    };
    format!("{prefix}/{}", kind.api_version())
}

/// The path of one object, with what can be done to it.
fn path_item(kind: &ServedKind) -> (String, Value) {
    let namespace = if kind.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let path = format!(
        "/{}{namespace}/{}/{{name}}",
        group_version_path(kind),
        kind.resource.plural
    );
    let parameter = |name: &str, place: &str| {
        let required = place == "path";
        json!({"name": name, "in": place, "required": required, "schema": {"type": "string"}})
    };
    let mut shared = vec![parameter("name", "path")];
    if kind.namespaced {
        shared.push(parameter("namespace", "path"));
    }
    let operation = |action: &str, queries: &[&str]| {
        let queries: Vec<Value> = queries
            .iter()
            .map(|name| parameter(name, "query"))
            .collect();
        json!({
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": group_version_kind(kind),
            "parameters": queries,
            "responses": {"200": {"description": "OK"}},
        })
    };
    let item = json!({
        "parameters": shared,
        "get": operation("get", &[]),
        "put": operation("put", &["dryRun", "fieldValidation"]),
        "patch": operation("patch", &["dryRun", "fieldValidation"]),
        "delete": operation("delete", &["dryRun", "gracePeriodSeconds", "propagationPolicy"]),
    });
    (path, item)
}

fn group_version_kind(kind: &ServedKind) -> Value {
    json!({
        "group": &*kind.resource.group,
        "version": &*kind.version,
        "kind": &*kind.kind,
    })
}
