//! Whatever is encoded decodes to itself; whatever else comes is an error and not a panic.

use proptest::prelude::*;
use uuid::Uuid;

use super::samples;
use crate::id::{EventId, Offset, Version, WallTime};
use crate::key::{Key, Resource, Uid};
use crate::record::{Header, Op};
use crate::wire::{Frame, Packed, WireBody, WireRecord};

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        Just(Op::Put),
        Just(Op::Delete),
        Just(Op::Status),
        Just(Op::Twin),
        Just(Op::Apply),
        Just(Op::Fact),
        Just(Op::Reject),
    ]
}

fn uid() -> impl Strategy<Value = Uid> {
    prop_oneof![
        Just(Uid::None),
        any::<u128>().prop_map(|raw| Uid::Uuid(Uuid::from_u128(raw))),
        "[a-z]{1,20}".prop_map(|text| Uid::Text(text.into())),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    (
        "(apps|batch|)",
        "(pods|nodes|secrets)",
        "(default|kube-system|)",
        "[a-z]{1,12}",
        uid(),
    )
        .prop_map(|(group, plural, namespace, name, uid)| {
            Key::new(Resource::new(&group, &plural), &namespace, &name, uid).unwrap()
        })
}

fn header() -> impl Strategy<Value = Header> {
    let id = (any::<u128>(), any::<bool>(), any::<[u8; 10]>());
    let cause = proptest::option::of(any::<u128>());
    (
        1_u64..1 << 40,
        id,
        cause,
        any::<u64>(),
        key(),
        any::<u64>(),
        op(),
    )
        .prop_map(
            |(ahead, (raw, composed, entropy), cause, millis, key, version, op)| {
                let time = WallTime::from_unix_millis(if composed { millis >> 16 } else { millis });
                let id = if composed {
                    EventId::compose(time, entropy)
                } else {
                    EventId::new(Uuid::from_u128(raw))
                };
                let cause = cause.map(|raw| EventId::new(Uuid::from_u128(raw)));
                let version = Version::new(version);
                Header {
                    offset: Offset::new(ahead),
                    id,
                    cause,
                    time,
                    key,
                    version,
                    op,
                }
            },
        )
}

/// Bytes that live as long as a test case needs them.
#[derive(Clone, Debug)]
struct OwnedBody {
    form: u8,
    bytes: Vec<u8>,
    size: usize,
    hash: [u8; 8],
}

impl OwnedBody {
    fn wire(&self) -> WireBody<'_> {
        let packed = Packed {
            size: self.size,
            hash: self.hash,
            block: &self.bytes,
        };
        match self.form {
            0 => WireBody::Empty,
            1 => WireBody::Raw(&self.bytes),
            2 => WireBody::Zstd {
                dictionary: 1,
                packed,
            },
            3 => WireBody::Delta {
                base: self.hash,
                packed,
            },
            _ => WireBody::Same { base: self.hash },
        }
    }
}

fn body() -> impl Strategy<Value = OwnedBody> {
    let bytes = prop::collection::vec(any::<u8>(), 0..60);
    (0_u8..5, bytes, 0_usize..100_000, any::<[u8; 8]>()).prop_map(|(form, bytes, size, hash)| {
        OwnedBody {
            form,
            bytes,
            size,
            hash,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_round_trip(
        after in 0_u64..1 << 40,
        content in prop::collection::vec((header(), body()), 0..12),
        beyond in 1_u64..1000,
    ) {
        let mut place = after;
        let records: Vec<_> = content
            .iter()
            .map(|(header, body)| {
                place += header.offset.get();
                let header = Header { offset: Offset::new(place), ..header.clone() };
                WireRecord { header, body: body.wire() }
            })
            .collect();
        let upto = Offset::new(place + beyond);
        let frame = Frame::Records { after: Offset::new(after), upto, records };
        let bytes = frame.encode();
        prop_assert_eq!(Frame::decode(&bytes), Ok(frame.clone()));
    }

    #[test]
    fn staged_records_round_trip(
        seq in any::<u64>(),
        content in prop::collection::vec((header(), body()), 0..12),
    ) {
        let records = content
            .iter()
            .map(|(header, body)| {
                let header = Header { offset: Offset::ZERO, ..header.clone() };
                WireRecord { header, body: body.wire() }
            })
            .collect();
        let frame = Frame::Stage { seq, records };
        let bytes = frame.encode();
        prop_assert_eq!(Frame::decode(&bytes), Ok(frame.clone()));
    }

    #[test]
    fn garbage_is_an_error_or_a_frame_that_encodes_to_itself(
        kind in 0_u8..30,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [&[kind], &bytes[..]].concat();
        if let Ok(frame) = Frame::decode(&bytes)
            && !matches!(frame, Frame::Hello { .. } | Frame::Close { .. })
        {
            let again = frame.encode();
            prop_assert_eq!(Frame::decode(&again), Ok(frame.clone()));
        }
    }

    #[test]
    fn a_damaged_frame_never_panics(
        sample in 0_usize..19,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (_, frame) = samples().swap_remove(sample);
        let mut bytes = frame.encode().to_vec();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= value;
        }
        let _ = Frame::decode(&bytes);
    }
}
