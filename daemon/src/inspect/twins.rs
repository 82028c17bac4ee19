//! `nodes/{node}/twins`: the devices of a node, what is desired of them and what they report.

use axum::Json;
use axum::extract::{Path, Query, State};
use causeway_log::WallTime;
use causeway_projections::twin::history::{HISTORY_ANNOTATION, Policies, Policy, PolicyError};
use causeway_projections::twin::reader::{DEVICES_PER_PAGE_MAX, LookError, Seen, device, devices};
use causeway_projections::twin::{Property, Rule};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Inspected, Refusal, format_time, known, reading};
use crate::telemetry::error_chain;

impl From<LookError> for Refusal {
    fn from(error: LookError) -> Self {
        Self::Internal(error_chain(&error).to_string())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// At most so many devices.
    limit: Option<usize>,
    /// Those after this one, `namespace/name`.
    after: Option<String>,
}

/// The devices, each on one entry; `next` says where to go on.
pub(super) async fn list(
    State(inspected): State<Inspected>,
    Path(node): Path<String>,
    Query(question): Query<Question>,
) -> Result<Json<Value>, Refusal> {
    let after = match &question.after {
        None => None,
        Some(text) => Some(text.split_once('/').ok_or_else(|| {
            Refusal::BadRequest("after: must be NAMESPACE/NAME of a device".to_owned())
        })?),
    };
    let after = after.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    let limit = question.limit.unwrap_or(DEVICES_PER_PAGE_MAX);
    if !(1..=DEVICES_PER_PAGE_MAX).contains(&limit) {
        let what = format!("limit: must be 1 to {DEVICES_PER_PAGE_MAX}");
        return Err(Refusal::BadRequest(what));
    }
    reading(move || {
        let store = &*inspected.store;
        let node = known(store, &node)?;
        let after = after
            .as_ref()
            .map(|(namespace, name)| (&**namespace, &**name));
        let found = devices(store, &node, after, limit)?;
        let next = found
            .last()
            .filter(|_| found.len() == limit)
            .map(|last| format!("{}/{}", last.key.namespace, last.key.name));
        let shown: Vec<Value> = found.iter().map(summary).collect();
        Ok(Json(
            json!({ "node": node.as_str(), "devices": shown, "next": next }),
        ))
    })
    .await
}

/// One device with all its properties.
pub(super) async fn one(
    State(inspected): State<Inspected>,
    Path((node, namespace, name)): Path<(String, String, String)>,
) -> Result<Json<Value>, Refusal> {
    reading(move || {
        let store = &*inspected.store;
        let node = known(store, &node)?;
        let found = device(store, &node, &namespace, &name)?.ok_or_else(|| {
            Refusal::NotFound(format!("node {node} has no device {namespace}/{name}"))
        })?;
        let mut shown = summary(&found);
        shown["node"] = node.as_str().into();
        if let Err(error) = policies(&found) {
            shown["historyMistake"] = error.to_string().into();
        }
        shown["properties"] = properties(&found).into();
        Ok(Json(shown))
    })
    .await
}

fn summary(seen: &Seen) -> Value {
    let twin = &seen.twin;
    let state = twin.reported.shown_state().map(|state| {
        let last_online = (state.last_online > 0)
            .then(|| format_time(WallTime::from_unix_millis(state.last_online)));
        let mut shown = json!({
            "state": state.state, "version": state.version.get(), "lastOnline": last_online,
        });
        if let Some(said) = &state.said {
            shown["said"] = json!(**said);
        }
        shown
    });
    json!({
        "namespace": &*seen.key.namespace,
        "name": &*seen.key.name,
        "uid": seen.key.uid.to_string(),
        "model": seen.device["spec"]["deviceModelRef"]["name"],
        "modelIsHere": seen.model.is_some(),
        "protocol": seen.device["spec"]["protocol"]["protocolName"],
        "state": state,
        "digest": twin.digest().to_string(),
        "versions": {
            "desired": twin.desired.properties.version().get(),
            "reported": twin.reported.properties.version().get(),
        },
        "revision": seen.changed.get(),
        "delta": twin.delta(&seen.rules).count(),
        "count": seen.rules.iter().count(),
    })
}

/// Which readings are kept, as the Device says.
fn policies(seen: &Seen) -> Result<Policies, PolicyError> {
    let annotation = seen.device["metadata"]["annotations"][HISTORY_ANNOTATION].as_str();
    Policies::parse(annotation.unwrap_or_default())
}

/// Every property that the device has, or of which either document knows.
fn properties(seen: &Seen) -> Vec<Value> {
    let twin = &seen.twin;
    let policies = policies(seen).unwrap_or_default();
    let mut names: Vec<&str> = seen.rules.iter().map(|(name, _)| &**name).collect();
    let documents = [&twin.desired.properties, &twin.reported.properties];
    for document in documents {
        names.extend(document.values().map(|(name, _)| &**name));
    }
    names.sort_unstable();
    names.dedup();
    let open: Vec<&str> = twin.delta(&seen.rules).map(|(name, ..)| &**name).collect();
    let row = |name: &str| {
        let unknown = Rule::default();
        let rule = seen.rules.get(name).unwrap_or(&unknown);
        json!({
            "name": name,
            "type": rule.kind.map(|kind| kind.as_str()),
            "access": if rule.is_writable { "ReadWrite" } else { "ReadOnly" },
            "history": policy(policies.of(name)),
            "desired": twin.desired.properties.get(name).map(side),
            "reported": twin.reported.properties.get(name).map(side),
            "delta": open.contains(&name),
        })
    };
    names.into_iter().map(row).collect()
}

/// What one side says of a property. Without a value: it was removed.
fn side(property: &Property) -> Value {
    let mut shown = json!({
        "version": property.version.get(),
        "time": format_time(WallTime::from_unix_millis(property.time)),
    });
    if let Some(value) = &property.value {
        shown["value"] = (&*value.value).into();
        if !value.metadata.is_empty() {
            shown["metadata"] = json!(value.metadata);
        }
    }
    if let Some(observed) = &property.observed {
        shown["observed"] = (&*observed.value).into();
    }
    shown
}

fn policy(policy: Policy) -> String {
    match policy {
        Policy::Latest => "latest".to_owned(),
        Policy::All => "all".to_owned(),
        Policy::Every(every) => format!("every:{}", crate::config::format_duration(every)),
        Policy::Change(least) => format!("change:{least}"),
    }
}
