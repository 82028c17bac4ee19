//! Watches: level-based reads of the view, one cursor each.
//!
//! A watcher has no queue. When the view moves it pulls the newest change of every key after its
//! cursor, in bounded pages; a slow client simply pulls less often and gets fewer, newer events.
//! Of large events one copy is held, however many watchers have not taken it.

mod cursor;
mod lines;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use causeway_log::Revision;
use causeway_projections::{FieldSelector, LabelSelector};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use tokio::sync::OwnedSemaphorePermit;

use crate::catalog::ServedKind;
use crate::server::Form;
use crate::source::Clock;
use crate::status::Status;
use crate::view::View;

pub(crate) use lines::Lines;

/// A watch as a client asked for it.
pub(crate) struct WatchRequest {
    pub(crate) view: View,
    pub(crate) kind: Arc<ServedKind>,
    pub(crate) form: Form,
    pub(crate) clock: Arc<dyn Clock>,
    /// `None`: all namespaces.
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) label_selector: LabelSelector,
    pub(crate) field_selector: FieldSelector,
    /// `None` or zero: from the state as it is.
    pub(crate) from: Option<Revision>,
    pub(crate) bookmarks: bool,
    /// Whether to begin with the objects there are, and to mark the end of them.
    pub(crate) initial_events: Option<bool>,
    pub(crate) timeout: Option<Duration>,
    /// What all watches of a server share.
    pub(crate) lines: Lines,
    /// Held while the watch lasts: it counts against the bound on watches.
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// Begins a watch. Its headers are sent at once, its events when they come; a client that cannot be
/// served from where it wants to begin gets an `ERROR` event with a 410.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one of the handlers, which may all fail"
)]
pub(crate) fn start(request: WatchRequest) -> Result<Response, Status> {
    let mut response = Response::new(Body::from_stream(stream::events(request)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(response)
}
