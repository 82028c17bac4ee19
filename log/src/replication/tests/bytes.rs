//! What things cost on the wire. Deterministic, so exact bounds hold.

use super::Pair;
use crate::body::Body;
use crate::record::Op;
use crate::wire::Encoding;

/// A ConfigMap of about 100 KB with many settings, one of them `changed`.
fn large(changed: &str) -> Body {
    let mut random = fastrand::Rng::with_seed(5);
    let mut data = serde_json::Map::new();
    for n in 0..1000 {
        let noise: String = std::iter::repeat_with(|| random.alphanumeric())
            .take(82)
            .collect();
        data.insert(format!("setting-{n:04}"), noise.into());
    }
    data.insert("setting-0500".to_owned(), changed.into());
    let object = serde_json::json!({
        "apiVersion": "v1",
        "data": data,
        "kind": "ConfigMap",
        "metadata": {
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "name": "settings",
            "namespace": "default",
            "uid": "6f1d9b9c-7c4b-4c1e-9f39-3a6b1c1f2d3e",
        },
    });
    Body::from(serde_json::to_vec(&object).unwrap())
}

#[test]
fn a_small_edit_of_a_100_kb_object_costs_at_most_400_bytes_both_ways() {
    let mut pair = Pair::new();
    let before = large("before");
    assert!(before.len() > 95_000, "{}", before.len());
    pair.cloud.write(Op::Put, "settings", before);
    pair.sync();
    pair.forget_traffic();
    pair.cloud
        .write(Op::Put, "settings", large("something else"));
    pair.wake();
    pair.run();
    pair.assert_equal();
    let encodings = pair.cloud.session.as_ref().unwrap().stats().sent.encodings;
    assert_eq!(encodings[Encoding::Delta as usize].records, 1);
    assert!(pair.total_bytes() <= 150, "{} bytes", pair.total_bytes());
}

#[test]
fn a_small_edit_of_the_largest_object_is_a_delta_too() {
    let text = |changed: &str| {
        let mut random = fastrand::Rng::with_seed(5);
        let mut text: Vec<u8> = std::iter::repeat_with(|| random.alphanumeric() as u8)
            .take(3_000_000)
            .collect();
        let at = 1_500_000;
        text[at..at + changed.len()].copy_from_slice(changed.as_bytes());
        Body::from(text)
    };
    let mut pair = Pair::new();
    pair.cloud.write(Op::Put, "large", text("before"));
    pair.sync();
    pair.forget_traffic();
    pair.cloud.write(Op::Put, "large", text("something else"));
    pair.wake();
    pair.run();
    pair.assert_equal();
    assert!(pair.total_bytes() < 4_000, "{} bytes", pair.total_bytes());
}

#[test]
fn missed_edits_of_a_large_object_cost_one_delta() {
    let mut pair = Pair::new();
    pair.cloud.write(Op::Put, "settings", large("0"));
    pair.sync();
    pair.cut();
    for n in 1..=100 {
        pair.cloud.write(Op::Put, "settings", large(&n.to_string()));
    }
    pair.forget_traffic();
    pair.sync();
    pair.assert_equal();
    assert!(
        pair.total_bytes() <= 500,
        "{} bytes with the handshake",
        pair.total_bytes()
    );
}

#[test]
fn a_thousand_small_objects_cost_less_than_their_json() {
    let mut pair = Pair::new();
    for n in 0..1000 {
        pair.cloud.put(&format!("a{n}"), "1");
    }
    let json: usize = (0..1000).map(|_| super::body("1").len()).sum();
    pair.sync();
    assert!(
        pair.total_bytes() < json * 3 / 4,
        "{} bytes for {json}",
        pair.total_bytes()
    );
}

#[test]
fn one_edit_for_many_nodes_is_encoded_once() {
    let encoder = std::sync::Arc::new(crate::wire::Encoder::new(1 << 20));
    let (before, after) = (large("before"), large("after"));
    for _ in 0..100 {
        encoder.encode(&after, Some(&before));
    }
    assert_eq!(encoder.hits_and_misses(), (99, 1));
}

#[test]
fn an_idle_session_takes_little_memory() {
    let size = size_of::<crate::replication::Session>();
    assert!(size <= 2048, "{size} bytes");
}
