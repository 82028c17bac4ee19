//! Failing disks, in memory: what is refused, what stays readable, what a recovery takes back.

use causeway_log::batch::{Batch, CursorName, StreamChange};
use causeway_log::error::{AppendError, SyncError, TrimError};
use causeway_log::id::Offset;
use causeway_log::record::Op;
use causeway_log::store::conformance::{commit, down, draft, entries, epoch, next};
use causeway_log::store::memory::{Disk, Fault, MemoryStore};
use causeway_log::store::{ReadLimit, TrimPolicy};
use causeway_log::{Revision, Store, WallTime};

const POLICY: TrimPolicy = TrimPolicy {
    keep_revisions: 0,
    keep_since: WallTime::from_unix_millis(u64::MAX),
    bytes_max: 0,
    facts_max: 10,
    facts_bytes_max: 0,
    records_per_call_max: 100,
};

fn one(name: &str) -> Batch {
    entries(vec![next(&down(), draft(Op::Put, name, &[1; 3000]))])
}

fn store() -> MemoryStore {
    let store = MemoryStore::new();
    let streams = vec![StreamChange::Open {
        stream: down(),
        epoch: epoch(1),
    }];
    commit(
        &store,
        &Batch {
            streams,
            ..Batch::default()
        },
    );
    commit(&store, &one("a"));
    store
}

fn names(store: &dyn Store) -> Vec<String> {
    let records = store
        .read(&down(), Revision::ZERO, ReadLimit::SCAN)
        .unwrap();
    records
        .iter()
        .map(|stored| stored.record.header.key.name.to_string())
        .collect()
}

#[test]
fn a_failed_write_leaves_a_readable_store() {
    for fault in [Fault::Full, Fault::WriteFails] {
        let store = store();
        let marks = store.watermarks();
        store.disk().set_fault(fault);
        assert!(matches!(
            store.append(&one("b")),
            Err(AppendError::Engine(_))
        ));
        assert!(store.stats().read_only);
        let Err(AppendError::ReadOnly { reason }) = store.append(&one("c")) else {
            panic!("the store is read-only");
        };
        assert!(
            reason.contains("commit a batch"),
            "the reason is told: {reason}"
        );
        assert!(matches!(store.sync(), Err(SyncError::ReadOnly { .. })));
        assert!(matches!(
            store.trim(&POLICY),
            Err(TrimError::ReadOnly { .. })
        ));
        assert!(store.try_recover().is_err(), "the disk still fails");
        assert_eq!(names(&store), ["a"]);
        assert_eq!(store.watermarks(), marks);
        store.disk().heal();
        assert!(matches!(
            store.append(&one("d")),
            Err(AppendError::ReadOnly { .. })
        ));
        store.try_recover().unwrap();
        assert!(!store.stats().read_only);
        commit(&store, &one("e"));
        assert_eq!(names(&store), ["a", "e"]);
    }
}

#[test]
fn a_failed_sync_takes_the_batch_back() {
    let store = store();
    let marks = store.watermarks();
    let mut batch = one("b");
    batch.cursors.push((CursorName("c".into()), Offset::new(3)));
    batch.streams.push(StreamChange::Acked {
        stream: down(),
        upto: Offset::new(1),
    });
    store.append(&batch).unwrap();
    store.disk().set_fault(Fault::SyncFails);
    assert!(matches!(store.sync(), Err(SyncError::Engine(_))));
    assert_eq!(names(&store), ["a"], "never durable, never read");
    store.disk().heal();
    store.try_recover().unwrap();
    assert_eq!(store.watermarks(), marks);
    assert_eq!(store.cursor(&CursorName("c".into())).unwrap(), None);
    assert_eq!(store.stream(&down()).unwrap().unwrap().acked, Offset::ZERO);
    commit(&store, &one("d"));
    assert_eq!(names(&store), ["a", "d"]);
    assert!(store.verify().unwrap().is_sound());
}

#[test]
fn power_goes_at_the_worst_moments() {
    for (fault, expected) in [
        (Fault::PowerFailsAtSync, vec!["a"]),
        (Fault::PowerFailsAfterSync, vec!["a", "b"]),
    ] {
        let store = store();
        let disk = store.disk().clone();
        store.append(&one("b")).unwrap();
        disk.set_fault(fault);
        assert!(store.sync().is_err());
        disk.heal();
        assert!(
            store.try_recover().is_err(),
            "a store without power stays dead"
        );
        let (store, report) = MemoryStore::on(&disk).unwrap();
        assert_eq!(names(&store), expected);
        assert_eq!(report.durable, store.watermarks().durable);
        assert!(store.verify().unwrap().is_sound());
    }
}

#[test]
fn a_batch_is_on_the_disk_whole_or_not_at_all() {
    for (kept, expected) in [
        (0, vec!["a"]),
        (1, vec!["a", "b"]),
        (9, vec!["a", "b", "c", "d"]),
    ] {
        let store = store();
        store.append(&one("b")).unwrap();
        let pair = ["c", "d"].map(|name| next(&down(), draft(Op::Put, name, b"x")));
        store.append(&entries(pair.to_vec())).unwrap();
        store.disk().crash_keeping(kept);
        let store = MemoryStore::on(store.disk()).unwrap().0;
        assert_eq!(names(&store), expected);
        assert!(store.verify().unwrap().is_sound());
    }
}

#[test]
fn an_old_copy_of_a_disk_is_an_old_store() {
    let store = store();
    let image = store.disk().image();
    commit(&store, &one("b"));
    assert_eq!(names(&store), ["a", "b"]);
    let copy = MemoryStore::on(&Disk::from_image(&image)).unwrap().0;
    assert_eq!(names(&copy), ["a"]);
    commit(&copy, &one("c"));
    assert_eq!(names(&copy), ["a", "c"]);
    assert_eq!(names(&store), ["a", "b"], "copies go their own ways");
    store.disk().restore(&image);
    assert!(
        store.append(&one("d")).is_err(),
        "the disk was taken from under the store"
    );
    let store = MemoryStore::on(store.disk()).unwrap().0;
    assert_eq!(names(&store), ["a"]);
    assert_eq!(store.disk().image(), image, "the same image again");
}

#[test]
fn a_second_store_on_a_disk_fences_the_first() {
    let first = store();
    let second = MemoryStore::on(first.disk()).unwrap().0;
    commit(&second, &one("b"));
    assert!(first.append(&one("c")).is_err());
    assert_eq!(names(&second), ["a", "b"]);
}

/// Between an append and its sync, maintenance may do what it likes: the sync tells the truth.
mod between_append_and_sync {
    use super::*;

    /// A store with something to trim, and a batch that is not synced.
    fn appended() -> MemoryStore {
        let store = store();
        commit(&store, &one("a"));
        store.append(&one("b")).unwrap();
        store
    }

    #[test]
    fn a_trim_makes_it_durable() {
        let store = appended();
        assert_eq!(store.trim(&POLICY).unwrap().records, 1);
        assert_eq!(names(&store), ["a", "b"]);
        assert_eq!(store.sync().unwrap(), store.watermarks().written);
        assert!(store.verify().unwrap().is_sound());
    }

    #[test]
    fn what_a_trim_synced_is_safe_from_the_failure_after_it() {
        let store = appended();
        let written = store.watermarks().written;
        store.trim(&POLICY).unwrap();
        store.disk().set_fault(Fault::WriteFails);
        assert!(store.append(&one("c")).is_err());
        assert!(store.stats().read_only);
        assert_eq!(store.sync().unwrap(), written, "it is durable");
        assert!(store.sync().is_err(), "the store is read-only all the same");
    }

    #[test]
    fn what_a_recovery_took_back_is_not_confirmed() {
        for fault in [Fault::WriteFails, Fault::SyncFails] {
            let store = appended();
            store.disk().set_fault(fault);
            assert!(store.trim(&POLICY).is_err());
            store.disk().heal();
            store.try_recover().unwrap();
            assert!(!store.stats().read_only);
            assert_eq!(names(&store), ["a", "a"]);
            assert!(store.sync().is_err(), "the batch is lost");
            store.append(&one("d")).unwrap();
            store.sync().unwrap();
            assert_eq!(names(&store), ["a", "a", "d"]);
            assert!(store.verify().unwrap().is_sound());
        }
    }

    #[test]
    fn a_failure_that_was_told_is_not_told_again() {
        let store = appended();
        store.disk().set_fault(Fault::SyncFails);
        assert!(store.sync().is_err());
        store.disk().heal();
        store.try_recover().unwrap();
        commit(&store, &one("d"));
    }

    #[test]
    fn trims_and_a_writer_on_two_threads_exclude_each_other() {
        let store = store();
        std::thread::scope(|scope| {
            let trims = scope.spawn(|| {
                let mut removed = 0;
                // Of the twenty versions of each key all but the last go.
                while removed < 8 * 19 {
                    removed += store.trim(&POLICY).unwrap().records;
                    std::thread::yield_now();
                }
                removed
            });
            for round in 0..20 {
                for name in ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"] {
                    let appended = store.append(&one(name)).unwrap();
                    let durable = store.sync().unwrap();
                    assert!(
                        appended.revisions.iter().all(|it| *it <= durable),
                        "{round}"
                    );
                }
            }
            assert_eq!(trims.join().unwrap(), 8 * 19);
        });
        assert_eq!(names(&store).len(), 9);
        assert!(store.verify().unwrap().is_sound());
    }
}
