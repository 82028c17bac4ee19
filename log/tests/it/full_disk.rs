//! A real file system that is full: reads go on, writes are refused, and when there is room again
//! the store goes on without a restart.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use causeway_log::batch::{Batch, StreamChange};
use causeway_log::error::{AppendError, SyncError};
use causeway_log::record::Op;
use causeway_log::store::ReadLimit;
use causeway_log::store::conformance::{commit, down, draft, entries, epoch, next};
use causeway_log::store::fjall::{FjallConfig, FjallStore};
use causeway_log::{Revision, Store};

/// A mounted tmpfs; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where mounting is not permitted; under CI that is a failure.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "causeway-test"])
            .arg(dir.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(dir)),
            other => {
                assert!(
                    std::env::var_os("CI").is_none(),
                    "cannot mount a tmpfs: {other:?}"
                );
                println!("skipped: mounting a tmpfs needs root");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "the test's disk stays mounted"
        );
    }
}

/// Takes all room.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    let mut block = vec![1; 64 * 1024];
    while !block.is_empty() {
        if file.write_all(&block).is_err() {
            block.truncate(block.len() / 2);
        }
    }
}

fn read_all(store: &FjallStore) -> Vec<Revision> {
    let limit = ReadLimit {
        records: usize::MAX,
        bytes: usize::MAX,
    };
    let records = store.read(&down(), Revision::ZERO, limit).unwrap();
    records.into_iter().map(|stored| stored.revision).collect()
}

/// Writes until the store is read-only; gives the reason.
fn write_until_refused(
    store: &FjallStore,
    batch: &mut impl FnMut() -> Batch,
    durable: &mut Vec<Revision>,
) -> String {
    loop {
        match store.append(&batch()) {
            Err(AppendError::ReadOnly { reason }) => return reason,
            Err(AppendError::Engine(_)) => {}
            Err(error) => panic!("another refusal was expected: {error}"),
            Ok(appended) => match store.sync() {
                Ok(_) => durable.extend(appended.revisions),
                Err(SyncError::Engine(_) | SyncError::ReadOnly { .. }) => {}
            },
        }
    }
}

#[test]
fn a_full_disk_stops_writes_only() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let dir = disk.path().join("store");
    let open = || FjallStore::open(&dir, FjallConfig::edge()).unwrap().0;
    let store = open();
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
    let mut durable = Vec::new();
    let mut random = fastrand::Rng::with_seed(7);
    // Batches below and above the journal's buffer: the first fail at the sync, the others at the
    // append. Some rounds run long enough for tables to be written.
    for (round, body_bytes) in [(0, 900), (1, 60_000), (2, 900), (3, 9_000)] {
        let filler = disk.path().join("filler");
        let mut batch = || {
            let body: Vec<u8> = (0..body_bytes).map(|_| random.u8(..)).collect();
            let name = format!("n{}", random.u8(..40));
            entries(vec![next(&down(), draft(Op::Put, &name, &body))])
        };
        for _ in 0..20 {
            durable.extend(commit(&store, &batch()).revisions);
        }
        fill(&filler);
        let reason = write_until_refused(&store, &mut batch, &mut durable);
        assert!(
            reason.contains("space") || reason.contains("earlier write"),
            "{reason}"
        );
        assert!(store.stats().read_only);
        assert_eq!(read_all(&store), durable, "round {round}: reads go on");
        assert!(store.try_recover().is_err(), "there is still no room");
        assert_eq!(
            read_all(&store),
            durable,
            "round {round}: reads still go on"
        );
        fs::remove_file(&filler).unwrap();
        store.try_recover().unwrap();
        assert_eq!(
            read_all(&store),
            durable,
            "round {round}: nothing lost, nothing added"
        );
        assert_eq!(store.watermarks().durable, store.watermarks().written);
        durable.extend(commit(&store, &batch()).revisions);
        assert_eq!(read_all(&store), durable);
        let report = store.verify().unwrap();
        assert!(report.is_sound(), "round {round}: {:?}", report.damage);
    }
    drop(store);
    let store = open();
    assert_eq!(read_all(&store), durable, "a restart finds the same");
    assert!(store.verify().unwrap().is_sound());
    drop(store);
}
