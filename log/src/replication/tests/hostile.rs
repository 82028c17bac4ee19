//! Peers that break the protocol hurt their own session and nothing else.

use proptest::prelude::*;

use super::pair::CloseCode;
use super::{Pair, Side};
use crate::id::{Epoch, Offset};
use crate::limits::FRAME_BYTES_MAX;
use crate::wire::{Begin, Frame};

/// Two ends in step, and what the edge answers to one frame from a stranger.
fn answer(bytes: &[u8]) -> Option<CloseCode> {
    let mut pair = Pair::new();
    pair.cloud.put("a", "1");
    pair.sync();
    pair.inject(Side::Edge, bytes);
    pair.run();
    let close = pair.edge.closes.first()?;
    assert!(!close.by_peer);
    assert!(
        pair.cloud.closes.first().is_some_and(|close| close.by_peer),
        "the peer is told"
    );
    Some(close.code)
}

#[test]
fn garbage_is_a_violation() {
    assert_eq!(answer(b""), Some(CloseCode::Violation));
    assert_eq!(
        answer(b"GET / HTTP/1.1\r\n\r\n"),
        Some(CloseCode::Violation)
    );
    assert_eq!(answer(&[0xff; 100]), Some(CloseCode::Violation));
}

#[test]
fn a_truncated_frame_is_a_violation() {
    let mut pair = Pair::new();
    pair.cloud.put("a", "1");
    pair.connect();
    let ack = Frame::Records {
        after: Offset::ZERO,
        upto: Offset::new(900),
        records: Vec::new(),
    };
    let bytes = ack.encode();
    for end in 0..bytes.len() {
        assert_eq!(answer(&bytes[..end]), Some(CloseCode::Violation), "{end}");
    }
}

#[test]
fn an_oversized_frame_is_refused() {
    assert_eq!(
        answer(&vec![4; FRAME_BYTES_MAX + 1]),
        Some(CloseCode::TooLarge)
    );
}

#[test]
fn an_oversized_frame_in_parts_is_refused_before_it_is_whole() {
    let mut pair = Pair::new();
    pair.sync();
    let part = Frame::Part {
        last: false,
        bytes: &[0; 16_384],
    }
    .encode();
    for _ in 0..=FRAME_BYTES_MAX / 16_384 {
        pair.inject(Side::Cloud, &part);
    }
    pair.run();
    assert_eq!(pair.cloud.closes[0].code, CloseCode::TooLarge);
}

#[test]
fn records_that_leave_a_gap_are_a_violation() {
    let after = Offset::new(1000);
    let gap = Frame::Records {
        after,
        upto: Offset::new(1001),
        records: Vec::new(),
    };
    assert_eq!(answer(&gap.encode()), Some(CloseCode::Violation));
}

#[test]
fn records_seen_before_are_dropped_and_acked_again() {
    let mut pair = Pair::new();
    pair.cloud.put("a", "1");
    pair.sync();
    pair.cloud.put("b", "1");
    pair.forget_traffic();
    let again = Frame::Records {
        after: Offset::ZERO,
        upto: Offset::new(1),
        records: Vec::new(),
    };
    pair.inject(Side::Edge, &again.encode());
    pair.run();
    assert!(pair.edge.closes.is_empty() && pair.edge.applied.is_empty());
    assert_eq!(pair.count("Ack"), 1);
}

#[test]
fn an_ack_of_what_was_never_sent_is_a_violation() {
    let mut pair = Pair::new();
    pair.sync();
    pair.inject(
        Side::Cloud,
        &Frame::Ack {
            upto: Offset::new(5),
        }
        .encode(),
    );
    pair.run();
    assert_eq!(pair.cloud.closes[0].code, CloseCode::Violation);
}

#[test]
fn frames_out_of_their_phase_are_violations() {
    let epoch = Epoch::new(uuid::Uuid::from_u128(1));
    for frame in [
        Frame::Start {
            epoch,
            begin: Begin::Resume {
                after: Offset::ZERO,
                upto: Offset::ZERO,
            },
        },
        Frame::Staged { seq: 1 },
        Frame::Stage {
            seq: 1,
            records: Vec::new(),
        },
        Frame::Drop {
            seq: 1,
            keys: Vec::new(),
        },
        Frame::End {
            upto: Offset::new(1),
        },
        Frame::DigestList(Vec::new()),
        Frame::DigestEntries {
            last: true,
            entries: Vec::new(),
        },
        Frame::DigestRequest(crate::wire::BucketSet::all()),
        Frame::Welcome {
            version: 1,
            incarnation: uuid::Uuid::nil(),
            held: None,
        },
        Frame::Rewind {
            after: Offset::new(7),
        },
    ] {
        assert_eq!(
            answer(&frame.encode()),
            Some(CloseCode::Violation),
            "{}",
            frame.name()
        );
    }
}

#[test]
fn records_before_the_handshake_are_a_violation() {
    let mut pair = Pair::new();
    pair.connect();
    let records = Frame::Records {
        after: Offset::ZERO,
        upto: Offset::new(1),
        records: Vec::new(),
    };
    pair.inject(Side::Cloud, &records.encode());
    pair.run();
    assert_eq!(pair.cloud.closes[0].code, CloseCode::Violation);
}

fn hello(node: &str, versions: (u8, u8)) -> Option<CloseCode> {
    let mut pair = Pair::new();
    pair.connect();
    let hello = Frame::Hello {
        version_min: versions.0,
        version_max: versions.1,
        node: crate::key::NodeName::new(node).unwrap(),
        incarnation: uuid::Uuid::nil(),
        held: None,
    };
    pair.inject(Side::Cloud, &hello.encode());
    let mut code = None;
    while let Some(effect) = pair.cloud.session.as_mut().unwrap().poll_effect() {
        if let crate::replication::Effect::Close(close) = effect {
            code = Some(close.code);
        }
    }
    code
}

#[test]
fn another_node_is_refused() {
    assert_eq!(hello("edge-1", (1, 1)), None);
    assert_eq!(hello("edge-2", (1, 1)), Some(CloseCode::Forbidden));
}

#[test]
fn a_version_out_of_range_is_refused_and_a_wider_range_is_not() {
    assert_eq!(hello("edge-1", (2, 3)), Some(CloseCode::Version));
    assert_eq!(hello("edge-1", (1, 9)), None);
}

#[test]
fn a_peer_that_rewinds_for_ever_is_closed() {
    let mut pair = Pair::new();
    pair.cloud.put("a", "1");
    pair.sync();
    for _ in 0..100 {
        pair.inject(
            Side::Cloud,
            &Frame::Rewind {
                after: Offset::ZERO,
            }
            .encode(),
        );
    }
    pair.run();
    assert_eq!(pair.cloud.closes[0].code, CloseCode::Violation);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_lost_doubled_and_swapped_do_no_lasting_harm(
        seed in any::<u64>(),
        keys in 1_usize..400,
        steps in 10_usize..200,
        is_wiped in any::<bool>(),
    ) {
        let mut pair = Pair::new();
        for n in 0..keys {
            pair.cloud.put(&format!("a{n}"), &format!("{n}"));
            pair.edge.put(&format!("b{n}"), &format!("{n}"));
        }
        pair.sync();
        if is_wiped {
            pair.wipe(Side::Cloud);
        }
        for n in 0..keys {
            pair.cloud.put(&format!("a{n}"), &format!("{n} again"));
        }
        pair.mangler = Some(fastrand::Rng::with_seed(seed));
        pair.connect();
        pair.run_steps(steps);
        pair.edge.put("late", "1");
        pair.wake();
        pair.run();
        pair.mangler = None;
        pair.sync();
        pair.sync();
        pair.assert_equal();
    }

    #[test]
    fn no_bytes_panic_a_session(
        steps in 0_usize..12,
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..6),
        kinds in prop::collection::vec(1_u8..24, 6),
    ) {
        let mut pair = Pair::new();
        pair.cloud.put("a", "1");
        pair.edge.put("b", "1");
        pair.connect();
        pair.run_steps(steps);
        for (frame, kind) in frames.iter().zip(&kinds) {
            let mut bytes = vec![*kind];
            bytes.extend(frame);
            pair.inject(Side::Edge, &bytes);
            pair.inject(Side::Cloud, &bytes);
            pair.step();
        }
    }
}
