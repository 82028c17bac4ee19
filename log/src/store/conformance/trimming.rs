//! Trimming: what goes, what stays, and that it goes in order.

use super::{
    ALL, Harness, KEEP_NOTHING, TrimPolicy, acked, at, changes, commit, consumed, down, draft,
    entries, info, key, newest, next, open, put, read_all, revisions, trim_all, up,
};
use crate::batch::StreamChange;
use crate::body::Body;
use crate::id::{Offset, Revision, StreamId, WallTime};
use crate::record::{Op, Slot};
use crate::store::Store;

pub(super) fn window_keeps_the_newest(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let all: Vec<_> = (0..10)
        .map(|n| put(store, &down(), Op::Put, "a", format!("{n}").as_bytes()))
        .collect();
    let nothing = |policy| assert_eq!(trim_all(store, &policy), super::Trimmed::default());
    nothing(TrimPolicy {
        keep_revisions: 9,
        ..KEEP_NOTHING
    });
    nothing(TrimPolicy {
        keep_since: WallTime::from_unix_millis(1_000),
        ..KEEP_NOTHING
    });
    assert_eq!(info(store, &down()).history, Revision::ZERO);
    let trimmed = trim_all(
        store,
        &TrimPolicy {
            keep_revisions: 4,
            ..KEEP_NOTHING
        },
    );
    assert_eq!(trimmed.records, 5);
    assert_eq!(
        revisions(&read_all(store, &down())),
        all[5..].iter().map(|r| r.get()).collect::<Vec<_>>()
    );
    assert_eq!(
        info(store, &down()).history,
        all[5],
        "the past is exact from there on"
    );
    assert_eq!(
        info(store, &down()).floor,
        Offset::ZERO,
        "every peer can still resume"
    );
    trim_all(store, &KEEP_NOTHING);
    assert_eq!(revisions(&read_all(store, &down())), vec![all[9].get()]);
    assert_eq!(
        newest(store, &down(), "a").expect("the newest stays").since,
        all[0]
    );
}

pub(super) fn tombstone_waits_for_the_peer(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    put(store, &down(), Op::Put, "a", b"1");
    let gone = put(store, &down(), Op::Delete, "a", b"");
    let other = put(store, &down(), Op::Delete, "never-was", b"");
    trim_all(store, &KEEP_NOTHING);
    assert_eq!(
        revisions(&read_all(store, &down())),
        vec![gone.get(), other.get()]
    );
    acked(store, &down(), gone);
    trim_all(store, &KEEP_NOTHING);
    assert_eq!(revisions(&read_all(store, &down())), vec![other.get()]);
    assert_eq!(newest(store, &down(), "a"), None);
    assert_eq!(info(store, &down()).floor, gone.as_own_offset());
    let back = put(store, &down(), Op::Put, "a", b"2");
    assert_eq!(newest(store, &down(), "a").expect("there").since, back);
    acked(store, &down(), back);
    trim_all(store, &KEEP_NOTHING);
    assert_eq!(revisions(&read_all(store, &down())), vec![back.get()]);
    // A tombstone that was superseded is history like anything else.
    let again = put(store, &down(), Op::Delete, "a", b"");
    let last = put(store, &down(), Op::Put, "a", b"3");
    acked(store, &down(), again);
    trim_all(store, &KEEP_NOTHING);
    assert_eq!(revisions(&read_all(store, &down())), vec![last.get()]);
    harness.crash();
    let kept = revisions(&read_all(harness.store(), &down()));
    assert_eq!(kept, vec![last.get()]);
}

pub(super) fn unreplicated_tombstone(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &StreamId::Cluster);
    open(store, &up());
    put(store, &StreamId::Cluster, Op::Put, "a", b"1");
    put(store, &StreamId::Cluster, Op::Delete, "a", b"");
    commit(
        store,
        &entries(vec![at(&up(), 5, draft(Op::Delete, "b", b""))]),
    );
    commit(
        store,
        &entries(vec![at(&up(), 6, draft(Op::Fact, "f", b""))]),
    );
    let window = TrimPolicy {
        keep_revisions: 4,
        ..KEEP_NOTHING
    };
    assert_eq!(trim_all(store, &window).records, 0);
    let recent = TrimPolicy {
        keep_since: WallTime::from_unix_millis(1),
        ..KEEP_NOTHING
    };
    assert_eq!(trim_all(store, &recent).records, 0);
    assert_eq!(
        trim_all(store, &KEEP_NOTHING).records,
        2,
        "what came up waits for its consumer"
    );
    consumed(store);
    assert_eq!(trim_all(store, &KEEP_NOTHING).records, 1);
    assert!(read_all(store, &StreamId::Cluster).is_empty());
    let left = read_all(store, &up());
    let offsets: Vec<_> = left
        .iter()
        .map(|stored| stored.record.header.offset)
        .collect();
    assert_eq!(offsets, [Offset::new(6)], "the last record of a copy stays");
    assert_eq!(info(store, &up()).head, Offset::new(6));
}

pub(super) fn received_facts_keep_to_their_bytes(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &up());
    let receive = |store: &dyn Store, offset, op| {
        let body = [b'r'; 872];
        let draft = draft(op, "device", &body);
        commit(store, &entries(vec![at(&up(), offset, draft)]));
    };
    (1..=8).for_each(|offset| receive(store, offset, Op::Fact));
    receive(store, 9, Op::Status);
    let left = |store: &dyn Store| {
        let records = read_all(store, &up());
        let offsets = records
            .iter()
            .map(|stored| stored.record.header.offset.get());
        offsets.collect::<Vec<_>>()
    };
    // With what a record takes beside its body, each of them is 1,000 bytes.
    let bounded = |facts_bytes_max| TrimPolicy {
        keep_revisions: 100,
        facts_bytes_max,
        ..KEEP_NOTHING
    };
    assert_eq!(
        trim_all(store, &bounded(1)).records,
        0,
        "the consumer comes first"
    );
    consumed(store);
    assert_eq!(trim_all(store, &bounded(0)).records, 0, "no bound");
    assert_eq!(trim_all(store, &bounded(8000)).records, 0);
    let trimmed = trim_all(store, &bounded(6500));
    assert_eq!((trimmed.records, trimmed.facts_dropped), (2, 0));
    assert_eq!(left(store), [3, 4, 5, 6, 7, 8, 9]);
    harness.crash();
    let store = harness.store();
    assert_eq!(
        trim_all(store, &bounded(6000)).records,
        0,
        "it is counted anew"
    );
    receive(store, 10, Op::Fact);
    consumed(store);
    assert_eq!(trim_all(store, &bounded(2500)).records, 5);
    assert_eq!(left(store), [8, 9, 10]);
    assert_eq!(trim_all(store, &bounded(1)).records, 1);
    assert_eq!(left(store), [9, 10], "the last record of a copy stays");
    // What this store writes itself has another bound.
    open(store, &down());
    put(store, &down(), Op::Fact, "event", b"1");
    put(store, &down(), Op::Fact, "event", b"2");
    assert_eq!(trim_all(store, &bounded(1)).records, 0);
}

pub(super) fn facts_go_when_acked_or_over_quota(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let facts: Vec<_> = (0..10)
        .map(|n| put(store, &down(), Op::Fact, "event", format!("{n}").as_bytes()))
        .collect();
    let from = |n: usize| facts[n..].iter().map(|r| r.get()).collect::<Vec<_>>();
    trim_all(store, &KEEP_NOTHING);
    assert_eq!(
        revisions(&read_all(store, &down())),
        from(0),
        "every fact waits"
    );
    acked(store, &down(), facts[2]);
    assert_eq!(trim_all(store, &KEEP_NOTHING).records, 3);
    assert_eq!(revisions(&read_all(store, &down())), from(3));
    assert_eq!(info(store, &down()).floor, facts[2].as_own_offset());
    let quota = TrimPolicy {
        facts_max: 4,
        ..KEEP_NOTHING
    };
    let trimmed = trim_all(store, &quota);
    assert_eq!((trimmed.records, trimmed.facts_dropped), (3, 3));
    assert_eq!(revisions(&read_all(store, &down())), from(6));
    assert_eq!(
        info(store, &down()).floor,
        facts[2].as_own_offset(),
        "resume still works"
    );
    harness.crash();
    let store = harness.store();
    assert_eq!(trim_all(store, &quota).facts_dropped, 0);
    acked(store, &down(), facts[9]);
    let inside = TrimPolicy {
        keep_revisions: 100,
        facts_max: 1,
        ..KEEP_NOTHING
    };
    let trimmed = trim_all(store, &inside);
    assert_eq!(
        (trimmed.records, trimmed.facts_dropped),
        (3, 0),
        "the peer has them"
    );
    trim_all(store, &quota);
    assert!(read_all(store, &down()).is_empty());
    assert_eq!(
        store
            .newest(&down(), &key("event"), Slot::Fact)
            .expect("readable"),
        None
    );
}

pub(super) fn bytes_cut_the_window(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    for n in 0..20_u8 {
        put(store, &down(), Op::Put, "a", &[n; 1000]);
    }
    let wide = TrimPolicy {
        keep_revisions: u64::MAX,
        keep_since: WallTime::default(),
        ..KEEP_NOTHING
    };
    assert_eq!(trim_all(store, &wide).records, 0);
    let bounded = TrimPolicy {
        bytes_max: 10_000,
        ..wide
    };
    let removed = trim_all(store, &bounded).records;
    assert!(
        (5..15).contains(&removed),
        "about half of 19 superseded records, not {removed}"
    );
    assert_eq!(trim_all(store, &bounded).records, 0);
    harness.crash();
    assert_eq!(
        trim_all(harness.store(), &bounded).records,
        0,
        "the account survives"
    );
}

pub(super) fn bounded_and_resumes(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    for n in 0..30 {
        put(store, &down(), Op::Put, &format!("k{}", n % 3), b"x");
    }
    let policy = TrimPolicy {
        records_per_call_max: 4,
        ..KEEP_NOTHING
    };
    let mut calls = 0;
    let mut records = 0;
    loop {
        let trimmed = store.trim(&policy).expect("the disk is good");
        assert!(trimmed.records <= 4);
        records += trimmed.records;
        calls += 1;
        if !trimmed.more {
            break;
        }
    }
    assert_eq!(records, 27);
    assert!(calls >= 7);
    assert_eq!(read_all(store, &down()).len(), 3);
}

fn has_body(store: &dyn Store, body: &Body) -> bool {
    store
        .body(&body.hash())
        .expect("readable")
        .is_some_and(|found| found == *body)
}

pub(super) fn shared_bodies(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    open(store, &StreamId::Cluster);
    let shared = draft(Op::Put, "a", &[7; 5000]);
    let fan_out = (0..100).map(|n| {
        let mut draft = shared.clone();
        draft.key = key(&format!("k{n}"));
        next(&down(), draft)
    });
    let mut batch = entries(fan_out.collect());
    batch.entries.push(next(&StreamId::Cluster, shared.clone()));
    commit(store, &batch);
    assert!(has_body(store, &shared.body));
    // The same bytes again, from another buffer.
    put(store, &down(), Op::Put, "again", &[7; 5000]);
    for n in 0..100 {
        put(store, &down(), Op::Put, &format!("k{n}"), b"small");
    }
    put(store, &down(), Op::Put, "again", b"small");
    assert_eq!(
        trim_all(store, &KEEP_NOTHING).bodies,
        0,
        "the cluster's record still refers to it"
    );
    assert!(has_body(store, &shared.body));
    put(store, &StreamId::Cluster, Op::Put, "a", b"small");
    assert_eq!(trim_all(store, &KEEP_NOTHING).bodies, 1);
    assert!(!has_body(store, &shared.body));
    harness.crash();
    assert!(!has_body(harness.store(), &shared.body));
}

pub(super) fn dropped_stream_leaves_nothing(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    open(store, &StreamId::Cluster);
    let large = Body::from(vec![5; 4000]);
    for n in 0..20 {
        put(
            store,
            &down(),
            Op::Put,
            &format!("k{}", n % 5),
            large.bytes(),
        );
    }
    put(store, &down(), Op::Delete, "k0", b"");
    let last = put(store, &down(), Op::Fact, "f", b"x");
    commit(store, &changes(vec![StreamChange::Drop { stream: down() }]));
    assert_eq!(store.stream(&down()).expect("readable"), None);
    assert!(read_all(store, &down()).is_empty());
    assert_eq!(newest(store, &down(), "k1"), None);
    assert!(
        store
            .scan_newest(&down(), None, ALL)
            .expect("readable")
            .is_empty()
    );
    harness.crash();
    let store = harness.store();
    assert_eq!(store.streams().expect("readable"), vec![StreamId::Cluster]);
    assert_eq!(store.watermarks().durable, last, "its numbers stay used");
    // The name can be used again at once, before the old records are swept away.
    open(store, &down());
    let first = put(store, &down(), Op::Put, "k1", b"new");
    assert!(first > last);
    assert_eq!(newest(store, &down(), "k1").expect("there").since, first);
    let policy = TrimPolicy {
        records_per_call_max: 7,
        ..KEEP_NOTHING
    };
    assert_eq!(trim_all(store, &policy).bodies, 1);
    assert!(!has_body(store, &large));
    assert_eq!(revisions(&read_all(store, &down())), vec![first.get()]);
    assert_eq!(trim_all(store, &KEEP_NOTHING).records, 0);
    harness.crash();
    let store = harness.store();
    assert_eq!(store.watermarks().durable, first);
    // Superseded records of a dropped stream are in both of the sweep's ways, and go once.
    put(store, &down(), Op::Put, "k1", large.bytes());
    put(store, &down(), Op::Put, "k1", large.bytes());
    commit(store, &changes(vec![StreamChange::Drop { stream: down() }]));
    let trimmed = trim_all(store, &KEEP_NOTHING);
    assert_eq!((trimmed.records, trimmed.bodies), (3, 1));
}

pub(super) fn history_has_no_gaps(harness: &mut dyn Harness) {
    let store = harness.store();
    open(store, &down());
    let mut all = Vec::new();
    for n in 0..40_u64 {
        all.push((
            n % 4,
            put(store, &down(), Op::Put, &format!("k{}", n % 4), b"x"),
        ));
    }
    let policy = TrimPolicy {
        records_per_call_max: 3,
        ..KEEP_NOTHING
    };
    loop {
        let more = store.trim(&policy).expect("the disk is good").more;
        let history = info(store, &down()).history;
        let kept = revisions(&read_all(store, &down()));
        for upto in all
            .iter()
            .map(|(_, revision)| *revision)
            .filter(|r| *r >= history)
        {
            for name in 0..4 {
                let expected = all
                    .iter()
                    .filter(|(n, r)| *n == name && *r <= upto)
                    .map(|(_, r)| *r)
                    .max();
                let held = store
                    .held_at(
                        &down(),
                        &key(&format!("k{name}")),
                        Slot::Object,
                        upto.as_own_offset(),
                    )
                    .expect("readable")
                    .map(|stored| stored.revision);
                assert_eq!(held, expected, "key {name} at {upto}, kept {kept:?}");
            }
        }
        if !more {
            break;
        }
    }
    assert_eq!(read_all(store, &down()).len(), 4);
}
