//! A store written by the first version of the format, kept as it was: every later version must
//! open it and find the same.
//!
//! Written once by `write_fixture` (ignored), with its journal cut to what it holds.

use std::fs;
use std::path::{Path, PathBuf};

use causeway_log::batch::{Batch, CursorName, Row, StreamChange, Table};
use causeway_log::id::{Offset, StreamId};
use causeway_log::record::Op;
use causeway_log::store::ReadLimit;
use causeway_log::store::conformance::{at, commit, down, draft, entries, epoch, next, up};
use causeway_log::store::fjall::{FjallConfig, FjallStore};
use causeway_log::{Revision, Store};

const TABLE: Table = Table("objects");

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-v1")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn fill(store: &dyn Store) {
    let streams = [StreamId::Cluster, down(), up()];
    let streams = streams
        .map(|stream| StreamChange::Open {
            stream,
            epoch: epoch(9),
        })
        .to_vec();
    commit(
        store,
        &Batch {
            streams,
            ..Batch::default()
        },
    );
    let mut batch = entries(vec![
        next(&StreamId::Cluster, draft(Op::Put, "small", b"{}")),
        next(&down(), draft(Op::Put, "large", &[b'x'; 5000])),
        next(&down(), draft(Op::Put, "small", b"{\"a\":1}")),
        at(&up(), 40, draft(Op::Status, "small", b"{\"b\":2}")),
        at(&up(), 41, draft(Op::Fact, "event", b"{\"c\":3}")),
    ]);
    batch.streams = vec![StreamChange::Received {
        stream: up(),
        upto: Offset::new(50),
    }];
    batch.cursors = vec![(CursorName("writeback/edge-1".into()), Offset::new(41))];
    batch.rows = vec![Row {
        table: TABLE,
        key: "k".into(),
        value: Some("v".into()),
    }];
    commit(store, &batch);
    commit(
        store,
        &entries(vec![
            next(&down(), draft(Op::Put, "small", b"{\"a\":2}")),
            next(&down(), draft(Op::Delete, "large", b"")),
        ]),
    );
    let streams = vec![StreamChange::Acked {
        stream: down(),
        upto: Offset::new(3),
    }];
    commit(
        store,
        &Batch {
            streams,
            ..Batch::default()
        },
    );
}

#[test]
fn the_first_version_still_opens() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture(), dir.path());
    // Version control keeps no empty directories.
    for keyspace in fs::read_dir(dir.path().join("keyspaces")).unwrap() {
        fs::create_dir_all(keyspace.unwrap().path().join("tables")).unwrap();
    }
    let (store, report) = FjallStore::open(dir.path(), FjallConfig::edge()).unwrap();
    assert!(!report.created);
    assert_eq!(
        (report.streams, report.records_checked, report.torn_bytes),
        (3, 7, 0)
    );
    assert!(store.verify().unwrap().is_sound());
    let fresh_dir = tempfile::tempdir().unwrap();
    let fresh = FjallStore::open(fresh_dir.path(), FjallConfig::edge())
        .unwrap()
        .0;
    fill(&fresh);
    for stream in [StreamId::Cluster, down(), up()] {
        let read = |store: &dyn Store| {
            let records = store
                .read(&stream, Revision::ZERO, ReadLimit::SCAN)
                .unwrap();
            let newest = store.scan_newest(&stream, None, ReadLimit::SCAN).unwrap();
            (records, newest, store.stream(&stream).unwrap().unwrap())
        };
        assert_eq!(read(&store), read(&fresh), "{stream}");
    }
    let cursor = store
        .cursor(&CursorName("writeback/edge-1".into()))
        .unwrap();
    assert_eq!(cursor, Some(Offset::new(41)));
    assert_eq!(
        store.rows(TABLE, b"", 9).unwrap(),
        vec![("k".into(), "v".into())]
    );
    commit(
        &store,
        &entries(vec![next(&down(), draft(Op::Put, "new", b"{}"))]),
    );
}

#[test]
#[ignore = "writes the fixture; run it once per version of the format"]
fn write_fixture() {
    let dir = fixture();
    fill(&FjallStore::open(&dir, FjallConfig::edge()).unwrap().0);
    // Opening cuts the room that the journal had reserved.
    drop(FjallStore::open(&dir, FjallConfig::edge()).unwrap());
}
