//! What an open refuses, seen from inside: maps that no store of this version wrote.

use std::path::Path;

use bytes::Bytes;

use super::*;
use crate::error::OpenError;
use crate::store::codec::STORE_FORMAT;
use crate::store::keys::{StreamNo, meta};
use crate::store::kv::{Write, Writes};
use crate::store::memory::{Disk, MemoryStore};

/// A disk with these writes on it, besides those of an empty store.
fn disk(writes: Vec<Write>) -> Disk {
    let store = MemoryStore::new();
    store.kv().commit(Writes(writes)).unwrap();
    store.kv().sync().unwrap();
    store.disk().clone()
}

fn number(kind: u8, number: u64) -> Write {
    let key = Bytes::copy_from_slice(&keys::single(kind));
    let value = Some(codec::seal_number(&key, number));
    Write {
        space: Space::Meta,
        key,
        value,
    }
}

fn refused(disk: &Disk) -> OpenError {
    MemoryStore::on(disk).expect_err("the store must not open")
}

#[test]
fn a_newer_format_is_not_touched() {
    let newer = disk(vec![number(meta::FORMAT, u64::from(STORE_FORMAT) + 1)]);
    let image = newer.image();
    match refused(&newer) {
        OpenError::Format { path, found, known } => {
            assert_eq!((found, known), (STORE_FORMAT + 1, STORE_FORMAT));
            assert_eq!(path, Path::new("memory"));
        }
        other @ (OpenError::Locked { .. }
        | OpenError::Damaged { .. }
        | OpenError::Engine { .. }) => panic!("another format was expected, not {other}"),
    }
    assert_eq!(newer.image(), image);
}

#[test]
fn records_without_a_format_are_damage() {
    let key = Bytes::copy_from_slice(&keys::single(meta::FORMAT));
    let no_format = Write {
        space: Space::Meta,
        key,
        value: None,
    };
    assert!(matches!(
        refused(&disk(vec![no_format, number(meta::WRITTEN, 7)])),
        OpenError::Damaged { .. }
    ));
}

#[test]
fn an_index_without_its_record_is_damage_when_read() {
    let about = Key::new(
        crate::Resource::core("pods"),
        "default",
        "a",
        crate::Uid::None,
    )
    .unwrap();
    let open = crate::StreamChange::Open {
        stream: StreamId::Cluster,
        epoch: crate::Epoch::new(uuid::Uuid::from_u128(1)),
    };
    let store = MemoryStore::new();
    store
        .append(&Batch {
            streams: vec![open],
            ..Batch::default()
        })
        .unwrap();
    store.sync().unwrap();
    let key = Bytes::from(keys::newest(StreamNo(0), &about, Slot::Object));
    let newest = codec::Newest {
        revision: Revision::new(5),
        since: Revision::new(5),
        op: crate::Op::Put,
        len: 0,
    };
    let value = Some(codec::seal_newest(
        &mut codec::Arena::default(),
        &key,
        &newest,
    ));
    store
        .kv()
        .commit(Writes(vec![Write {
            space: Space::Newest,
            key,
            value,
        }]))
        .unwrap();
    match store.newest(&StreamId::Cluster, &about, Slot::Object) {
        Err(ReadError::Damaged(damage)) => {
            assert!(damage.place.contains("revision 5"), "{}", damage.place);
        }
        other => panic!("damage was expected, not {other:?}"),
    }
}

#[test]
fn a_long_chain_of_causes_is_told() {
    let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let error = EngineError {
        action: "commit a batch",
        source: Box::new(source),
    };
    let text = describe(&error);
    assert_eq!(
        text,
        "storage engine failed to commit a batch: no storage space"
    );
}
