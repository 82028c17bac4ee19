//! `nodes/{node}/digest`: what two sides compare to know that they hold the same.

use axum::Json;
use axum::extract::{Path, Query, State};
use causeway_log::digest::{Digest, DigestEntry, Scope, scan};
use causeway_log::{Slot, Store, Stored, StreamId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Inspected, Refusal, direction_of, reading, streams_of};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// List every key with its state.
    #[serde(default)]
    entries: bool,
}

pub(super) async fn serve(
    State(inspected): State<Inspected>,
    Path(node): Path<String>,
    Query(question): Query<Question>,
) -> Result<Json<Value>, Refusal> {
    reading(move || {
        let store = &*inspected.store;
        let mut answer = Map::new();
        for stream in streams_of(store, &node)? {
            let shown = show(store, &stream, question.entries)?;
            answer.insert(direction_of(&stream).to_owned(), shown);
        }
        Ok(Json(Value::Object(answer)))
    })
    .await
}

fn show(store: &dyn Store, stream: &StreamId, list: bool) -> Result<Value, Refusal> {
    let mut digest = Digest::default();
    let mut entries = Vec::new();
    scan(store, stream, Scope::State, |stored| {
        let Some(entry) = DigestEntry::of(&stored.record) else {
            return;
        };
        digest.add(&entry);
        if list {
            entries.push(show_entry(&stored));
        }
    })?;
    let summary = digest.summary();
    let epoch = store.stream(stream)?.map(|info| info.epoch.to_string());
    let mut shown = json!({
        "epoch": epoch,
        "keys": summary.keys,
        "digest": summary.digest,
        "buckets": summary.buckets,
    });
    if list {
        shown["entries"] = Value::Array(entries);
    }
    Ok(shown)
}

fn show_entry(stored: &Stored) -> Value {
    let (header, body) = (&stored.record.header, &stored.record.body);
    json!({
        "key": {
            "group": &*header.key.resource.group,
            "resource": &*header.key.resource.plural,
            "namespace": &*header.key.namespace,
            "name": &*header.key.name,
            "uid": header.key.uid.to_string(),
        },
        "slot": slot_name(header.op.slot()),
        "version": header.version.get(),
        "hash": body.hash().to_string(),
    })
}

const fn slot_name(slot: Slot) -> &'static str {
    match slot {
        Slot::Object => "object",
        Slot::Status => "status",
        Slot::Twin => "twin",
        Slot::Request => "request",
        Slot::Fact => "fact",
    }
}
