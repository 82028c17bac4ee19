//! The lines of an exported history.

use causeway_log::record::{Header, Record};
use causeway_log::{
    Body, EventId, Key, NodeName, Offset, Op, Resource, Revision, Stored, StreamId, Uid, Version,
    WallTime,
};
use serde::Deserialize;
use serde_json::Value;

/// The largest line that is read: the largest body, and its header.
const LINE_BYTES_MAX: usize = 8 << 20;

/// What the first line of an export says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose history it is.
    pub node: NodeName,
}

/// A file is no history, or a line of it is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct HistoryError {
    /// Which line, from 1.
    pub line: usize,
    /// What was expected.
    pub what: String,
}

/// The first line of an export.
#[must_use]
pub fn first_line(node: &NodeName) -> String {
    serde_json::json!({"causeway": "history", "version": 1, "node": node.as_str()}).to_string()
}

impl Line {
    /// Reads the first line.
    ///
    /// # Errors
    /// When the file is no export.
    pub fn parse(text: &str) -> Result<Self, HistoryError> {
        let error = |what: &str| HistoryError {
            line: 1,
            what: format!("expected the first line of `causeway log NODE --export FILE`, {what}"),
        };
        let value: Value = serde_json::from_str(text).map_err(|cause| error(&cause.to_string()))?;
        if value["causeway"] != "history" {
            return Err(error("found something else"));
        }
        if value["version"] != 1 {
            return Err(error(&format!("version 1, found {}", value["version"])));
        }
        let node = value["node"].as_str().unwrap_or_default();
        NodeName::new(node)
            .map(|node| Self { node })
            .map_err(|cause| error(&cause.to_string()))
    }
}

#[derive(Debug, Deserialize)]
struct Raw {
    stream: String,
    revision: u64,
    offset: u64,
    id: String,
    cause: Option<String>,
    time: String,
    key: RawKey,
    version: u64,
    op: String,
    body: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct RawKey {
    group: String,
    resource: String,
    namespace: String,
    name: String,
    uid: String,
}

/// Reads a record. `number` is its line, for people.
///
/// # Errors
/// [`HistoryError`]
pub fn parse_line(
    node: &NodeName,
    number: usize,
    text: &str,
) -> Result<(StreamId, Stored), HistoryError> {
    let error = |what: String| HistoryError { line: number, what };
    if text.len() > LINE_BYTES_MAX {
        return Err(error(format!("expected at most {LINE_BYTES_MAX} bytes")));
    }
    let raw: Raw =
        serde_json::from_str(text).map_err(|cause| error(format!("expected a record: {cause}")))?;
    let stream = match raw.stream.as_str() {
        "down" => StreamId::down(node.clone()),
        "up" => StreamId::up(node.clone()),
        other => {
            return Err(error(format!(
                "expected stream down or up, found `{other}`"
            )));
        }
    };
    let RawKey {
        group,
        resource,
        namespace,
        name,
        uid,
    } = raw.key;
    let resource = Resource::new(&group, &resource);
    let key = Key::new(resource, &namespace, &name, Uid::parse(&uid))
        .map_err(|cause| error(cause.to_string()))?;
    let event = |text: &str| {
        let parsed = text.parse::<uuid::Uuid>().map(EventId::new);
        parsed.map_err(|cause| error(format!("expected the identity of an event: {cause}")))
    };
    let time: jiff::Timestamp = raw
        .time
        .parse()
        .map_err(|cause| error(format!("expected a time: {cause}")))?;
    // Times before 1970 come from clocks that were never set.
    let millis = u64::try_from(time.as_millisecond()).unwrap_or(0);
    let body = raw
        .body
        .map_or_else(Vec::new, |body| body.to_string().into_bytes());
    let revision = Revision::new(raw.revision);
    Ok((
        stream,
        Stored {
            revision,
            since: revision,
            record: Record {
                header: Header {
                    offset: Offset::new(raw.offset),
                    id: event(&raw.id)?,
                    cause: raw.cause.as_deref().map(event).transpose()?,
                    time: WallTime::from_unix_millis(millis),
                    key,
                    version: Version::new(raw.version),
                    op: op(&raw.op).ok_or_else(|| {
                        error(format!("expected an operation, found `{}`", raw.op))
                    })?,
                },
                body: Body::from(body),
            },
        },
    ))
}

fn op(text: &str) -> Option<Op> {
    Some(match text {
        "Put" => Op::Put,
        "Delete" => Op::Delete,
        "Status" => Op::Status,
        "Twin" => Op::Twin,
        "Apply" => Op::Apply,
        "Fact" => Op::Fact,
        "Reject" => Op::Reject,
        _ => return None,
    })
}
