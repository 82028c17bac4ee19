//! Appending: order, atomicity, conditions, limits.

use super::{
    Harness, at, changes, commit, down, draft, entries, epoch, info, key, newest, next, open, put,
    read_all, revisions, up, version,
};
use crate::batch::{Batch, CursorName, Expect, Row, StreamChange, Table};
use crate::body::Body;
use crate::error::AppendError;
use crate::id::{Offset, Revision, StreamId};
use crate::limits::{BATCH_RECORDS_MAX, BODY_BYTES_MAX};
use crate::record::{Op, Slot};
use crate::replication::Invariant;

pub(super) fn revisions_grow_over_all_streams(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    open(store, &StreamId::Cluster);
    let appended = commit(
        store,
        &entries(vec![
            next(&down(), draft(Op::Put, "a", b"1")),
            next(&StreamId::Cluster, draft(Op::Put, "a", b"2")),
            next(&down(), draft(Op::Put, "b", b"3")),
        ]),
    );
    assert!(
        appended.revisions.is_sorted_by(|a, b| a < b),
        "{}",
        Invariant::RevisionsOrder
    );
    assert_eq!(appended.revisions, appended.since, "all keys are new");
    for stream in [down(), StreamId::Cluster] {
        let offsets = read_all(store, &stream);
        assert!(
            offsets.is_sorted_by_key(|stored| stored.record.header.offset),
            "{}",
            Invariant::RevisionsOrder
        );
    }
    let later = put(store, &down(), Op::Put, "a", b"4");
    assert!(appended.revisions.iter().all(|revision| *revision < later));
    assert_eq!(store.watermarks().durable, later);
    assert_eq!(store.watermarks().written, later);
    assert_eq!(
        store.streams().expect("readable"),
        vec![StreamId::Cluster, down()]
    );
}

pub(super) fn own_offset_and_version_are_the_revision(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let mut given = draft(Op::Put, "given", b"1");
    given.version = Some(version(77));
    commit(
        store,
        &entries(vec![
            next(&down(), draft(Op::Put, "a", b"1")),
            next(&down(), given),
        ]),
    );
    let records = read_all(store, &down());
    for stored in &records {
        assert_eq!(stored.record.header.offset, stored.revision.as_own_offset());
    }
    assert_eq!(
        records[0].record.header.version,
        records[0].revision.as_own_version()
    );
    assert_eq!(records[1].record.header.version, version(77));
    assert_eq!(info(store, &down()).head, records[1].record.header.offset);
    assert_eq!(
        info(store, &down()).durable,
        records[1].record.header.offset
    );
}

pub(super) fn failed_condition_refuses_all(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let first = put(store, &down(), Op::Put, "a", b"1");
    let before = store.watermarks();
    let newest_is = |name: &str, revision| Expect::Newest {
        stream: down(),
        key: key(name),
        slot: Slot::Object,
        revision,
    };
    let wrong = [
        (newest_is("a", None), Some(first)),
        (
            newest_is("a", Some(Revision::new(first.get() + 1))),
            Some(first),
        ),
        (newest_is("b", Some(first)), None),
        (
            Expect::Epoch {
                stream: down(),
                epoch: epoch(2),
            },
            None,
        ),
        (
            Expect::Received {
                stream: down(),
                upto: Offset::new(9),
            },
            None,
        ),
    ];
    for (expect, expected) in wrong {
        let mut batch = entries(vec![next(&down(), draft(Op::Put, "c", b"2"))]);
        batch.expect.push(expect.clone());
        batch.cursors.push((CursorName("c".into()), Offset::new(1)));
        match store.append(&batch) {
            Err(AppendError::Conflict { failed, found }) => {
                assert_eq!(*failed, expect);
                assert_eq!(found, expected);
            }
            other => panic!("a conflict was expected, not {other:?}"),
        }
    }
    assert_eq!(store.watermarks(), before, "nothing was applied");
    assert_eq!(newest(store, &down(), "c"), None);
    assert_eq!(
        store.cursor(&CursorName("c".into())).expect("readable"),
        None
    );
}

pub(super) fn conditions_see_the_state_before(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let absent = |name: &str| Expect::Newest {
        stream: down(),
        key: key(name),
        slot: Slot::Object,
        revision: None,
    };
    let mut batch = entries(vec![next(&down(), draft(Op::Put, "a", b"1"))]);
    batch.expect = vec![
        absent("a"),
        Expect::Epoch {
            stream: down(),
            epoch: epoch(1),
        },
        Expect::Received {
            stream: down(),
            upto: Offset::ZERO,
        },
    ];
    commit(store, &batch);
    put(store, &down(), Op::Delete, "a", b"");
    let mut batch = entries(vec![next(&down(), draft(Op::Put, "a", b"2"))]);
    batch.expect = vec![absent("a")];
    commit(store, &batch);
    assert!(matches!(
        store.append(&batch),
        Err(AppendError::Conflict { .. })
    ));
}

pub(super) fn closed_stream_takes_nothing(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let batch = entries(vec![
        next(&down(), draft(Op::Put, "a", b"1")),
        next(&up(), draft(Op::Put, "a", b"1")),
    ]);
    assert!(matches!(
        store.append(&batch),
        Err(AppendError::NotOpen { stream }) if stream == up()
    ));
    let change = StreamChange::Acked {
        stream: up(),
        upto: Offset::new(1),
    };
    assert!(matches!(
        store.append(&changes(vec![change])),
        Err(AppendError::NotOpen { .. })
    ));
    store.sync().expect("the disk is good");
    assert_eq!(revisions(&read_all(store, &down())), Vec::<u64>::new());
    assert_eq!(store.stream(&up()).expect("readable"), None);
    assert_eq!(read_all(store, &up()), Vec::new());
}

pub(super) fn offsets_of_a_copy_grow(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &up());
    commit(
        store,
        &entries(vec![
            at(&up(), 10, draft(Op::Status, "a", b"1")),
            at(&up(), 25, draft(Op::Status, "b", b"2")),
        ]),
    );
    assert_eq!(info(store, &up()).head, Offset::new(25));
    for offset in [1, 25] {
        let batch = entries(vec![at(&up(), offset, draft(Op::Status, "a", b"3"))]);
        match store.append(&batch) {
            Err(AppendError::Order {
                offset: given,
                head,
                ..
            }) => {
                assert_eq!((given, head), (Offset::new(offset), Offset::new(25)));
            }
            other => panic!("{}: {other:?}", Invariant::OffsetsGrow),
        }
    }
    let open = StreamChange::Open {
        stream: up(),
        epoch: epoch(2),
    };
    let mut batch = entries(vec![at(&up(), 3, draft(Op::Status, "a", b"4"))]);
    batch.streams = vec![open];
    commit(store, &batch);
    assert_eq!(
        info(store, &up()).head,
        Offset::new(3),
        "a new epoch counts anew"
    );
    assert_eq!(
        read_all(store, &up()).len(),
        3,
        "its records start with those of the old one"
    );
}

pub(super) fn stream_changes_never_go_back(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    open(store, &up());
    let received = |upto| StreamChange::Received {
        stream: up(),
        upto: Offset::new(upto),
    };
    let acked = |upto| StreamChange::Acked {
        stream: down(),
        upto: Offset::new(upto),
    };
    commit(store, &changes(vec![received(5), acked(7)]));
    commit(store, &changes(vec![received(4), acked(6)]));
    assert_eq!(info(store, &up()).received, Offset::new(5));
    assert_eq!(info(store, &down()).acked, Offset::new(7));
    open(store, &up());
    assert_eq!(
        info(store, &up()).received,
        Offset::new(5),
        "the same epoch changes nothing"
    );
    let again = |stream| StreamChange::Open {
        stream,
        epoch: epoch(2),
    };
    commit(store, &changes(vec![again(up()), again(down())]));
    assert_eq!(info(store, &up()).received, Offset::ZERO);
    assert_eq!(info(store, &down()).acked, Offset::ZERO);
    assert_eq!(info(store, &down()).epoch, epoch(2));
}

pub(super) fn limits_are_enforced(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let too_large = |batch: &Batch| {
        assert!(matches!(
            store.append(batch),
            Err(AppendError::TooLarge { .. })
        ));
    };
    too_large(&entries(vec![next(
        &down(),
        draft(Op::Put, "a", &vec![0; BODY_BYTES_MAX + 1]),
    )]));
    let one = next(&down(), draft(Op::Put, "a", b""));
    too_large(&entries(vec![one; BATCH_RECORDS_MAX + 1]));
    let large = vec![7; BODY_BYTES_MAX];
    let distinct = (0..12)
        .map(|_| next(&down(), draft(Op::Put, "a", &large)))
        .collect();
    too_large(&entries(distinct));
    let shared = next(&down(), draft(Op::Put, "a", &large));
    commit(store, &entries(vec![shared; 12]));
}

pub(super) fn rows_and_cursors_go_with_their_batch(harness: &mut dyn Harness) {
    const TABLE: Table = Table("objects");
    let store = harness.store();
    open(store, &down());
    let row = |key: &'static [u8], value: Option<&'static [u8]>| Row {
        table: TABLE,
        key: key.into(),
        value: value.map(Into::into),
    };
    let cursor = CursorName("writeback/edge-1".into());
    let mut batch = entries(vec![next(&down(), draft(Op::Put, "a", b"1"))]);
    batch.rows = vec![
        row(b"b", Some(b"2")),
        row(b"a", Some(b"1")),
        row(b"c", Some(b"3")),
        row(b"", Some(b"0")),
        row(b"b", Some(b"two")),
        Row {
            table: Table("objects2"),
            key: "a".into(),
            value: Some("x".into()),
        },
    ];
    batch.cursors = vec![
        (cursor.clone(), Offset::new(4)),
        (cursor.clone(), Offset::new(5)),
    ];
    commit(store, &batch);
    let rows = |from: &[u8], limit| {
        let rows = store.rows(TABLE, from, limit).expect("readable");
        rows.into_iter()
            .map(|(key, value)| (String::from_utf8_lossy(&key).into_owned(), value.to_vec()))
            .collect::<Vec<_>>()
    };
    let named = |key: &str, value: &[u8]| (key.to_owned(), value.to_vec());
    let all = vec![
        named("", b"0"),
        named("a", b"1"),
        named("b", b"two"),
        named("c", b"3"),
    ];
    assert_eq!(rows(b"", 9), all);
    assert_eq!(rows(b"b", 1), all[2..3]);
    assert_eq!(
        store.cursor(&cursor).expect("readable"),
        Some(Offset::new(5))
    );
    assert_eq!(
        store
            .cursor(&CursorName("writeback/".into()))
            .expect("readable"),
        None
    );
    commit(
        store,
        &Batch {
            rows: vec![row(b"b", None)],
            ..Batch::default()
        },
    );
    assert_eq!(rows(b"", 9).len(), 3);
    harness.crash();
    assert_eq!(
        harness.store().rows(TABLE, b"", 9).expect("readable").len(),
        3
    );
}

pub(super) fn since_ends_with_delete(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let first = put(store, &down(), Op::Put, "a", b"1");
    let second = put(store, &down(), Op::Put, "a", b"2");
    let since = |name| newest(store, &down(), name).expect("there is one").since;
    assert_eq!(since("a"), first);
    assert!(second > first);
    let gone = put(store, &down(), Op::Delete, "a", b"");
    assert_eq!(
        since("a"),
        first,
        "a tombstone says since when the object was there"
    );
    let back = put(store, &down(), Op::Put, "a", b"3");
    assert_eq!(since("a"), back);
    assert!(gone < back);
    // Slots live apart.
    let status = put(store, &down(), Op::Status, "a", b"s");
    let stored = store
        .newest(&down(), &key("a"), Slot::Status)
        .expect("readable");
    assert_eq!(
        stored.map(|stored| (stored.since, stored.record.body)),
        Some((status, Body::from(b"s".to_vec())))
    );
    assert_eq!(since("a"), back);
    // Within one batch.
    let appended = commit(
        store,
        &entries(vec![
            next(&down(), draft(Op::Put, "b", b"1")),
            next(&down(), draft(Op::Put, "b", b"2")),
            next(&down(), draft(Op::Delete, "b", b"")),
            next(&down(), draft(Op::Put, "b", b"3")),
        ]),
    );
    let [r1, _, _, r4] = appended.revisions[..] else {
        panic!("four revisions")
    };
    assert_eq!(appended.since, vec![r1, r1, r1, r4]);
    assert_eq!(since("b"), r4);
}
