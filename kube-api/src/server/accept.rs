//! What a client wants to see.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::status::Status;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Objects as they are.
    Objects,
    /// Rows and columns, in this version of `meta.k8s.io`.
    Table(&'static str),
    /// Metadata only, in this version of `meta.k8s.io`.
    Metadata(&'static str),
}

const READABLE: &str = "application/json";

/// One entry of an `Accept` header, with its parameters.
struct Range<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Range<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.parameters
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }

    fn is_json(&self) -> bool {
        matches!(
            self.media,
            "application/json" | "*/*" | "application/*" | ""
        )
    }
}

fn ranges(headers: &HeaderMap) -> Vec<Range<'_>> {
    let values = headers
        .get_all(ACCEPT)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let parameters = parts.filter_map(|part| part.split_once('=')).collect();
            Range { media, parameters }
        })
        .collect()
}

/// The first form a client accepts that there is.
///
/// # Errors
/// 406 when there is none.
pub(super) fn output(headers: &HeaderMap) -> Result<Output, Status> {
    let ranges = ranges(headers);
    if ranges.is_empty() {
        return Ok(Output::Objects);
    }
    for range in ranges.iter().filter(|range| range.is_json()) {
        let beta = range.get("v") == Some("v1beta1");
        let version = if beta {
            "meta.k8s.io/v1beta1"
        } else {
            "meta.k8s.io/v1"
        };
        match range.get("as") {
            None => return Ok(Output::Objects),
            Some("Table") => return Ok(Output::Table(version)),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => {
                return Ok(Output::Metadata(version));
            }
            Some(_) => {}
        }
    }
    Err(Status::not_acceptable(READABLE))
}

/// The version of aggregated discovery that a client asks for, if it does before plain JSON.
pub(super) fn aggregated(headers: &HeaderMap) -> Option<&'static str> {
    for range in ranges(headers).iter().filter(|range| range.is_json()) {
        match (range.get("g"), range.get("v"), range.get("as")) {
            (Some("apidiscovery.k8s.io"), Some("v2"), Some("APIGroupDiscoveryList")) => {
                return Some("v2");
            }
            (Some("apidiscovery.k8s.io"), Some("v2beta1"), Some("APIGroupDiscoveryList")) => {
                return Some("v2beta1");
            }
            (None, None, None) => return None,
            _ => {}
        }
    }
    None
}

/// Whether a client asks for this media type, before any JSON.
pub(super) fn prefers(headers: &HeaderMap, media: &str) -> bool {
    for range in ranges(headers) {
        if range.media == media {
            return true;
        }
        if range.is_json() {
            return false;
        }
    }
    false
}
