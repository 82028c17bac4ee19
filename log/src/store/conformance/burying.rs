//! The end of an object: what is kept of it goes, in an order that never brings it back.

use super::{
    Harness, KEEP_NOTHING, TrimPolicy, acked, at, changes, commit, consumed, down, draft, entries,
    epoch, info, key, next, open, put, read_all, trim_all, up,
};
use crate::batch::StreamChange;
use crate::digest::is_gone;
use crate::id::{EventId, Offset, Revision, StreamId, Version, WallTime};
use crate::limits::FACTS_KEPT;
use crate::record::{Draft, Op, Slot, Stored};
use crate::store::Store;

/// A record with an identity of its own.
fn named(op: Op, name: &str, id: u128, cause: Option<u128>) -> Draft {
    let event = |number| EventId::new(uuid::Uuid::from_u128(number));
    Draft {
        id: event(id),
        cause: cause.map(event),
        ..draft(op, name, b"")
    }
}

fn write(store: &dyn Store, stream: &StreamId, draft: Draft) -> Revision {
    let appended = commit(store, &entries(vec![next(stream, draft)]));
    appended.revisions.first().copied().unwrap_or_default()
}

fn receive(store: &dyn Store, stream: &StreamId, offset: u64, draft: Draft) {
    commit(store, &entries(vec![at(stream, offset, draft)]));
}

/// Operation and name of what a stream keeps.
fn kept(store: &dyn Store, stream: &StreamId) -> Vec<(Op, String)> {
    let shown = |stored: Stored| {
        let header = stored.record.header;
        (header.op, header.key.name.to_string())
    };
    read_all(store, stream).into_iter().map(shown).collect()
}

fn ops(store: &dyn Store, stream: &StreamId) -> Vec<Op> {
    kept(store, stream).into_iter().map(|(op, _)| op).collect()
}

pub(super) fn tombstone_takes_all(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &up());
    for text in [b"1", b"2", b"3"] {
        put(store, &up(), Op::Status, "pod", text);
    }
    let twin = put(store, &up(), Op::Twin, "pod", b"t");
    put(store, &up(), Op::Status, "other", b"stays");
    let gone = put(store, &up(), Op::Delete, "pod", b"");
    let later = put(store, &up(), Op::Delete, "back", b"");
    put(store, &up(), Op::Status, "back", b"came after its end");
    trim_all(store, &KEEP_NOTHING);
    assert_eq!(
        ops(store, &up()).len(),
        6,
        "only what is superseded goes before the peer has the end"
    );
    acked(store, &up(), gone);
    trim_all(
        store,
        &TrimPolicy {
            keep_since: WallTime::from_unix_millis(1),
            ..KEEP_NOTHING
        },
    );
    assert_eq!(ops(store, &up()).len(), 6, "the window holds them");
    trim_all(store, &KEEP_NOTHING);
    assert_eq!(ops(store, &up()), [Op::Status, Op::Delete, Op::Status]);
    let stream = info(store, &up());
    assert!(twin < gone && stream.history >= gone);
    assert_eq!(stream.floor, gone.as_own_offset());
    acked(store, &up(), later);
    trim_all(store, &KEEP_NOTHING);
    let names = kept(store, &up());
    let left = [
        (Op::Status, "other".to_owned()),
        (Op::Status, "back".to_owned()),
    ];
    assert_eq!(names, left);
    harness.crash();
    assert_eq!(kept(harness.store(), &up()), left);
    assert_eq!(trim_all(harness.store(), &KEEP_NOTHING).records, 0);
}

pub(super) fn end_going_up_waits(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &up());
    open(store, &down());
    receive(store, &down(), 5, draft(Op::Put, "pod", b"spec"));
    put(store, &up(), Op::Status, "pod", b"ran");
    let finished = put(store, &up(), Op::Delete, "pod", b"");
    let other = put(store, &up(), Op::Delete, "other", b"");
    acked(store, &up(), other);
    trim_all(store, &KEEP_NOTHING);
    assert_eq!(
        kept(store, &up()),
        [
            (Op::Status, "pod".to_owned()),
            (Op::Delete, "pod".to_owned())
        ],
        "without the end the pod would be back; nothing else waits for it"
    );
    assert!(info(store, &up()).history < finished);
    receive(store, &down(), 9, draft(Op::Delete, "pod", b""));
    receive(store, &down(), 10, draft(Op::Put, "last", b""));
    trim_all(store, &KEEP_NOTHING);
    assert!(ops(store, &up()).is_empty());
    assert_eq!(ops(store, &down()), [Op::Put]);
    assert!(info(store, &up()).history > finished);
}

/// An edge's request and the cloud's answer, for an object that ends.
pub(super) fn request_before_answer(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &up());
    open(store, &down());
    // Accepted, and deleted later; refused.
    write(store, &up(), named(Op::Apply, "made", 1, None));
    let refused = write(store, &up(), named(Op::Apply, "refused", 2, None));
    let waits = write(store, &up(), named(Op::Apply, "waits", 3, None));
    receive(store, &down(), 5, draft(Op::Put, "made", b"spec"));
    receive(store, &down(), 6, named(Op::Apply, "made", 11, Some(1)));
    receive(store, &down(), 7, named(Op::Reject, "refused", 12, Some(2)));
    receive(store, &down(), 8, draft(Op::Delete, "made", b""));
    receive(store, &down(), 9, draft(Op::Put, "last", b""));
    let requests = |store| {
        let requests = kept(store, &up());
        requests
            .into_iter()
            .map(|(_, name)| name)
            .collect::<Vec<_>>()
    };
    trim_all(store, &KEEP_NOTHING);
    assert_eq!(requests(store), ["made", "refused", "waits"]);
    assert_eq!(
        ops(store, &down()),
        [Op::Apply, Op::Reject, Op::Delete, Op::Put],
        "answers and ends stay as long as requests"
    );
    acked(store, &up(), refused);
    let one = TrimPolicy {
        records_per_call_max: 1,
        ..KEEP_NOTHING
    };
    loop {
        let more = store.trim(&one).expect("the disk is good").more;
        let answered: Vec<_> = read_all(store, &down())
            .into_iter()
            .filter_map(|stored| stored.record.header.cause)
            .collect();
        for request in read_all(store, &up()) {
            let header = request.record.header;
            assert!(
                &*header.key.name == "waits" || answered.contains(&header.id),
                "{} is without its answer",
                header.key
            );
        }
        if !more {
            break;
        }
    }
    assert_eq!(requests(store), ["waits"]);
    assert_eq!(ops(store, &down()), [Op::Put]);
    assert_eq!(info(store, &up()).floor, refused.as_own_offset());
    acked(store, &up(), waits);
    assert_eq!(trim_all(store, &KEEP_NOTHING).records, 0);
}

pub(super) fn requests_of_live_objects_stay(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &up());
    open(store, &down());
    let asked = write(store, &up(), named(Op::Apply, "live", 1, None));
    let coming = write(store, &up(), named(Op::Apply, "coming", 2, None));
    receive(store, &down(), 5, draft(Op::Put, "live", b"spec"));
    receive(store, &down(), 6, named(Op::Reject, "live", 11, Some(1)));
    receive(store, &down(), 7, named(Op::Apply, "coming", 12, Some(2)));
    receive(store, &down(), 8, draft(Op::Put, "last", b""));
    acked(store, &up(), asked.max(coming));
    assert_eq!(trim_all(store, &KEEP_NOTHING).records, 0);
    // A newer request takes the place of the older, and waits for its own answer.
    let again = write(store, &up(), named(Op::Apply, "live", 3, None));
    receive(store, &down(), 9, draft(Op::Delete, "live", b""));
    receive(store, &down(), 10, draft(Op::Put, "last", b"2"));
    acked(store, &up(), again);
    trim_all(store, &KEEP_NOTHING);
    assert_eq!(ops(store, &up()), [Op::Apply, Op::Apply]);
    receive(store, &down(), 11, named(Op::Reject, "live", 13, Some(3)));
    receive(store, &down(), 12, draft(Op::Put, "last", b"3"));
    trim_all(store, &KEEP_NOTHING);
    assert_eq!(kept(store, &up()), [(Op::Apply, "coming".to_owned())]);
    assert_eq!(ops(store, &down()), [Op::Apply, Op::Put]);
}

pub(super) fn nothing_unconsumed_goes(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &up());
    for offset in 1..4 {
        receive(store, &up(), offset, draft(Op::Status, "pod", b"s"));
    }
    receive(store, &up(), 4, draft(Op::Fact, "fact", b""));
    receive(store, &up(), 5, draft(Op::Delete, "pod", b""));
    receive(store, &up(), 6, draft(Op::Status, "last", b""));
    let bounded = TrimPolicy {
        bytes_max: 1,
        facts_max: 0,
        ..KEEP_NOTHING
    };
    assert_eq!(trim_all(store, &bounded).records, 0);
    harness.crash();
    let store = harness.store();
    assert_eq!(trim_all(store, &bounded).records, 0);
    consumed(store);
    trim_all(store, &bounded);
    let left = [
        (Op::Status, "pod".to_owned()),
        (Op::Fact, "fact".to_owned()),
        (Op::Delete, "pod".to_owned()),
        (Op::Status, "last".to_owned()),
    ];
    assert_eq!(kept(store, &up()), left, "a reconcile goes on");
    let received = |upto| {
        let (stream, upto) = (up(), Offset::new(upto));
        commit(
            store,
            &changes(vec![StreamChange::Received { stream, upto }]),
        );
        consumed(store);
        trim_all(store, &bounded);
        kept(store, &up())
    };
    assert_eq!(received(6), left, "the fact is recent");
    let far = 4 + FACTS_KEPT;
    receive(store, &up(), far, draft(Op::Status, "last", b""));
    let last = [(Op::Status, "last".to_owned())];
    assert_eq!(received(far), last);
    assert_eq!(info(store, &up()).head, Offset::new(far));
    // What an epoch that is over calls far is not recent.
    receive(store, &up(), far + 1, draft(Op::Fact, "fact", b""));
    receive(store, &up(), far + 2, draft(Op::Status, "last", b"2"));
    assert_eq!(received(far + 2).len(), 2);
    let (stream, epoch) = (up(), epoch(2));
    commit(store, &changes(vec![StreamChange::Open { stream, epoch }]));
    receive(store, &up(), 1, draft(Op::Status, "last", b"3"));
    assert_eq!(received(1), last);
}

pub(super) fn reconciled_end_is_one_slot(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let dropped = |op, name: &str| Draft {
        version: Some(Version::ZERO),
        ..draft(op, name, b"")
    };
    receive(store, &down(), 1, draft(Op::Put, "a", b"1"));
    receive(store, &down(), 2, draft(Op::Status, "a", b"kept"));
    receive(store, &down(), 3, draft(Op::Put, "b", b"1"));
    receive(store, &down(), 4, dropped(Op::Status, "b"));
    receive(store, &down(), 5, dropped(Op::Delete, "a"));
    receive(store, &down(), 6, dropped(Op::Delete, "b"));
    receive(store, &down(), 7, draft(Op::Put, "last", b""));
    trim_all(store, &KEEP_NOTHING);
    let left = [(Op::Status, "a".to_owned()), (Op::Put, "last".to_owned())];
    assert_eq!(kept(store, &down()), left);
}

pub(super) fn another_life_begins_without_what_ended(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    for op in [Op::Put, Op::Status, Op::Twin, Op::Delete] {
        put(store, &down(), op, "own", b"1");
    }
    put(store, &down(), Op::Twin, "own", b"of the next life");
    let again = put(store, &down(), Op::Put, "own", b"2");
    let status = newest(store, &down(), "own", Slot::Status);
    assert!(is_gone(&status.record) && status.revision < again);
    assert_eq!(status.record.header.offset, status.revision.as_own_offset());
    let twin = newest(store, &down(), "own", Slot::Twin);
    assert_eq!(twin.record.body.len(), 16, "it came after the end");
    assert_eq!(info(store, &down()).head, again.as_own_offset());
    put(store, &down(), Op::Put, "own", b"3");
    assert_eq!(newest(store, &down(), "own", Slot::Status), status);
    harness.crash();
    let store = harness.store();
    assert_eq!(newest(store, &down(), "own", Slot::Status), status);
}

pub(super) fn another_life_begins_in_a_copy(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &up());
    for (offset, op) in [(1, Op::Status), (2, Op::Twin), (3, Op::Delete)] {
        receive(store, &up(), offset, draft(op, "copy", b"1"));
    }
    let slot_alone = Draft {
        version: Some(Version::ZERO),
        ..draft(Op::Delete, "kept", b"")
    };
    receive(store, &up(), 4, draft(Op::Status, "kept", b"1"));
    receive(store, &up(), 5, slot_alone);
    receive(store, &up(), 6, draft(Op::Put, "kept", b"2"));
    receive(store, &up(), 7, draft(Op::Put, "copy", b"2"));
    for slot in [Slot::Status, Slot::Twin] {
        let ended = newest(store, &up(), "copy", slot);
        assert!(is_gone(&ended.record));
        assert_eq!(ended.record.header.offset, Offset::new(7));
    }
    let kept = newest(store, &up(), "kept", Slot::Status);
    assert!(!is_gone(&kept.record));
    let read = read_all(store, &up());
    let last = read.last().map(|stored| stored.record.header.op);
    assert_eq!(last, Some(Op::Put), "whose past this is, the head says");
    assert_eq!(info(store, &up()).head, Offset::new(7));
    // The same in one batch.
    let both = vec![
        at(&up(), 8, draft(Op::Status, "batch", b"1")),
        at(&up(), 9, draft(Op::Delete, "batch", b"")),
        at(&up(), 10, draft(Op::Put, "batch", b"2")),
    ];
    let revisions = commit(store, &entries(both)).revisions;
    assert_eq!(revisions.len(), 3, "of what the batch brought");
    assert!(is_gone(&newest(store, &up(), "batch", Slot::Status).record));
}

fn newest(store: &dyn Store, stream: &StreamId, name: &str, slot: Slot) -> Stored {
    let found = store.newest(stream, &key(name), slot);
    found.expect("the disk is good").expect("it is there")
}
