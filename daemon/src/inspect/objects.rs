//! `nodes/{node}/objects`: what a node sees, or saw at a revision or a time.

use axum::Json;
use axum::extract::{Path, Query, State};
use causeway_log::{Resource, Revision, WallTime};
use causeway_projections::travel::{At, TravelError, objects_at};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Inspected, Refusal, reading, redact, streams_of};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// `pods.` or `deployments.apps`; none: all kinds.
    #[serde(default)]
    resource: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    /// A revision, or an RFC 3339 time; none: now.
    #[serde(default)]
    at: String,
}

pub(super) async fn serve(
    State(inspected): State<Inspected>,
    Path(node): Path<String>,
    Query(question): Query<Question>,
) -> Result<Json<Value>, Refusal> {
    reading(move || {
        let store = &*inspected.store;
        let streams = streams_of(store, &node)?;
        let at =
            parse_at(&question.at)?.unwrap_or_else(|| At::Revision(store.watermarks().durable));
        let objects = objects_at(store, &streams, at).map_err(|error| match error {
            TravelError::Trimmed { oldest } => Refusal::Gone { oldest },
            TravelError::Future { .. } => Refusal::BadRequest(error.to_string()),
            TravelError::Read(error) => error.into(),
        })?;
        let asked = parse_resource(&question.resource);
        let kinds: Vec<Resource> = objects
            .resources()
            .filter(|resource| asked.as_ref().is_none_or(|asked| asked == *resource))
            .cloned()
            .collect();
        let namespace = Some(question.namespace.as_str()).filter(|text| !text.is_empty());
        let shown: Vec<Value> = kinds
            .iter()
            .flat_map(|resource| objects.list(resource, namespace, None))
            .filter(|entry| question.name.is_empty() || *entry.key().name == *question.name)
            .map(|entry| {
                let mut object = entry.object();
                redact(entry.key(), &mut object);
                object
            })
            .collect();
        Ok(Json(
            json!({ "revision": objects.revision().get(), "objects": shown }),
        ))
    })
    .await
}

fn parse_resource(text: &str) -> Option<Resource> {
    let (plural, group) = text.split_once('.').unwrap_or((text, ""));
    (!plural.is_empty()).then(|| Resource::new(group, plural))
}

fn parse_at(text: &str) -> Result<Option<At>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(revision) = text.parse() {
        return Ok(Some(At::Revision(Revision::new(revision))));
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        Refusal::BadRequest("at: must be a revision or a time such as 2026-05-01T12:00:00Z".into())
    })?;
    let millis = u64::try_from(time.as_millisecond()).unwrap_or(0);
    Ok(Some(At::Time(WallTime::from_unix_millis(millis))))
}
