//! The lines of a watch.

use std::borrow::Cow;

use ::kube::client::Body;
use bytes::Bytes;
use causeway_kube_api::Status;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::Value;

use super::follower::{Event, Page};
use super::head::Head;
use crate::kube::client::{ApiError, Class};

/// What etcd takes at most, unless it is told otherwise, and how many bytes JSON makes of one: the
/// angle brackets of a page of HTML are escaped.
const ETCD_BYTES_MAX: usize = 3 * 512 * 1024;
const ESCAPED_BYTES: usize = 6;
/// Longest line that is kept. Of a longer one the beginning says which object it is about.
const LINE_BYTES_MAX: usize = 12 * 1024 * 1024;
const _: () = assert!(LINE_BYTES_MAX > ETCD_BYTES_MAX * ESCAPED_BYTES);

/// Cuts a body into lines.
pub(super) struct Lines {
    body: Body,
    /// The beginning of a line.
    rest: Vec<u8>,
    /// What a line that is too long is about; its end is still to come.
    passing: Option<TooLong>,
}

/// A line that is not kept.
struct TooLong {
    head: Head,
    bytes: usize,
}

impl Lines {
    pub(super) const fn new(body: Body) -> Self {
        Self {
            body,
            rest: Vec::new(),
            passing: None,
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
            // Most lines come whole, and are read where they are.
            if self.rest.is_empty() && self.passing.is_none() && part.len() <= LINE_BYTES_MAX {
                bytes += part.len();
                events.extend(event(part)?);
                continue;
            }
            self.extend(part);
            if let Some(TooLong { head, bytes }) = self.passing.take() {
                events.push(head.into_event(bytes)?);
                continue;
            }
            bytes += self.rest.len();
            events.extend(event(&std::mem::take(&mut self.rest))?);
        }
        self.extend(piece.get(begin..).unwrap_or_default());
        Ok((events, bytes))
    }

    /// Takes more of a line.
    fn extend(&mut self, part: &[u8]) {
        if let Some(TooLong { bytes, .. }) = &mut self.passing {
            *bytes = bytes.saturating_add(part.len());
            return;
        }
        let bytes = self.rest.len() + part.len();
        if bytes <= LINE_BYTES_MAX {
            self.rest.extend_from_slice(part);
            return;
        }
        let room = LINE_BYTES_MAX - self.rest.len();
        let beginning = part.get(..room).unwrap_or_default();
        self.rest.extend_from_slice(beginning);
        let head = Head::read(&std::mem::take(&mut self.rest));
        self.passing = Some(TooLong { head, bytes });
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
