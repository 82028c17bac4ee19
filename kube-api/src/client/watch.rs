//! A watch: events of one collection, line by line.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use futures_util::stream::{BoxStream, Stream, StreamExt as _};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;

use super::limits::{EVENT_BYTES_MAX, WATCH_GRACE, WATCH_SECONDS};
use super::link::Link;
use super::{ApiError, Client, ListOptions, refusal};
use crate::status::Status;

/// What a watch tells. A server's ERROR event is an [`ApiError`] of the stream, which it ends.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// The object is new, or new to the selection.
    Added(Value),
    /// The object changed.
    Modified(Value),
    /// The object is gone, or no longer selected; its last state.
    Deleted(Value),
    /// All changes up to this version have been told.
    Bookmark {
        /// The version.
        resource_version: String,
        /// Whether this ends the objects that existed when the watch began (`sendInitialEvents`).
        initial_events_end: bool,
    },
}

impl WatchEvent {
    /// The version to resume after, once the event has been handled.
    #[must_use]
    pub fn resource_version(&self) -> &str {
        match self {
            Self::Added(object) | Self::Modified(object) | Self::Deleted(object) => {
                object["metadata"]["resourceVersion"].as_str().unwrap_or("")
            }
            Self::Bookmark {
                resource_version, ..
            } => resource_version,
        }
    }
}

#[derive(Deserialize)]
struct Line {
    r#type: String,
    object: Value,
}

/// A running watch. Dropping it ends it. After an error it yields nothing more.
pub struct Watch {
    events: BoxStream<'static, Result<WatchEvent, ApiError>>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Stream for Watch {
    type Item = Result<WatchEvent, ApiError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_next_unpin(context)
    }
}

struct Running {
    link: Link,
    body: Incoming,
    unread: BytesMut,
    /// Bytes of `unread` known to hold no end of line.
    searched: usize,
    deadline: tokio::time::Instant,
    ended: bool,
}

impl Watch {
    pub(super) async fn start(
        client: &Client,
        path: &str,
        options: &ListOptions,
    ) -> Result<Self, ApiError> {
        let seconds = match options.timeout_seconds {
            0 => WATCH_SECONDS,
            seconds => seconds,
        };
        let request = client.request(
            "GET",
            &(path.to_owned() + &options.query(Some(seconds))),
            None,
        )?;
        let timeout = client.inner.request_timeout;
        let (mut link, response) = tokio::time::timeout(timeout, client.send(request))
            .await
            .map_err(|_| ApiError::Timeout {
                seconds: timeout.as_secs(),
            })??;
        let code = response.status();
        if !code.is_success() {
            let bytes = link.collect(response.into_body(), EVENT_BYTES_MAX).await?;
            return Err(refusal(code, &bytes));
        }
        let life = Duration::from_secs(seconds.into()) + WATCH_GRACE;
        let running = Running {
            link,
            body: response.into_body(),
            unread: BytesMut::new(),
            searched: 0,
            deadline: tokio::time::Instant::now() + life,
            ended: false,
        };
        let events = futures_util::stream::unfold(running, async |mut running| {
            let event = running.next().await?;
            running.ended = event.is_err();
            Some((event, running))
        });
        Ok(Self {
            events: events.boxed(),
        })
    }

    /// The next event; `None` when the server has ended the watch.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, ApiError>> {
        self.events.next().await
    }
}

impl Running {
    async fn next(&mut self) -> Option<Result<WatchEvent, ApiError>> {
        if self.ended {
            return None;
        }
        loop {
            let end = self
                .unread
                .iter()
                .skip(self.searched)
                .position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line = self.unread.split_to(self.searched + end);
                self.unread.advance(1);
                self.searched = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Some(decode(&line));
            }
            self.searched = self.unread.len();
            if self.unread.len() > EVENT_BYTES_MAX {
                return Some(Err(ApiError::TooLarge {
                    limit: EVENT_BYTES_MAX,
                }));
            }
            if self.unread.is_empty() {
                // A watch is idle most of its life: keep no buffer meanwhile.
                self.unread = BytesMut::new();
            }
            let chunk = self.link.chunk(&mut self.body);
            match tokio::time::timeout_at(self.deadline, chunk).await {
                // An event cut short by the end of the answer was never told.
                Ok(Ok(None)) => return None,
                Ok(Ok(Some(piece))) => self.unread.extend_from_slice(&piece),
                Ok(Err(error)) => return Some(Err(error)),
                Err(_) => return None,
            }
        }
    }
}

fn decode(line: &[u8]) -> Result<WatchEvent, ApiError> {
    let decoded = |source| ApiError::Decode { source };
    let Line { r#type, object } = serde_json::from_slice(line).map_err(decoded)?;
    match r#type.as_str() {
        "ADDED" => Ok(WatchEvent::Added(object)),
        "MODIFIED" => Ok(WatchEvent::Modified(object)),
        "DELETED" => Ok(WatchEvent::Deleted(object)),
        "BOOKMARK" => {
            let metadata = &object["metadata"];
            let end = metadata["annotations"]["k8s.io/initial-events-end"].as_str();
            Ok(WatchEvent::Bookmark {
                resource_version: metadata["resourceVersion"]
                    .as_str()
                    .unwrap_or("")
                    .to_owned(),
                initial_events_end: end == Some("true"),
            })
        }
        "ERROR" => {
            let status: Status = serde_json::from_value(object).map_err(decoded)?;
            Err(ApiError::Refused {
                status: Box::new(status),
            })
        }
        _ => Err(decoded(serde::de::Error::custom(
            "unknown type of watch event",
        ))),
    }
}
