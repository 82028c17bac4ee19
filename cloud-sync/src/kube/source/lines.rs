//! The lines of a watch.

use std::borrow::Cow;

use ::kube::client::Body;
use bytes::Bytes;
use causeway_kube_api::Status;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::Value;

use super::follower::{Event, Page};
use crate::kube::client::{ApiError, Class};

/// Longest line: the largest object etcd takes, with room for what JSON adds.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Cuts a body into lines.
pub(super) struct Lines {
    body: Body,
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Lines {
    pub(super) const fn new(body: Body) -> Self {
        Self {
            body,
            rest: Vec::new(),
        }
    }

    /// The events of all lines that are complete with the next piece, and their bytes; `None` at the
    /// end.
    pub(super) async fn next(&mut self) -> Result<Option<(Vec<Event>, usize)>, ApiError> {
        loop {
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let broken = |error| ApiError::caused(Class::Unreachable, "the watch broke off", error);
            let Ok(piece) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            let (events, bytes) = self.take(&piece)?;
            if !events.is_empty() {
                return Ok(Some((events, bytes)));
            }
        }
    }

    fn take(&mut self, piece: &Bytes) -> Result<(Vec<Event>, usize), ApiError> {
        let mut events = Vec::new();
        let mut bytes = 0;
        let mut begin = 0;
        for end in piece
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'\n')
            .map(|(at, _)| at)
        {
            let part = piece.get(begin..end).unwrap_or_default();
            begin = end + 1;
            bytes += self.rest.len() + part.len();
            let event = if self.rest.is_empty() {
                event(part)?
            } else {
                self.rest.extend_from_slice(part);
                let line = std::mem::take(&mut self.rest);
                event(&line)?
            };
            events.extend(event);
        }
        let part = piece.get(begin..).unwrap_or_default();
        if self.rest.len() + part.len() > LINE_BYTES_MAX {
            let why = format!("an event has more than {LINE_BYTES_MAX} bytes");
            return Err(ApiError::new(Class::Malformed, why));
        }
        self.rest.extend_from_slice(part);
        Ok((events, bytes))
    }
}

/// Reads a line; one of an unknown type is passed over.
fn event(line: &[u8]) -> Result<Option<Event>, ApiError> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
        #[serde(default)]
        object: Value,
    }
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let malformed =
        |error| ApiError::caused(Class::Malformed, "a line of a watch is no event", error);
    let Line { kind, object } = serde_json::from_slice(line).map_err(malformed)?;
    Ok(Some(match &*kind {
        "ADDED" | "MODIFIED" => Event::Present(object),
        "DELETED" => Event::Gone(object),
        "BOOKMARK" => Event::Bookmark(object),
        "ERROR" => {
            let status: Status = serde_json::from_value(object).map_err(malformed)?;
            Event::Error(Box::new(status))
        }
        _ => return Ok(None),
    }))
}

/// A page of a list as it comes.
#[derive(Deserialize)]
pub(super) struct ListPage {
    #[serde(default)]
    metadata: ListMeta,
    #[serde(default)]
    items: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

impl ListPage {
    /// A list without a version is none: nothing may be concluded from it.
    pub(super) fn into_page(self) -> Result<Page, ApiError> {
        let Self {
            metadata:
                ListMeta {
                    resource_version,
                    next,
                },
            items,
        } = self;
        if resource_version.is_empty() {
            let why = "the answer is no list: it has no version";
            return Err(ApiError::new(Class::Malformed, why));
        }
        Ok(Page {
            version: resource_version,
            next: next.unwrap_or_default(),
            items: items.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests;
