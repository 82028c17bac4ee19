//! Reading: fidelity, watermarks, pages, coalescing, history.

use uuid::Uuid;

use super::{
    ALL, Harness, commit, down, draft, entries, info, key, next, open, put, read_all, revisions,
    version,
};
use crate::body::Body;
use crate::id::{EventId, Offset, Revision, StreamId, WallTime};
use crate::key::{Key, Resource, Uid};
use crate::limits::BODY_INLINE_BYTES_MAX;
use crate::record::{Draft, Op, Slot};
use crate::replication::Invariant;
use crate::store::ReadLimit;

/// Drafts of every operation, kind of uid and size of body.
fn assorted() -> Vec<Draft> {
    let ops = [
        Op::Put,
        Op::Delete,
        Op::Status,
        Op::Twin,
        Op::Apply,
        Op::Fact,
        Op::Reject,
        Op::Put,
    ];
    let uids = [
        Uid::None,
        Uid::Uuid(Uuid::from_u128(u128::MAX / 3)),
        Uid::Text("not-a-uuid".into()),
    ];
    let sizes = [
        0,
        1,
        BODY_INLINE_BYTES_MAX,
        BODY_INLINE_BYTES_MAX + 1,
        100_000,
    ];
    let mut drafts = Vec::new();
    for (number, op) in ops.into_iter().cycle().take(40).enumerate() {
        let body: Vec<u8> = (0..sizes[number % 5])
            .map(|byte| u8::try_from((byte + number) % 251).expect("below 251"))
            .collect();
        let key = Key::new(
            Resource::new(["", "apps"][number % 2], "things"),
            ["", "default"][number % 2],
            &format!("name-{}", number % 7),
            uids[number % 3].clone(),
        );
        drafts.push(Draft {
            id: EventId::new(Uuid::from_u128(number as u128)),
            cause: (number % 2 == 0).then(|| EventId::new(Uuid::from_u128(!0))),
            time: WallTime::from_unix_millis(u64::MAX - number as u64),
            key: key.expect("a valid key"),
            version: Some(version(number as u64)),
            op,
            body: Body::from(body),
        });
    }
    drafts
}

pub(super) fn record_read_is_record_written(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let drafts = assorted();
    let batch = entries(
        drafts
            .iter()
            .map(|draft| next(&down(), draft.clone()))
            .collect(),
    );
    let appended = commit(store, &batch);
    for crashed in [false, true] {
        if crashed {
            harness.crash();
        }
        let records = read_all(harness.store(), &down());
        assert_eq!(records.len(), drafts.len(), "{}", Invariant::Fidelity);
        for (position, (stored, draft)) in records.iter().zip(&drafts).enumerate() {
            let header = &stored.record.header;
            assert_eq!(stored.revision, appended.revisions[position]);
            assert_eq!(stored.since, appended.since[position]);
            assert_eq!(header.id, draft.id);
            assert_eq!(header.cause, draft.cause);
            assert_eq!(header.time, draft.time);
            assert_eq!(header.key, draft.key);
            assert_eq!(Some(header.version), draft.version);
            assert_eq!(header.op, draft.op);
            assert_eq!(stored.record.body, draft.body, "{}", Invariant::Fidelity);
        }
    }
}

pub(super) fn reads_stop_at_durable(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let durable = put(store, &down(), Op::Put, "a", b"1");
    let batch = entries(vec![
        next(&down(), draft(Op::Put, "a", b"2")),
        next(&down(), draft(Op::Put, "b", b"1")),
    ]);
    let appended = store.append(&batch).expect("the batch is good");
    let written = *appended.revisions.last().expect("two entries");
    assert_eq!(store.watermarks().durable, durable);
    assert_eq!(store.watermarks().written, written);
    assert_eq!(info(store, &down()).head, written.as_own_offset());
    assert_eq!(info(store, &down()).durable, durable.as_own_offset());
    assert_eq!(revisions(&read_all(store, &down())), vec![durable.get()]);
    let page = store
        .read_coalesced(&down(), Offset::ZERO, ALL)
        .expect("readable");
    assert_eq!(
        revisions(&page.records),
        vec![durable.get()],
        "newest at the durable head"
    );
    assert_eq!(page.upto, durable.as_own_offset());
    let scanned = store.scan_newest(&down(), None, ALL).expect("readable");
    assert_eq!(revisions(&scanned), vec![durable.get()]);
    let newest = store
        .newest(&down(), &key("b"), Slot::Object)
        .expect("readable");
    assert_eq!(
        newest.map(|stored| stored.revision),
        Some(written),
        "the writer sees all"
    );
    assert_eq!(store.sync().expect("the disk is good"), written);
    assert_eq!(read_all(store, &down()).len(), 3);
}

pub(super) fn pages_cover_everything_once(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    open(store, &StreamId::Cluster);
    let mut expected = Vec::new();
    for number in 0..50 {
        let name = format!("n{}", number % 9);
        let body = vec![1; number * 40];
        put(store, &StreamId::Cluster, Op::Put, &name, b"other stream");
        expected.push(put(store, &down(), Op::Put, &name, &body).get());
    }
    for limit in [
        ReadLimit {
            records: 1,
            bytes: usize::MAX,
        },
        ReadLimit {
            records: 7,
            bytes: usize::MAX,
        },
        ReadLimit {
            records: usize::MAX,
            bytes: 1000,
        },
        ReadLimit {
            records: usize::MAX,
            bytes: 0,
        },
        ReadLimit {
            records: 0,
            bytes: 0,
        },
    ] {
        let mut after = Revision::ZERO;
        let mut seen = Vec::new();
        loop {
            let page = store.read(&down(), after, limit).expect("readable");
            let Some(last) = page.last() else { break };
            assert!(page.len() <= limit.records.max(1));
            let bytes: usize = page.iter().map(|stored| stored.record.body.len()).sum();
            assert!(page.len() == 1 || bytes <= limit.bytes);
            after = last.revision;
            seen.extend(revisions(&page));
        }
        assert_eq!(seen, expected);
    }
    assert!(
        store
            .read(&down(), Revision::MAX, ALL)
            .expect("readable")
            .is_empty()
    );
}

pub(super) fn coalesced_gives_newest_and_facts(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let _ = put(store, &down(), Op::Put, "a", b"1");
    let f1 = put(store, &down(), Op::Fact, "e", b"f1");
    let b1 = put(store, &down(), Op::Put, "b", b"1");
    let f2 = put(store, &down(), Op::Fact, "e", b"f2");
    let a2 = put(store, &down(), Op::Put, "a", b"2");
    let _ = put(store, &down(), Op::Put, "c", b"1");
    let c2 = put(store, &down(), Op::Delete, "c", b"");
    let s1 = put(store, &down(), Op::Status, "a", b"s");
    let read = |after: Revision| {
        store
            .read_coalesced(&down(), after.as_own_offset(), ALL)
            .expect("readable")
    };
    let all = read(Revision::ZERO);
    assert_eq!(
        revisions(&all.records),
        [f1, b1, f2, a2, c2, s1].map(Revision::get)
    );
    assert_eq!(all.upto, s1.as_own_offset());
    assert!(all.is_complete);
    assert_eq!(
        revisions(&read(b1).records),
        [f2, a2, c2, s1].map(Revision::get)
    );
    let end = read(s1);
    assert_eq!((end.records.len(), end.upto), (0, s1.as_own_offset()));
}

pub(super) fn coalesced_pages_are_exact(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    open(store, &StreamId::Cluster);
    for number in 0..200_usize {
        let name = format!("n{}", (number * 7) % 23);
        let op = match number % 5 {
            3 => Op::Delete,
            4 => Op::Fact,
            _ => Op::Put,
        };
        put(store, &down(), op, &name, &vec![2; number]);
    }
    put(
        store,
        &StreamId::Cluster,
        Op::Put,
        "x",
        b"another stream moves the durable mark",
    );
    let whole = store
        .read_coalesced(&down(), Offset::ZERO, ALL)
        .expect("readable");
    for limit in [
        ReadLimit {
            records: 3,
            bytes: usize::MAX,
        },
        ReadLimit {
            records: 99,
            bytes: 700,
        },
    ] {
        let mut after = Offset::ZERO;
        let mut seen = Vec::new();
        loop {
            let page = store
                .read_coalesced(&down(), after, limit)
                .expect("readable");
            assert!(page.records.iter().all(|stored| {
                let offset = stored.record.header.offset;
                after < offset && offset <= page.upto
            }));
            assert!(page.upto > after || page.is_complete, "pages make progress");
            after = page.upto;
            seen.extend(page.records);
            if page.is_complete {
                break;
            }
        }
        assert_eq!(seen, whole.records);
        assert_eq!(after, info(store, &down()).durable);
    }
}

pub(super) fn held_at_walks_back(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let a1 = put(store, &down(), Op::Put, "a", b"1");
    let b1 = put(store, &down(), Op::Put, "b", b"1");
    let a2 = put(store, &down(), Op::Put, "a", b"2");
    let a3 = put(store, &down(), Op::Delete, "a", b"");
    let held = |upto: Revision| {
        let held = store.held_at(&down(), &key("a"), Slot::Object, upto.as_own_offset());
        held.expect("readable").map(|stored| stored.revision)
    };
    assert_eq!(held(Revision::ZERO), None);
    assert_eq!(held(a1), Some(a1));
    assert_eq!(held(b1), Some(a1));
    assert_eq!(held(a2), Some(a2));
    assert_eq!(held(a3), Some(a3));
    assert_eq!(held(Revision::MAX), Some(a3));
    let other = store.held_at(&down(), &key("z"), Slot::Object, Offset::MAX);
    assert_eq!(other.expect("readable"), None);
}

pub(super) fn scan_newest_is_in_key_order(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let mut expected = Vec::new();
    for group in ["", "apps", "apps.x"] {
        for name in ["a", "a-b", "a.b", "ab", "b"] {
            for uid in [
                Uid::None,
                Uid::Uuid(Uuid::from_u128(1)),
                Uid::Text("1".into()),
            ] {
                let key = Key::new(Resource::new(group, "things"), "ns", name, uid);
                expected.push((key.expect("a valid key"), Slot::Object));
            }
        }
    }
    expected.push((expected[0].0.clone(), Slot::Status));
    let mut batch = entries(Vec::new());
    for (position, (key, slot)) in expected.iter().enumerate().rev() {
        let op = if *slot == Slot::Status {
            Op::Status
        } else {
            Op::Put
        };
        let mut draft = draft(op, "x", &vec![0; position]);
        draft.key = key.clone();
        batch.entries.push(next(&down(), draft.clone()));
        draft.body = Body::EMPTY;
        batch.entries.push(next(&down(), draft));
    }
    commit(store, &batch);
    expected.sort();
    for records in [1, 4, usize::MAX] {
        let limit = ReadLimit {
            records,
            bytes: usize::MAX,
        };
        let mut after: Option<(Key, Slot)> = None;
        let mut seen = Vec::new();
        loop {
            let from = after.as_ref().map(|(key, slot)| (key, *slot));
            let page = store.scan_newest(&down(), from, limit).expect("readable");
            let Some(last) = page.last() else { break };
            after = Some((last.record.header.key.clone(), last.record.header.op.slot()));
            seen.extend(page.into_iter().map(|stored| {
                assert!(stored.record.body.is_empty(), "the newer of two");
                (stored.record.header.key, stored.record.header.op.slot())
            }));
        }
        assert_eq!(seen, expected);
    }
}
