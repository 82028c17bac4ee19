//! The same histories through a store: rebuild, the past, and what trimming leaves.

use causeway_log::batch::{Batch, Entry as BatchEntry, Place, StreamChange};
use causeway_log::store::memory::MemoryStore;
use causeway_log::store::{Store, TrimPolicy};
use causeway_log::{Draft, Epoch, Offset};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::rebuild::rebuild;
use crate::travel::{At, History, TravelError, objects_at};

fn streams() -> [StreamId; 2] {
    [stream(Direction::Down), stream(Direction::Up)]
}

/// An edge's store with a history: down received, with gaps; up its own.
fn store_of(log: &Log) -> MemoryStore {
    let store = MemoryStore::new();
    let mut batch = Batch::default();
    for stream in streams() {
        let epoch = Epoch::new(Uuid::from_u128(1));
        batch.streams.push(StreamChange::Open { stream, epoch });
    }
    store.append(&batch).unwrap();
    for (stream, stored) in &log.records {
        let header = stored.record.header.clone();
        let own = matches!(stream, StreamId::Node(_, Direction::Up));
        let offset = Offset::new(header.offset.get() * 3);
        let draft = Draft {
            id: header.id,
            cause: header.cause,
            time: header.time,
            key: header.key,
            version: (!own).then_some(header.version),
            op: header.op,
            body: stored.record.body.clone(),
        };
        let place = if own { Place::Next } else { Place::At(offset) };
        let entry = BatchEntry {
            stream: stream.clone(),
            place,
            draft,
        };
        store
            .append(&Batch {
                entries: vec![entry],
                ..Batch::default()
            })
            .unwrap();
    }
    store.sync().unwrap();
    store
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// PROJ-1 through a store: rebuild equals the fold of the whole history.
    #[test]
    fn rebuild_equals_the_fold_of_the_history(steps in prop::collection::vec(step(), 0..50)) {
        let store = store_of(&play(&steps));
        let mut incremental = Objects::new();
        for (stream, stored) in History::of(&store, &streams()) {
            incremental.apply(stream, &stored.unwrap());
        }
        let rebuilt = rebuild(&store, &streams()).unwrap();
        prop_assert_eq!(list(&incremental), list(&rebuilt));
        prop_assert_eq!(rebuilt.revision(), store.watermarks().durable);
        prop_assert_eq!(rebuilt.floor(), Revision::ZERO);
    }

    /// WATCH-1 across a restart: a watcher goes on with the rebuilt objects where it was.
    #[test]
    fn watchers_go_on_after_a_restart(
        steps in prop::collection::vec(step(), 0..50),
        cut in 0_usize..60,
    ) {
        let store = store_of(&play(&steps));
        let mut before = Objects::new();
        for (stream, stored) in History::of(&store, &streams()).take(cut) {
            before.apply(stream, &stored.unwrap());
        }
        let mut watcher = Watcher::default();
        watcher.pull(&before);
        let rebuilt = rebuild(&store, &streams()).unwrap();
        watcher.pull(&rebuilt);
        let copy: Vec<_> = watcher.copy.values().cloned().collect();
        prop_assert_eq!(copy, list(&rebuilt));
    }

    /// Every past state is what it was then, and leads to the present one.
    #[test]
    fn the_past_is_what_it_was(
        steps in prop::collection::vec(step(), 1..30),
        cut in any::<prop::sample::Index>(),
    ) {
        let store = store_of(&play(&steps));
        let mut objects = Objects::new();
        for (stream, stored) in History::of(&store, &streams()) {
            let stored = stored.unwrap();
            objects.apply(stream, &stored);
            let then = objects_at(&store, &streams(), At::Revision(stored.revision)).unwrap();
            prop_assert_eq!(list(&then), list(&objects));
            let time = stored.record.header.time;
            let then = objects_at(&store, &streams(), At::Time(time)).unwrap();
            prop_assert_eq!(list(&then), list(&objects));
        }
        let streams = streams();
        let history: Vec<_> = History::of(&store, &streams).collect();
        let (before, tail) = history.split_at(cut.index(history.len() + 1));
        let at = before.last().map_or(Revision::ZERO, |(_, stored)| {
            stored.as_ref().unwrap().revision
        });
        let mut on = objects_at(&store, &streams, At::Revision(at)).unwrap();
        for (stream, stored) in tail {
            on.apply(stream, stored.as_ref().unwrap());
        }
        prop_assert_eq!(list(&on), list(&objects), "PROJ-2");
        let future = store.watermarks().durable.next().unwrap();
        let refused = objects_at(&store, &streams, At::Revision(future));
        prop_assert!(refused.is_err_and(|error| error.to_string().contains("future")));
    }
}

#[test]
fn a_trimmed_past_names_the_oldest_revision() {
    let steps: Vec<Step> = (0..20).map(|value| Step::Put(0, value)).collect();
    let store = store_of(&play(&steps));
    let policy = TrimPolicy {
        keep_revisions: 5,
        keep_since: WallTime::from_unix_millis(u64::MAX),
        bytes_max: 0,
        facts_max: 100,
        facts_bytes_max: 0,
        records_per_call_max: 1000,
    };
    store.trim(&policy).unwrap();
    let refused = objects_at(&store, &streams(), At::Revision(Revision::new(2)));
    let Err(TravelError::Trimmed { oldest }) = refused else {
        panic!("{refused:?}")
    };
    assert!(oldest > Revision::new(2));
    let shown = objects_at(&store, &streams(), At::Revision(oldest)).unwrap();
    assert_eq!(shown.len(), 1);
    let refused = objects_at(
        &store,
        &streams(),
        At::Time(WallTime::from_unix_millis(1500)),
    );
    assert!(matches!(refused, Err(TravelError::Trimmed { .. })));
    assert_eq!(list(&rebuild(&store, &streams()).unwrap()).len(), 1);
}
