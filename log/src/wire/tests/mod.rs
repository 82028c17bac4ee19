//! The wire codec: golden bytes, round trips, garbage, and body encodings.
#![expect(
    clippy::indexing_slicing,
    reason = "a test that panics fails, as it should"
)]

mod bodies;
mod properties;
mod vectors;

use uuid::Uuid;

use super::{Begin, BucketSet, Frame, Held, Packed, WireBody, WireRecord};
use crate::digest::{BucketHash, DigestEntry, KeyHash};
use crate::id::{Epoch, EventId, Offset, Version, WallTime};
use crate::key::{Key, NodeName, Resource, Uid};
use crate::record::{Header, Op};
use crate::replication::CloseCode;

fn epoch() -> Epoch {
    Epoch::new(Uuid::from_u128(0x0123_4567_89ab_4cde_8f01_2345_6789_abcd))
}

fn header(offset: u64, op: Op, name: &str) -> Header {
    let time = WallTime::from_unix_millis(1_790_000_000_123);
    Header {
        offset: Offset::new(offset),
        id: EventId::compose(time, [0xa5; 10]),
        cause: None,
        time,
        key: Key::new(Resource::core("configmaps"), "default", name, Uid::None).unwrap(),
        version: Version::new(offset),
        op,
    }
}

const PACKED: Packed<'static> = Packed {
    size: 1000,
    hash: [0xdd; 8],
    block: &[1, 2, 3],
};

fn placed_records() -> Vec<WireRecord<'static>> {
    let mut request = header(306, Op::Apply, "a");
    request.cause = Some(EventId::new(Uuid::from_u128(0x99)));
    request.id = EventId::new(Uuid::from_u128(0x98));
    request.key.uid = Uid::Text("no-uuid".into());
    request.key.resource = Resource::new("apps", "deployments");
    let mut delete = header(305, Op::Delete, "b");
    delete.key.uid = Uid::Uuid(Uuid::from_u128(0x0a0b_0c0d));
    vec![
        WireRecord {
            header: header(301, Op::Put, "a"),
            body: WireBody::Raw(b"{}"),
        },
        WireRecord {
            header: delete,
            body: WireBody::Empty,
        },
        WireRecord {
            header: request,
            body: WireBody::Zstd {
                dictionary: 1,
                packed: PACKED,
            },
        },
    ]
}

fn staged_records() -> Vec<WireRecord<'static>> {
    let mut staged = header(0, Op::Status, "c");
    staged.version = Version::new(7);
    vec![
        WireRecord {
            header: staged.clone(),
            body: WireBody::Delta {
                base: [0xbb; 8],
                packed: PACKED,
            },
        },
        WireRecord {
            header: staged,
            body: WireBody::Same { base: [0xbb; 8] },
        },
    ]
}

/// One frame of every type, by the name of its vector.
fn samples() -> Vec<(&'static str, Frame<'static>)> {
    let mut samples = handshake_samples();
    samples.extend(session_samples());
    samples.extend(reconcile_samples());
    samples
}

fn handshake_samples() -> Vec<(&'static str, Frame<'static>)> {
    let incarnation = Uuid::from_u128(0x1111_2222_3333_4444_8555_6666_7777_8888);
    let last = Some((Offset::new(298), EventId::new(Uuid::from_u128(0x42))));
    let held = Some(Held {
        epoch: epoch(),
        have: Offset::new(300),
        last,
        empty: false,
        unfinished: false,
    });
    vec![
        (
            "hello",
            Frame::Hello {
                version_min: 1,
                version_max: 1,
                node: NodeName::new("edge-1").unwrap(),
                incarnation,
                held,
            },
        ),
        (
            "welcome",
            Frame::Welcome {
                version: 1,
                incarnation,
                held: None,
            },
        ),
        (
            "start-resume",
            Frame::Start {
                epoch: epoch(),
                begin: Begin::Resume {
                    after: Offset::new(300),
                    upto: Offset::new(310),
                },
            },
        ),
        (
            "start-reconcile",
            Frame::Start {
                epoch: epoch(),
                begin: Begin::Reconcile {
                    upto: Offset::new(300),
                },
            },
        ),
    ]
}

fn session_samples() -> Vec<(&'static str, Frame<'static>)> {
    vec![
        (
            "records",
            Frame::Records {
                after: Offset::new(300),
                upto: Offset::new(310),
                records: placed_records(),
            },
        ),
        (
            "ack",
            Frame::Ack {
                upto: Offset::new(310),
            },
        ),
        (
            "rewind",
            Frame::Rewind {
                after: Offset::new(300),
            },
        ),
        ("ping", Frame::Ping),
        ("pong", Frame::Pong),
        (
            "close",
            Frame::Close {
                code: CloseCode::Overloaded,
                reason: "come back later",
                retry_after: Some(std::time::Duration::from_secs(30)),
            },
        ),
        (
            "part",
            Frame::Part {
                last: true,
                bytes: &[1, 2, 3],
            },
        ),
    ]
}

fn reconcile_samples() -> Vec<(&'static str, Frame<'static>)> {
    let entry = |key: u8, state: u8| DigestEntry::from_parts([key; 16], [state; 16]);
    let mut asked = BucketSet::default();
    asked.insert(0);
    asked.insert(9);
    let mut buckets = Box::new([BucketHash::default(); 256]);
    buckets[1] = BucketHash::new([0x77; 16]);
    vec![
        (
            "digest-list",
            Frame::DigestList(vec![entry(1, 2), entry(3, 4)]),
        ),
        ("digest-buckets", Frame::DigestBuckets(buckets)),
        ("digest-request", Frame::DigestRequest(asked)),
        (
            "digest-entries",
            Frame::DigestEntries {
                last: true,
                entries: vec![entry(1, 2)],
            },
        ),
        (
            "stage",
            Frame::Stage {
                seq: 2,
                records: staged_records(),
            },
        ),
        (
            "drop",
            Frame::Drop {
                seq: 1,
                keys: vec![KeyHash::new([5; 16])],
            },
        ),
        ("staged", Frame::Staged { seq: 2 }),
        (
            "end",
            Frame::End {
                upto: Offset::new(300),
            },
        ),
    ]
}
