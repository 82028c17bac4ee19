//! `nodes/{node}/twins/{namespace}/{name}/history/{property}`: the readings that were kept, oldest
//! first, as NDJSON or CSV.
//!
//! NDJSON has a line for each thing and one at the end, so that who reads knows it is the end:
//! `{"time":…,"value":…}`, `{"dropped":12}` and `{"end":{"readings":…,"dropped":…,"next":…}}`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use causeway_log::error::ReadError;
use causeway_log::{NodeName, Store, WallTime};
use causeway_projections::twin::is_name;
use causeway_projections::twin::reader::{Asked, Extent, Item, Page, Place, device, extent, page};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;

use super::{Inspected, Refusal, format_time, known, reading};
use crate::config::parse_duration;
use crate::telemetry::error_chain;

/// Readings of one piece of the answer: what of it is in memory at a time.
const PIECE: usize = 1024;

/// When the node took the oldest reading that is still there.
const OLDEST: HeaderName = HeaderName::from_static("causeway-oldest");
/// Whether there were older ones.
const TRIMMED: HeaderName = HeaderName::from_static("causeway-trimmed");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// RFC 3339, or how long ago.
    since: Option<String>,
    /// The same.
    until: Option<String>,
    /// At most so many; none: all there are.
    limit: Option<usize>,
    /// Where an answer with a limit ended.
    after: Option<String>,
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// One JSON object a line.
    #[default]
    Json,
    Csv,
}

pub(super) async fn serve(
    State(inspected): State<Inspected>,
    Path((node, namespace, name, property)): Path<(String, String, String, String)>,
    Query(question): Query<Question>,
) -> Result<Response, Refusal> {
    let now = jiff::Timestamp::now();
    let time = |text: &Option<String>, field| {
        text.as_deref()
            .map(|text| moment(text, field, now))
            .transpose()
    };
    let asked = Asked {
        namespace: namespace.into(),
        name: name.into(),
        property: property.into(),
        since: time(&question.since, "since")?,
        until: time(&question.until, "until")?,
    };
    if !is_name(&asked.property) {
        let what =
            "no property can have such a name: 1 to 128 characters of a-z A-Z 0-9 - _ . , : / @ #";
        return Err(Refusal::BadRequest(what.to_owned()));
    }
    let after: Option<Place> = match &question.after {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|error| Refusal::BadRequest(format!("after: {error}")))?,
        ),
    };
    let store = Arc::clone(&inspected.store);
    let (node, asked, extent) = reading(move || {
        let node = known(&*store, &node)?;
        let extent = extent(&*store, &node, &asked)?;
        if extent.is_none() {
            must_exist(&*store, &node, &asked)?;
        }
        Ok((node, asked, extent))
    })
    .await?;
    let from = extent.map(|extent| after.unwrap_or(extent.begin).max(extent.begin));
    let reader = Reader {
        store: inspected.store,
        node,
        asked,
        at: from,
        left: question.limit.unwrap_or(usize::MAX),
        format: question.format,
        counted: (0, 0),
        is_begun: false,
        is_over: false,
    };
    Ok(answer(reader, extent.as_ref(), question.format))
}

/// Without readings: there is at least such a property.
fn must_exist(store: &dyn Store, node: &NodeName, asked: &Asked) -> Result<(), Refusal> {
    let Asked {
        namespace,
        name,
        property,
        ..
    } = asked;
    let seen = device(store, node, namespace, name)?;
    let is_property = seen.as_ref().map(|it| it.rules.get(property).is_some());
    match is_property {
        Some(true) => Ok(()),
        Some(false) => Err(Refusal::NotFound(format!(
            "device {namespace}/{name} has no property {property:?}"
        ))),
        None => Err(Refusal::NotFound(format!(
            "node {node} has no device {namespace}/{name}"
        ))),
    }
}

fn answer(reader: Reader, extent: Option<&Extent>, format: Format) -> Response {
    let pieces = stream::unfold(reader, |reader| async move {
        if reader.is_over {
            return None;
        }
        let read = tokio::task::spawn_blocking(move || {
            let mut reader = reader;
            let piece = reader.next_piece();
            (reader, piece)
        });
        let (reader, piece) = read.await.ok()?;
        Some((piece, reader))
    });
    let kind = match format {
        Format::Json => "application/x-ndjson",
        Format::Csv => "text/csv; charset=utf-8",
    };
    let mut response = ([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response();
    if let Some(extent) = extent {
        let headers = response.headers_mut();
        if let Ok(oldest) = HeaderValue::from_str(&format_time(extent.oldest)) {
            headers.insert(OLDEST, oldest);
        }
        let is_trimmed = if extent.is_trimmed { "true" } else { "false" };
        headers.insert(TRIMMED, HeaderValue::from_static(is_trimmed));
    }
    response
}

/// Where a reader of a history stands.
struct Reader {
    store: Arc<dyn Store>,
    node: NodeName,
    asked: Asked,
    /// Where to go on; `None`: nowhere.
    at: Option<Place>,
    left: usize,
    format: Format,
    /// Readings given, and readings given up.
    counted: (u64, u64),
    is_begun: bool,
    is_over: bool,
}

impl Reader {
    /// The next lines. An error breaks the answer off, so that nobody takes a part for the whole.
    fn next_piece(&mut self) -> Result<Bytes, ReadError> {
        let mut lines = String::new();
        if !self.is_begun && self.format == Format::Csv {
            lines.push_str("time,value,dropped\n");
        }
        self.is_begun = true;
        let page = self.next_page().inspect_err(|error| {
            self.is_over = true;
            let error = error_chain(error);
            tracing::error!(%error, "a history breaks off");
        })?;
        for item in &page.items {
            self.line(item, &mut lines);
        }
        self.left -= page.items.len().min(self.left);
        self.at = page.next;
        if self.at.is_none() || self.left == 0 {
            self.is_over = true;
            let (readings, dropped) = self.counted;
            let next = self.at.map(|next| next.to_string());
            let end = json!({ "readings": readings, "dropped": dropped, "next": next });
            if self.format == Format::Json {
                lines.push_str(&format!("{}\n", json!({ "end": end })));
            }
        }
        Ok(lines.into())
    }

    fn next_page(&self) -> Result<Page, ReadError> {
        match self.at {
            None => Ok(Page::default()),
            Some(from) => {
                let limit = self.left.min(PIECE);
                page(&*self.store, &self.node, &self.asked, from, limit)
            }
        }
    }

    fn line(&mut self, item: &Item, lines: &mut String) {
        let line = match (item, self.format) {
            (Item::Reading(reading), Format::Json) => {
                json!({ "time": format_time(reading.time), "value": &*reading.value }).to_string()
            }
            (Item::Reading(reading), Format::Csv) => {
                format!("{},{},", format_time(reading.time), quoted(&reading.value))
            }
            (Item::Dropped(count), Format::Json) => json!({ "dropped": count }).to_string(),
            (Item::Dropped(count), Format::Csv) => format!(",,{count}"),
        };
        match item {
            Item::Reading(_) => self.counted.0 += 1,
            Item::Dropped(count) => self.counted.1 = self.counted.1.saturating_add(*count),
        }
        lines.push_str(&line);
        lines.push('\n');
    }
}

/// A field of CSV as RFC 4180 has it.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// A time, or so long before `now`.
fn moment(text: &str, field: &str, now: jiff::Timestamp) -> Result<WallTime, Refusal> {
    let time = match text.parse::<jiff::Timestamp>() {
        Ok(time) => Some(time),
        Err(_) => parse_duration(text)
            .ok()
            .and_then(|ago| jiff::SignedDuration::try_from(ago).ok())
            .and_then(|ago| now.checked_sub(ago).ok()),
    };
    let time = time.ok_or_else(|| {
        let what = "must be a time such as 2026-05-01T12:00:00Z, or how long ago, such as 10m";
        Refusal::BadRequest(format!("{field}: {what}"))
    })?;
    let millis = u64::try_from(time.as_millisecond()).unwrap_or(0);
    Ok(WallTime::from_unix_millis(millis))
}
