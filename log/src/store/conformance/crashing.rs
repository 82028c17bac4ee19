//! Crashing: what was synced is there, what was not is gone.

use super::{
    ALL, Harness, KEEP_NOTHING, acked, at, commit, down, draft, entries, info, newest, next, open,
    put, read_all, revisions, trim_all, up,
};
use crate::batch::{Batch, CursorName, StreamChange};
use crate::id::{Offset, Revision, StreamId};
use crate::record::Op;
use crate::replication::Invariant;
use crate::store::Watermarks;

pub(super) fn loses_only_unsynced(harness: &mut dyn Harness) {
    open(harness.store(), &down());
    let kept = put(harness.store(), &down(), Op::Put, "a", b"1");
    let lost = entries(vec![
        next(&down(), draft(Op::Put, "a", b"2")),
        next(&down(), draft(Op::Put, "b", &vec![9; 100_000])),
    ]);
    let appended = harness.store().append(&lost).expect("the batch is good");
    harness.crash();
    let store = harness.store();
    assert_eq!(
        store.watermarks(),
        Watermarks {
            written: kept,
            durable: kept
        }
    );
    assert_eq!(
        revisions(&read_all(store, &down())),
        vec![kept.get()],
        "{}",
        Invariant::NothingDurableLost
    );
    assert_eq!(newest(store, &down(), "b"), None);
    let again = put(store, &down(), Op::Put, "c", b"1");
    assert!(
        again > kept,
        "numbers of what was durable are not used again"
    );
    assert!(
        again <= appended.revisions[1],
        "nobody outside saw the lost numbers"
    );
    harness.crash();
    assert_eq!(
        revisions(&read_all(harness.store(), &down())),
        vec![kept.get(), again.get()]
    );
}

pub(super) fn synced_is_as_it_was(harness: &mut dyn Harness) {
    let store = harness.store();
    for stream in [down(), up(), StreamId::Cluster] {
        open(store, &stream);
    }
    let mut last = Revision::ZERO;
    for number in 0..60_usize {
        let op = if number % 11 == 10 {
            Op::Delete
        } else {
            Op::Put
        };
        let name = format!("n{}", number % 13);
        last = put(store, &down(), op, &name, &vec![3; (number % 4) * 700]);
        put(store, &StreamId::Cluster, op, &name, b"c");
        let mut batch = entries(vec![at(
            &up(),
            number as u64 * 3 + 1,
            draft(Op::Fact, &name, b""),
        )]);
        let upto = Offset::new(number as u64 * 3 + 2);
        batch.streams = vec![StreamChange::Received { stream: up(), upto }];
        commit(store, &batch);
    }
    acked(store, &down(), Revision::new(last.get() / 2));
    let cursor = CursorName("writeback/edge-1".into());
    let cursors = vec![(cursor.clone(), Offset::new(8))];
    commit(
        store,
        &Batch {
            cursors,
            ..Batch::default()
        },
    );
    trim_all(
        store,
        &super::TrimPolicy {
            keep_revisions: 50,
            ..KEEP_NOTHING
        },
    );
    let state = |harness: &dyn Harness| {
        let store = harness.store();
        let of = |stream: StreamId| {
            (
                info(store, &stream),
                read_all(store, &stream),
                store.scan_newest(&stream, None, ALL).expect("readable"),
                store
                    .read_coalesced(&stream, Offset::ZERO, ALL)
                    .expect("readable"),
            )
        };
        let streams = store.streams().expect("readable");
        let contents: Vec<_> = streams.into_iter().map(of).collect();
        (
            contents,
            store.watermarks(),
            store.cursor(&cursor).expect("readable"),
        )
    };
    let before = state(harness);
    assert_eq!(before.0.len(), 3);
    harness.crash();
    assert_eq!(state(harness), before);
    harness.crash();
    assert_eq!(state(harness), before);
}

pub(super) fn empty_store(harness: &mut dyn Harness) {
    assert_eq!(harness.store().watermarks(), Watermarks::default());
    harness.crash();
    assert_eq!(harness.store().watermarks(), Watermarks::default());
    assert_eq!(harness.store().streams().expect("readable"), Vec::new());
    let batch = super::changes(vec![StreamChange::Open {
        stream: up(),
        epoch: super::epoch(1),
    }]);
    harness.store().append(&batch).expect("the batch is good");
    harness.crash();
    assert_eq!(harness.store().streams().expect("readable"), Vec::new());
}

pub(super) fn trimmed_numbers_stay_used(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    put(store, &down(), Op::Put, "a", b"1");
    let gone = put(store, &down(), Op::Delete, "a", b"");
    acked(store, &down(), gone);
    assert_eq!(trim_all(store, &KEEP_NOTHING).records, 2);
    assert!(read_all(store, &down()).is_empty());
    let before = info(store, &down());
    harness.crash();
    let store = harness.store();
    assert_eq!(store.watermarks().durable, gone);
    assert_eq!(info(store, &down()), before);
    assert!(put(store, &down(), Op::Put, "a", b"2") > gone);
}
