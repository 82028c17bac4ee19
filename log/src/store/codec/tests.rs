//! Golden bytes of every key and value on disk, round trips, and garbage.
//!
//! Each file in `../golden` has `key` and `value` lines in hex. A file that is missing is a format
//! without a witness: run the tests once with `CAUSEWAY_WRITE_GOLDEN=1` to write it, and read what
//! was written. A file that differs is a changed format: give it a new version instead.

use std::path::PathBuf;

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::batch::{CursorName, Table};
use crate::id::StreamId;
use crate::key::NodeName;
use crate::store::keys;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares a key and value with their golden file.
fn check(name: &str, key: &[u8], value: &Bytes) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/store/golden")
        .join(name)
        .with_extension("hex");
    let text = format!("key {}\nvalue {}\n", hex(key), hex(value));
    if std::env::var_os("CAUSEWAY_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, golden, "{name}: the format on disk has changed");
}

fn header(uid: Uid, cause: Option<EventId>, op: Op) -> Header {
    Header {
        offset: Offset::new(0x1234),
        id: EventId::new(Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff)),
        cause,
        time: WallTime::from_unix_millis(1_700_000_000_000),
        key: Key::new(Resource::new("apps", "deployments"), "default", "web", uid).unwrap(),
        version: Version::new(77),
        op,
    }
}

const NO: StreamNo = StreamNo(7);

#[test]
fn records() {
    let revision = Revision::new(0x1234);
    let key = keys::log(NO, revision);
    let cause = EventId::new(Uuid::from_u128(1));
    let inline = LogValue {
        header: header(Uid::Uuid(Uuid::from_u128(2)), None, Op::Put),
        prev: Revision::new(300),
        since: Revision::new(5),
        body: BodyAt::Inline(Body::from(br#"{"a":1}"#.to_vec())),
    };
    let hashed = LogValue {
        header: header(Uid::Text("text".into()), Some(cause), Op::Reject),
        prev: Revision::ZERO,
        since: revision,
        body: BodyAt::Hashed {
            hash: BodyHash::new([0xab; 32]),
            len: 100_000,
        },
    };
    let empty = LogValue {
        header: header(Uid::None, None, Op::Delete),
        body: BodyAt::Inline(Body::EMPTY),
        prev: Revision::new(300),
        since: Revision::new(5),
    };
    for (name, record) in [
        ("record-inline", inline),
        ("record-hashed", hashed),
        ("record-empty", empty),
    ] {
        let value = seal_record(&mut Arena::default(), &key, &record);
        check(name, &key, &value);
        assert_eq!(open_record(&key, &value), Ok(record));
    }
}

#[test]
fn indexes() {
    let about = header(Uid::Uuid(Uuid::from_u128(2)), None, Op::Put).key;
    let key = keys::newest(NO, &about, Slot::Object);
    let newest = Newest {
        revision: Revision::new(70_000),
        since: Revision::new(5),
        op: Op::Put,
        len: 1024,
    };
    let value = seal_newest(&mut Arena::default(), &key, &newest);
    check("newest", &key, &value);
    assert_eq!(open_newest(&key, &value), Ok(newest));
    assert_eq!(keys::parse_newest(&key), Some((about, Slot::Object)));

    let key = keys::superseded(Revision::new(70_000));
    let superseded = Superseded {
        stream: NO,
        revision: Revision::new(300),
        time: WallTime::from_unix_millis(1_700_000_000_000),
        bytes: 1152,
    };
    let value = seal_superseded(&mut Arena::default(), &key, &superseded);
    check("superseded", &key, &value);
    assert_eq!(open_superseded(&key, &value), Ok(superseded));

    let key = keys::pending(NO, Revision::new(300));
    let pending = Pending {
        slot: Slot::Fact,
        time: WallTime::from_unix_millis(1),
        bytes: 1152,
    };
    let value = seal_pending(&key, &pending);
    check("pending", &key, &value);
    assert_eq!(open_pending(&key, &value), Ok(pending));
    let before = Pending {
        bytes: 0,
        ..pending
    };
    let value = seal_twin(&key, &(4_u8, 1_u64));
    check("pending-without-bytes", &key, &value);
    assert_eq!(open_pending(&key, &value), Ok(before));
}

#[test]
fn streams() {
    let value = StreamValue {
        no: NO,
        epoch: Epoch::new(Uuid::from_u128(3)),
        own_head: Offset::new(1),
        received_head: Offset::new(300),
        is_copy: true,
        received: Offset::new(301),
        acked: Offset::new(4),
        floor: Offset::new(5),
        history: Revision::new(6),
    };
    let node = NodeName::new("edge-1").unwrap();
    for (name, stream) in [
        ("stream-cluster", StreamId::Cluster),
        ("stream-down", StreamId::down(node.clone())),
        ("stream-up", StreamId::up(node)),
    ] {
        let key = keys::stream(&stream);
        let sealed = seal_stream(&key, &value);
        check(name, &key, &sealed);
        assert_eq!(open_stream(&key, &sealed), Ok(value.clone()));
        assert_eq!(keys::parse_stream(&key), Some(stream));
    }
}

#[test]
fn numbers_and_bytes() {
    let cursor = CursorName("writeback/edge-1".into());
    let hash = BodyHash::new([0xab; 32]);
    for (name, key, number) in [
        (
            "format",
            keys::single(keys::meta::FORMAT).to_vec(),
            u64::from(STORE_FORMAT),
        ),
        (
            "next-stream",
            keys::single(keys::meta::NEXT_STREAM).to_vec(),
            8,
        ),
        (
            "written",
            keys::single(keys::meta::WRITTEN).to_vec(),
            70_000,
        ),
        (
            "superseded-bytes",
            keys::single(keys::meta::GARBAGE_BYTES).to_vec(),
            u64::MAX,
        ),
        ("cursor", keys::cursor(&cursor), 300),
        ("references", keys::references(&hash).to_vec(), 10_000),
    ] {
        let value = seal_number(&key, number);
        check(name, &key, &value);
        assert_eq!(open_number(&key, &value), Ok(number));
    }
    for (name, key, bytes) in [
        ("row", keys::row(Table("objects"), b"key"), &b"value"[..]),
        ("body", hash.as_bytes().to_vec(), br#"{"a":1}"#),
        ("dropped", keys::dropped(NO).to_vec(), b""),
    ] {
        let value = seal_bytes(&key, bytes);
        check(name, &key, &value);
        assert_eq!(open_bytes(&key, &value), Ok(Bytes::copy_from_slice(bytes)));
    }
}

/// Every slot and operation has its number for ever.
#[test]
fn numbers_of_variants() {
    let ops = [
        Op::Put,
        Op::Delete,
        Op::Status,
        Op::Twin,
        Op::Apply,
        Op::Fact,
        Op::Reject,
    ];
    assert_eq!(ops.map(op_byte), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(ops.map(|op| op_from_byte(op_byte(op))), ops.map(Some));
    assert_eq!(op_from_byte(7), None);
    let slots = [
        Slot::Object,
        Slot::Status,
        Slot::Twin,
        Slot::Request,
        Slot::Fact,
    ];
    assert_eq!(slots.map(keys::slot_byte), [0, 1, 2, 3, 4]);
    assert_eq!(
        slots.map(|slot| keys::slot_from_byte(keys::slot_byte(slot))),
        slots.map(Some)
    );
    assert_eq!(keys::slot_from_byte(5), None);
}

fn uid() -> impl Strategy<Value = Uid> {
    prop_oneof![
        Just(Uid::None),
        any::<u128>().prop_map(|uid| Uid::Uuid(Uuid::from_u128(uid))),
        "[a-z\0\u{ff}]{1,6}".prop_map(|text| Uid::Text(text.into())),
    ]
}

fn about() -> impl Strategy<Value = Key> {
    let part = "[a-c\0\u{1}.-]{0,4}";
    (part, part, part, part, uid()).prop_map(|(group, plural, namespace, name, uid)| Key {
        resource: Resource::new(&group, &plural),
        namespace: namespace.into(),
        name: name.into(),
        uid,
    })
}

fn slot() -> impl Strategy<Value = Slot> {
    (0..5_u8).prop_map(|byte| keys::slot_from_byte(byte).unwrap())
}

proptest! {
    #[test]
    fn index_keys_sort_as_keys_do(a in about(), b in about(), s in slot(), t in slot()) {
        let (first, second) = (keys::newest(NO, &a, s), keys::newest(NO, &b, t));
        prop_assert_eq!(first.cmp(&second), (&a, keys::slot_byte(s)).cmp(&(&b, keys::slot_byte(t))));
        prop_assert!(first == second || !second.starts_with(&first));
        prop_assert_eq!(keys::parse_newest(&first), Some((a, s)));
    }

    #[test]
    fn records_come_back(key in about(), body in prop::collection::vec(any::<u8>(), 0..80)) {
        let record = LogValue {
            header: Header { key, ..header(Uid::None, None, Op::Twin) },
            prev: Revision::new(1),
            since: Revision::MAX,
            body: BodyAt::Inline(Body::from(body)),
        };
        let key = keys::log(NO, Revision::MAX);
        let value = seal_record(&mut Arena::default(), &key, &record);
        prop_assert_eq!(open_record(&key, &value), Ok(record));
    }

    /// Garbage is refused, never a panic and never a value; so is a value under another's key.
    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<usize>()) {
        let key = keys::log(NO, Revision::new(3));
        let garbage = Bytes::from(bytes);
        let _ = keys::parse_newest(&garbage);
        let _ = keys::parse_stream(&garbage);
        // With a right checksum, so that the decoders see it.
        let sealed = seal_bytes(&key, &garbage);
        let _ = open_record(&key, &sealed);
        let _ = open_newest(&key, &sealed);
        let _ = open_stream(&key, &sealed);
        let _ = open_superseded(&key, &sealed);
        let _ = open_pending(&key, &sealed);
        let _ = open_number(&key, &sealed);
        let mut damaged = sealed.to_vec();
        let at = at % damaged.len();
        damaged[at] ^= 0x10;
        prop_assert!(open_bytes(&key, &damaged.into()).is_err());
        prop_assert!(open_bytes(b"another key", &sealed).is_err());
    }
}
