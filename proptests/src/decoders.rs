//! Everything that reads bytes of others: each decoder as a function that must come back, whatever
//! it is fed, without a panic and in memory bounded by what it was fed.
//!
//! The fuzz targets in `fuzz/` and the replay of their corpora on stable Rust call the same
//! functions.

use std::sync::LazyLock;

use causeway_kube_api::Catalog;
use causeway_kube_api::patch::Patch;
use causeway_log::wire::Frame;
use causeway_projections::Request;
use causeway_projections::selector::{FieldSelector, LabelSelector};
use causeway_simulator::scenario::{NoFiles, Scenario};
use serde_json::json;

/// One decoder, by the name of its fuzz target and corpus.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    /// The name.
    pub name: &'static str,
    /// Feeds it.
    pub feed: fn(&[u8]),
    /// Bytes it may allocate for each byte it is fed, beside a constant.
    pub bytes_per_byte: u64,
}

/// All of them.
pub const ALL: [Decoder; 7] = [
    Decoder {
        name: "frame",
        feed: frame,
        bytes_per_byte: 64,
    },
    Decoder {
        name: "record",
        feed: record,
        bytes_per_byte: 64,
    },
    Decoder {
        name: "request",
        feed: request,
        bytes_per_byte: 256,
    },
    Decoder {
        name: "selector",
        feed: selector,
        bytes_per_byte: 256,
    },
    Decoder {
        name: "patch",
        feed: patch,
        bytes_per_byte: 512,
    },
    Decoder {
        name: "mqtt",
        feed: mqtt,
        bytes_per_byte: 64,
    },
    Decoder {
        name: "scenario",
        feed: scenario,
        bytes_per_byte: 4096,
    },
];

/// What a peer sends. What can be read can be written, and reads the same again.
///
/// # Panics
/// When it does not.
pub fn frame(bytes: &[u8]) {
    if let Ok(frame) = Frame::decode(bytes) {
        let encoded = frame.encode();
        let again = Frame::decode(&encoded).map(|again| again == frame);
        assert_eq!(
            again,
            Ok(true),
            "a frame reads the same when it was written"
        );
    }
}

/// What is on disk.
pub fn record(bytes: &[u8]) {
    causeway_log::store::fuzz::open_anything(bytes);
}

/// What an edge asks of the cloud.
///
/// # Panics
/// When a request that was read is another one when it was written.
pub fn request(bytes: &[u8]) {
    if let Ok(request) = Request::decode(bytes) {
        let again = Request::decode(&request.encode());
        assert_eq!(again.ok(), Some(request), "a request reads the same");
    }
}

/// What a client of the API asks for, and an object it is tried on.
pub fn selector(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let object = json!({"metadata": {"name": "a", "labels": {"a": "b", "c": "3"}}});
    if let Ok(selector) = LabelSelector::parse(&text) {
        let _ = selector.matches(&object);
    }
    if let Ok(selector) = FieldSelector::parse(&text) {
        let _ = selector.matches(&object);
    }
}

/// Bodies of PATCH requests, of all three media types, tried on a pod.
pub fn patch(bytes: &[u8]) {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::builtin);
    let Some(pods) = CATALOG.find("", "v1", "pods") else {
        return;
    };
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}]}]}});
    for media_type in ["json-patch", "merge-patch", "strategic-merge-patch"] {
        let media_type = format!("application/{media_type}+json");
        if let Ok(patch) = Patch::parse(&media_type, bytes, pods) {
            let _ = patch.apply(pods, &pod);
        }
    }
}

/// What a device sends to the broker of a node, or a broker to the node.
pub fn mqtt(bytes: &[u8]) {
    causeway_edge_sync::fuzz::mqtt(bytes);
}

/// A scenario file.
pub fn scenario(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = Scenario::parse("fuzz.yaml", &text, &NoFiles);
}
