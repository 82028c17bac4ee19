//! Records on a healthy link.

use std::time::Duration;

use super::{Pair, Side, body};
use crate::body::Body;
use crate::id::Offset;
use crate::limits::{WINDOW_BYTES, WINDOW_DECODED_BYTES};
use crate::record::{Op, Slot};
use crate::replication::Start;

#[test]
fn the_first_sync_brings_everything_both_ways() {
    let mut pair = Pair::new();
    pair.cloud.put("a", "1");
    pair.cloud.put("b", "2");
    pair.edge.write(Op::Status, "pod", body("running"));
    pair.sync();
    assert_eq!(pair.edge.sees("a"), Some(body("1")));
    assert_eq!(pair.edge.sees("b"), Some(body("2")));
    assert_eq!(
        pair.cloud.sees_slot("pod", Slot::Status),
        Some(body("running"))
    );
    assert_eq!(
        pair.edge.established[0].sending,
        Start::Resume {
            after: Offset::ZERO
        }
    );
    pair.assert_equal();
}

#[test]
fn ends_with_nothing_to_say_are_established_and_quiet() {
    let mut pair = Pair::new();
    pair.sync();
    assert_eq!(
        (pair.edge.established.len(), pair.cloud.established.len()),
        (1, 1)
    );
    assert_eq!(pair.count("Records"), 0);
}

#[test]
fn an_edit_on_a_live_link_arrives_and_is_acked() {
    let mut pair = Pair::new();
    pair.sync();
    pair.cloud.put("a", "1");
    pair.wake();
    pair.run();
    assert_eq!(pair.edge.sees("a"), Some(body("1")));
    let stats = pair.cloud.session.as_ref().unwrap().stats();
    assert_eq!(stats.acked_upto, stats.sent_upto);
    assert_eq!(stats.under_way_bytes, 0);
    assert_eq!(pair.cloud.sent().acked, Offset::ZERO, "written down lazily");
    pair.pass(Duration::from_secs(2));
    assert_eq!(pair.cloud.sent().acked, stats.acked_upto);
}

#[test]
fn nothing_is_acked_before_it_is_durable() {
    let mut pair = Pair::new();
    pair.sync();
    pair.edge.holds_writes = true;
    pair.cloud.put("a", "1");
    pair.wake();
    pair.run();
    assert_eq!(pair.count("Ack"), 0);
    assert_eq!(pair.edge.sees("a"), None);
    pair.edge.holds_writes = false;
    pair.run();
    assert_eq!(pair.count("Ack"), 1);
}

#[test]
fn acks_of_many_writes_are_one_frame() {
    let mut pair = Pair::new();
    pair.sync();
    pair.edge.holds_writes = true;
    for n in 0..20 {
        pair.cloud.put(&format!("a{n}"), "1");
        pair.wake();
        pair.run();
    }
    assert_eq!(pair.count("Records"), 20);
    pair.edge.groups_writes = true;
    pair.edge.make_write(pair.now);
    pair.edge.holds_writes = false;
    pair.run();
    assert_eq!(pair.count("Ack"), 1);
}

#[test]
fn the_window_is_respected() {
    let mut pair = Pair::new();
    let mut random = fastrand::Rng::with_seed(1);
    for n in 0..60 {
        let noise: String = std::iter::repeat_with(|| random.alphanumeric())
            .take(20_000)
            .collect();
        pair.cloud.put(&format!("a{n}"), &noise);
    }
    pair.edge.holds_writes = true;
    pair.connect();
    pair.run();
    let under_way = pair.cloud.session.as_ref().unwrap().stats().under_way_bytes;
    assert!(
        under_way <= WINDOW_BYTES && under_way > WINDOW_BYTES / 2,
        "{under_way}"
    );
    pair.edge.holds_writes = false;
    pair.run();
    pair.assert_equal();
}

#[test]
fn a_few_bytes_that_stand_for_many_are_held_back_too() {
    let mut pair = Pair::new();
    for n in 0..10 {
        pair.cloud.put(&format!("a{n}"), &"x".repeat(2_000_000));
    }
    pair.edge.holds_writes = true;
    pair.connect();
    pair.run();
    let sent = pair.cloud.session.as_ref().unwrap().stats().sent.records;
    assert!(
        sent <= (WINDOW_DECODED_BYTES / 2_000_000) as u64 + 1,
        "{sent}"
    );
    pair.edge.holds_writes = false;
    pair.run();
    pair.assert_equal();
}

#[test]
fn the_largest_body_passes_in_parts_that_a_ping_can_overtake() {
    let mut pair = Pair::new();
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
        .take(crate::limits::BODY_BYTES_MAX)
        .collect();
    pair.cloud
        .write(Op::Put, "large", Body::from(noise.clone()));
    pair.connect();
    while pair.count("Part") < 3 {
        pair.step();
    }
    let before = pair.names.len();
    pair.inject(Side::Cloud, &[7]);
    pair.step();
    assert!(
        pair.names[before..].contains(&"Pong"),
        "{:?}",
        &pair.names[before..]
    );
    pair.run();
    assert_eq!(pair.edge.sees("large"), Some(Body::from(noise)));
}

#[test]
fn a_link_that_went_silent_is_closed_within_seconds() {
    let mut pair = Pair::new();
    pair.sync();
    pair.is_black_hole = true;
    pair.pass(Duration::from_secs(20));
    for end in [&pair.edge, &pair.cloud] {
        assert_eq!(end.closes[0].code, super::pair::CloseCode::Timeout);
    }
}

#[test]
fn an_idle_link_lives_on_a_few_bytes() {
    let mut pair = Pair::new();
    pair.cloud.put("a", "1");
    pair.sync();
    pair.pass(Duration::from_secs(60));
    pair.forget_traffic();
    pair.pass(Duration::from_secs(600));
    assert!(pair.edge.closes.is_empty() && pair.cloud.closes.is_empty());
    // With 6 bytes of WebSocket header and about 40 of TCP/IP for each frame, still below 10 B/s.
    let frames = pair.names.len();
    assert!(
        pair.total_bytes() + frames * 46 < 10 * 600,
        "{frames} frames"
    );
}

#[test]
fn a_handshake_that_stalls_times_out() {
    let mut pair = Pair::new();
    pair.is_black_hole = true;
    pair.connect();
    pair.pass(Duration::from_secs(11));
    assert_eq!(pair.cloud.closes[0].code, super::pair::CloseCode::Timeout);
}

#[test]
fn a_close_tells_the_other_side_why() {
    let mut pair = Pair::new();
    pair.sync();
    let wait = Some(Duration::from_secs(7));
    let session = pair.cloud.session.as_mut().unwrap();
    session.close(
        super::pair::CloseCode::Fenced,
        "another edge-1 is here",
        wait,
    );
    pair.run();
    let close = &pair.edge.closes[0];
    assert_eq!((close.by_peer, close.retry_after), (true, wait));
    assert_eq!(close.reason, "another edge-1 is here");
    assert_eq!(pair.edge.session.as_ref().unwrap().poll_timeout(), None);
}
