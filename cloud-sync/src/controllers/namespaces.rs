//! Empties namespaces that are being deleted, and removes them when they are empty.

use causeway_kube_api::decide::{Context, DeleteOptions, Deletion, prepare_delete};
use causeway_kube_api::schema::FieldValidation;
use causeway_kube_api::{Catalog, Write};
use causeway_log::{Resource, WallTime};
use causeway_projections::{Entry, Objects};
use serde_json::Value;
use uuid::Uuid;

use super::index::parse;
use super::{Index, WRITES_PER_TURN_MAX, items_at, remove, replace, text_at};
use crate::cluster::is_terminating;

/// The writes that bring terminating namespaces nearer to their end.
#[must_use]
pub fn decide(objects: &Objects, index: &Index, catalog: &Catalog, now: WallTime) -> Vec<Write> {
    let mut writes = Vec::new();
    for namespace in &index.terminating_namespaces {
        let mut empty = true;
        for resource in objects.resources() {
            for entry in objects.list(resource, Some(namespace), None) {
                empty = false;
                if writes.len() >= WRITES_PER_TURN_MAX {
                    return writes;
                }
                writes.extend(end(entry, catalog, now));
            }
        }
        let namespaces = Resource::core("namespaces");
        let Some(entry) = objects.get(&namespaces, "", namespace) else {
            continue;
        };
        let held = items_at(&parse(entry), &["metadata", "finalizers"])
            .next()
            .is_some();
        if empty && !held {
            writes.push(remove(entry));
        }
    }
    writes
}

/// Deletes an object as a client would: a pod that runs gets its time, finalizers are waited for.
pub(super) fn end(entry: &Entry, catalog: &Catalog, now: WallTime) -> Option<Write> {
    let object = parse(entry);
    if is_terminating(&object) {
        return None;
    }
    match decide_delete(&object, entry, catalog, now) {
        Some(Deletion::Mark(prepared)) => Some(replace(entry, prepared.object)),
        Some(Deletion::Terminating) => None,
        Some(Deletion::Remove) => Some(remove(entry)),
        // A kind that is not served any more (its definition went first) has no rules.
        None => Some(remove(entry)),
    }
}

fn decide_delete(
    object: &Value,
    entry: &Entry,
    catalog: &Catalog,
    now: WallTime,
) -> Option<Deletion> {
    let key = entry.key();
    let api_version = text_at(object, &["apiVersion"]);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = catalog.find_kind(group, version, text_at(object, &["kind"]))?;
    let context = Context {
        now,
        // Only creates make uids.
        uid: Uuid::nil(),
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        field_validation: FieldValidation::Ignore,
    };
    prepare_delete(kind, object, &DeleteOptions::default(), &context).ok()
}
