//! Damage: it is found, named, and never read as something else.

use std::fs;
use std::path::{Path, PathBuf};

use causeway_log::batch::{Batch, StreamChange};
use causeway_log::error::OpenError;
use causeway_log::record::Op;
use causeway_log::store::conformance::{commit, down, draft, entries, epoch, next};
use causeway_log::store::fjall::{FjallConfig, FjallStore};
use causeway_log::store::kv::Space;
use causeway_log::store::memory::{Disk, MemoryStore};
use causeway_log::store::{OpenReport, ReadLimit};
use causeway_log::{Revision, Store};

fn fill(store: &dyn Store) {
    let streams = vec![StreamChange::Open {
        stream: down(),
        epoch: epoch(1),
    }];
    commit(
        store,
        &Batch {
            streams,
            ..Batch::default()
        },
    );
    for n in 0..20_u8 {
        let name = format!("n{}", n % 4);
        let body = vec![n; if n % 2 == 0 { 2000 } else { 20 }];
        commit(
            store,
            &entries(vec![next(&down(), draft(Op::Put, &name, &body))]),
        );
    }
}

fn open(path: &Path) -> Result<(FjallStore, OpenReport), OpenError> {
    FjallStore::open(path, FjallConfig::edge())
}

fn count(store: &dyn Store) -> usize {
    store
        .read(&down(), Revision::ZERO, ReadLimit::SCAN)
        .unwrap()
        .len()
}

#[test]
fn every_flipped_bit_is_found() {
    let store = MemoryStore::new();
    fill(&store);
    let image = store.disk().image();
    let mut found_at_open = 0;
    for space in Space::ALL {
        for (nth, byte) in (0..).map(|n| (n, n * 7)) {
            let disk = Disk::from_image(&image);
            if !disk.corrupt(space, nth, byte) {
                assert!(nth > 3, "every space has values");
                break;
            }
            match MemoryStore::on(&disk) {
                Err(OpenError::Damaged {
                    damage, recovery, ..
                }) => {
                    assert!(damage.place.contains(space.name()), "{}", damage.place);
                    assert!(!recovery.is_empty());
                    found_at_open += 1;
                }
                Err(error) => panic!("damage is called damage, not {error}"),
                Ok((store, _)) => {
                    let report = store.verify().unwrap();
                    assert!(
                        !report.is_sound(),
                        "{} value {nth} byte {byte}",
                        space.name()
                    );
                }
            }
        }
    }
    assert!(found_at_open > 20, "the tail is checked at open");
}

#[test]
fn a_sound_store_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let (store, report) = open(dir.path()).unwrap();
    assert!(report.created);
    fill(&store);
    let report = store.verify().unwrap();
    assert!(report.is_sound(), "{:?}", report.damage);
    assert_eq!((report.records, report.bodies), (20, 10));
    drop(store);
    let (_, report) = open(dir.path()).unwrap();
    assert!(!report.created);
    assert_eq!(
        (report.records_checked, report.torn_bytes, report.streams),
        (20, 0, 1)
    );
    assert_eq!(report.durable, Revision::new(20));
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    match open(dir.path()) {
        Err(OpenError::Locked { path }) => assert_eq!(path, dir.path()),
        other => panic!("the store is in use: {other:?}"),
    }
    drop(first);
    open(dir.path()).unwrap();
}

/// The directory of a filled, closed store, and its journal.
fn closed() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(dir.path()).unwrap().0);
    // A second open cuts the room that the journal had reserved.
    drop(open(dir.path()).unwrap());
    let journal = dir.path().join("0.jnl");
    (dir, journal)
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let (dir, journal) = closed();
    let whole = fs::read(&journal).unwrap();
    let mut torn_somewhere = 0;
    // Lose the end of the last batch, byte by byte and then in larger steps.
    for lost in (1..40).chain((40..400).step_by(37)) {
        fs::write(&journal, &whole[..whole.len() - lost]).unwrap();
        let (store, report) = open(dir.path()).unwrap();
        assert!(report.torn_bytes > 0 || count(&store) < 20);
        torn_somewhere += report.torn_bytes;
        assert!(count(&store) < 20);
        assert!(store.verify().unwrap().is_sound());
    }
    assert!(torn_somewhere > 0);
    // A tail whose middle never reached the disk.
    let mut holed = whole;
    let end = holed.len();
    holed[end - 60..end - 30].fill(0);
    fs::write(&journal, &holed).unwrap();
    let (store, report) = open(dir.path()).unwrap();
    assert!(report.torn_bytes > 0);
    assert_eq!(count(&store), 19);
    commit(
        &store,
        &entries(vec![next(&down(), draft(Op::Put, "after", b"x"))]),
    );
    drop(store);
    assert_eq!(count(&open(dir.path()).unwrap().0), 20);
}

#[test]
fn damage_in_the_middle_of_the_journal_is_not_a_torn_tail() {
    let (dir, journal) = closed();
    let whole = fs::read(&journal).unwrap();
    for at in [whole.len() / 8, whole.len() / 3, whole.len() / 2] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&journal, &damaged).unwrap();
        match open(dir.path()) {
            Err(error @ OpenError::Damaged { .. }) => {
                let source = std::error::Error::source(&error).unwrap().to_string();
                assert!(source.contains("0.jnl"), "the file is named: {source}");
                assert!(
                    error.to_string().contains("backup"),
                    "the way out is named: {error}"
                );
            }
            other => panic!("byte {at}: damage was expected, not {other:?}"),
        }
        assert_eq!(
            fs::read(&journal).unwrap(),
            damaged,
            "nothing was thrown away"
        );
    }
    fs::write(&journal, &whole).unwrap();
    assert_eq!(count(&open(dir.path()).unwrap().0), 20);
}

#[test]
fn a_pointer_to_a_file_that_is_not_there_is_damage() {
    let (dir, _) = closed();
    for entry in fs::read_dir(dir.path().join("keyspaces")).unwrap() {
        let pointer = entry.unwrap().path().join("current");
        let whole = fs::read(&pointer).unwrap();
        let mut damaged = whole.clone();
        damaged[0] ^= 1;
        fs::write(&pointer, &damaged).unwrap();
        match open(dir.path()) {
            Err(error @ OpenError::Damaged { .. }) => {
                let source = std::error::Error::source(&error).unwrap().to_string();
                assert!(source.contains("keyspaces"), "the place is named: {source}");
                assert!(error.to_string().contains("backup"), "{error}");
            }
            other => panic!("damage was expected, not {other:?}"),
        }
        fs::write(&pointer, &whole).unwrap();
    }
    assert_eq!(count(&open(dir.path()).unwrap().0), 20);
}

#[test]
fn a_directory_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("version"), b"something else").unwrap();
    assert!(open(dir.path()).is_err());
}
