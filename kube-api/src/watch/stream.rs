//! A watch as a stream of chunks of JSON lines.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway_log::Revision;
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use super::WatchRequest;
use super::cursor::{Cursor, Filter, Kind, Taken, TooOld};
use super::lines::{Chunks, Identity};
use crate::server::{Form, at_version};
use crate::status::Status;

/// Longest watch when the client does not say how long, before jitter; up to twice as long with it.
const LENGTH: Duration = Duration::from_secs(30 * 60);
/// Longest watch that a client can ask for.
const LENGTH_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a watcher that wants to know is told where it stands.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// Where a watch stands.
enum Phase {
    /// Telling the objects there are, after this place.
    Initial(Option<(Arc<str>, Arc<str>)>),
    /// Telling changes.
    Following,
    /// Said its last.
    Over,
}

struct Watcher {
    request: WatchRequest,
    cursor: Cursor,
    phase: Phase,
    revision: Receiver<Revision>,
    end: Instant,
    bookmark: Instant,
    /// The revision that the client last heard of.
    told: Revision,
    /// Made, and not taken by the client yet.
    chunks: Chunks,
}

/// The chunks of a watch; each holds whole lines.
pub(super) fn events(
    request: WatchRequest,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
    stream::unfold(Watcher::new(request), |mut watcher| async {
        let chunk = watcher.next().await?;
        Some((Ok(chunk), watcher))
    })
}

impl Watcher {
    fn new(request: WatchRequest) -> Self {
        let revision = request.view.subscribe();
        let now = Instant::now();
        let jitter = u32::from(request.clock.entropy()[0]);
        let length = request.timeout.filter(|timeout| !timeout.is_zero());
        let length = length
            .unwrap_or(LENGTH + LENGTH * jitter / 256)
            .min(LENGTH_MAX);
        let filter = Filter {
            resource: request.kind.stored().clone(),
            namespace: request.namespace.clone(),
            name: request.name.clone().or_else(|| {
                request
                    .field_selector
                    .exact("metadata.name")
                    .map(str::to_owned)
            }),
            labels: request.label_selector.clone(),
            fields: request.field_selector.clone(),
        };
        let from = request.from.filter(|from| *from > Revision::ZERO);
        let (at, phase) = request
            .view
            .read(|objects| match (from, request.initial_events) {
                (_, Some(true)) | (None, None) => (objects.revision(), Phase::Initial(None)),
                (Some(from), _) => (from, Phase::Following),
                (None, Some(false)) => (objects.revision(), Phase::Following),
            });
        let mut cursor = Cursor::new(filter, at);
        if matches!(phase, Phase::Following) && cursor.must_learn() {
            let (unchanged, taken_at) = request.view.read(|objects| cursor.unchanged(objects));
            cursor.learn(&unchanged, taken_at);
        }
        let (end, bookmark) = (now + length, now + BOOKMARK_INTERVAL);
        Self {
            request,
            cursor,
            phase,
            revision,
            end,
            bookmark,
            told: Revision::ZERO,
            chunks: Chunks::default(),
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.chunks.next() {
                return Some(chunk);
            }
            // Marked as seen before reading: what comes after the read wakes the wait below.
            self.revision.borrow_and_update();
            let more = match &self.phase {
                Phase::Over => return None,
                Phase::Initial(after) => {
                    let after = after.clone();
                    self.initial(after);
                    true
                }
                Phase::Following => self.follow(),
            };
            if more || !self.chunks.is_empty() {
                continue;
            }
            tokio::select! {
                moved = self.revision.changed() => {
                    if moved.is_err() {
                        return None;
                    }
                }
                () = sleep_until(self.end) => {
                    self.phase = Phase::Over;
                    return self.last_word();
                }
                () = sleep_until(self.bookmark), if self.request.bookmarks => {
                    self.bookmark = Instant::now() + BOOKMARK_INTERVAL;
                    if let Some(chunk) = self.last_word() {
                        return Some(chunk);
                    }
                }
            }
        }
    }

    /// A bookmark, when the client wants one and does not know where it stands.
    fn last_word(&mut self) -> Option<Bytes> {
        if !self.request.bookmarks || self.told >= self.cursor.at {
            return None;
        }
        self.write_bookmark(false);
        self.chunks.next()
    }

    fn form(&self) -> Form {
        Form {
            now: self.request.clock.now(),
            ..self.request.form
        }
    }

    fn initial(&mut self, after: Option<(Arc<str>, Arc<str>)>) {
        let page = self
            .request
            .view
            .read(|objects| self.cursor.take_initial(objects, after.as_ref()));
        let form = self.form();
        let last = page.entries.last().map(|entry| entry.key().clone());
        for entry in page.entries {
            if let Some((kind, object)) = self.cursor.tell_initial(&entry) {
                self.write(&form, &Taken::Present(entry), kind, object);
            }
        }
        self.phase = match last.filter(|_| page.more) {
            Some(key) => Phase::Initial(Some((Arc::clone(&key.namespace), Arc::clone(&key.name)))),
            None => {
                if self.request.initial_events == Some(true) {
                    self.write_bookmark(true);
                }
                Phase::Following
            }
        };
    }

    /// Tells a page of changes; says whether there are more.
    fn follow(&mut self) -> bool {
        match self.request.view.read(|objects| self.cursor.take(objects)) {
            Ok(page) => {
                let form = self.form();
                for taken in &page.changes {
                    if let Some((kind, object)) = self.cursor.tell(taken) {
                        self.write(&form, taken, kind, object);
                    }
                }
                self.cursor.advance(page.upto);
                if !self.chunks.is_empty() {
                    self.told = self.cursor.at;
                }
                page.more
            }
            Err(TooOld { asked, oldest }) => {
                let told = format!("too old resource version: {asked} ({oldest})");
                let status = serde_json::to_value(Status::expired(told)).unwrap_or_default();
                self.chunks
                    .push(line(&json!({ "type": "ERROR", "object": status })).into());
                self.phase = Phase::Over;
                false
            }
        }
    }

    fn write(&mut self, form: &Form, taken: &Taken, kind: Kind, object: Value) {
        let (served, lines) = (&self.request.kind, &self.request.lines);
        let identity = Identity::of(taken, kind, served, form.output);
        if let Some(shared) = identity.as_ref().and_then(|identity| lines.get(identity)) {
            return self.chunks.push(shared);
        }
        let object = form.object(served, at_version(served, object));
        let line = line(&json!({ "type": kind.name(), "object": object }));
        let line = match identity {
            Some(identity) => lines.share(identity, line),
            None => line.into(),
        };
        self.chunks.push(line);
    }

    fn write_bookmark(&mut self, initial: bool) {
        self.told = self.cursor.at;
        let object = self
            .form()
            .bookmark(&self.request.kind, self.cursor.at, initial);
        let line = line(&json!({ "type": "BOOKMARK", "object": object }));
        self.chunks.push(line.into());
    }
}

fn line(value: &Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}
