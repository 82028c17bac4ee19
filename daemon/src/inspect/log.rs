//! `nodes/{node}/log`: records of a node's streams in the order of this store, one a line.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use causeway_log::store::ReadLimit;
use causeway_log::{Direction, Op, Revision, Store, Stored, StreamId};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Inspected, Refusal, direction_of, format_time, redact, streams_of};
use crate::telemetry::error_chain;

/// What is read of a stream at a time: small, the page is in memory.
const PAGE: ReadLimit = ReadLimit {
    records: 256,
    bytes: 256 * 1024,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    /// `down`, `up` or `both`.
    #[serde(default)]
    stream: Wanted,
    /// Records above this revision.
    #[serde(default)]
    after: u64,
    /// At most so many records; none: all there are.
    limit: Option<u64>,
    /// Go on with what comes.
    #[serde(default)]
    follow: bool,
    /// Show bodies.
    #[serde(default)]
    bodies: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Down,
    Up,
    #[default]
    Both,
}

pub(super) async fn serve(
    State(inspected): State<Inspected>,
    Path(node): Path<String>,
    Query(question): Query<Question>,
) -> Result<Response, Refusal> {
    let mut streams = streams_of(&*inspected.store, &node)?;
    streams.retain(|stream| match question.stream {
        Wanted::Both => true,
        Wanted::Down => matches!(stream, StreamId::Node(_, Direction::Down)),
        Wanted::Up => matches!(stream, StreamId::Node(_, Direction::Up)),
    });
    let tail = Tail {
        store: inspected.store,
        durable: inspected.durable,
        streams,
        after: Revision::new(question.after),
        left: question.limit.unwrap_or(u64::MAX),
        follow: question.follow,
        bodies: question.bodies,
        ready: VecDeque::new(),
    };
    let lines = stream::unfold(tail, |mut tail| async move {
        let page = tail.next_page().await?;
        Some((Ok::<_, Infallible>(page), tail))
    });
    Ok((
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response())
}

/// Where a reader of the log stands.
struct Tail {
    store: Arc<dyn Store>,
    durable: watch::Receiver<Revision>,
    streams: Vec<StreamId>,
    after: Revision,
    left: u64,
    follow: bool,
    bodies: bool,
    ready: VecDeque<(&'static str, Stored)>,
}

impl Tail {
    /// The next lines; `None` at the end.
    async fn next_page(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        loop {
            // Seen before reading, or a record between the two would be waited for in vain.
            self.durable.mark_unchanged();
            if let Err(error) = self.read() {
                let line = json!({ "error": error_chain(&error).to_string() });
                self.left = 0;
                return Some(format!("{line}\n").into());
            }
            if !self.ready.is_empty() {
                return Some(self.lines());
            }
            if !self.follow || self.durable.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Reads a page of each stream and keeps what is surely next in the common order.
    fn read(&mut self) -> Result<(), causeway_log::error::ReadError> {
        let mut records = Vec::new();
        // A full page says nothing about what comes after it.
        let mut horizon = Revision::MAX;
        for stream in &self.streams {
            let page = self.store.read(stream, self.after, PAGE)?;
            let bytes: usize = page.iter().map(|stored| stored.record.body.len()).sum();
            let full = page.len() >= PAGE.records || bytes >= PAGE.bytes;
            if let Some(last) = page.last().filter(|_| full) {
                horizon = horizon.min(last.revision);
            }
            records.extend(
                page.into_iter()
                    .map(|stored| (direction_of(stream), stored)),
            );
        }
        records.retain(|(_, stored)| stored.revision <= horizon);
        records.sort_by_key(|(_, stored)| stored.revision);
        if let Some((_, last)) = records.last() {
            self.after = last.revision;
        }
        self.ready = records.into();
        Ok(())
    }

    fn lines(&mut self) -> Bytes {
        let mut lines = Vec::new();
        for (direction, stored) in self.ready.drain(..) {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            let line = line(direction, &stored, self.bodies);
            lines.extend_from_slice(line.to_string().as_bytes());
            lines.push(b'\n');
        }
        lines.into()
    }
}

fn line(direction: &str, stored: &Stored, bodies: bool) -> Value {
    let (header, body) = (&stored.record.header, &stored.record.body);
    let mut line = json!({
        "stream": direction,
        "revision": stored.revision.get(),
        "offset": header.offset.get(),
        "id": header.id.to_string(),
        "cause": header.cause.map(|cause| cause.to_string()),
        "time": format_time(header.time),
        "key": {
            "group": &*header.key.resource.group,
            "resource": &*header.key.resource.plural,
            "namespace": &*header.key.namespace,
            "name": &*header.key.name,
            "uid": header.key.uid.to_string(),
        },
        "version": header.version.get(),
        "op": op_name(header.op),
        "bytes": body.len(),
        "hash": body.hash().to_string(),
    });
    if bodies && !body.is_empty() {
        let mut shown: Value = serde_json::from_slice(body.bytes())
            .unwrap_or_else(|_| Value::String("(no JSON)".to_owned()));
        redact(&header.key, &mut shown);
        line["body"] = shown;
    }
    line
}

const fn op_name(op: Op) -> &'static str {
    match op {
        Op::Put => "Put",
        Op::Delete => "Delete",
        Op::Status => "Status",
        Op::Twin => "Twin",
        Op::Apply => "Apply",
        Op::Fact => "Fact",
        Op::Reject => "Reject",
    }
}
