//! How waiting readings stand in the store.

use causeway_log::batch::{Row, Table};
use causeway_log::store::memory::MemoryStore;
use causeway_log::{Batch, Key, Store as _, Uid, WallTime};

use crate::twin::devices;
use crate::twin::history::{Chunk, Reading};
use crate::twin::rows::{self, Head, Place};

fn key(name: &str, uid: &str) -> Key {
    Key::new(devices(), "ns", name, Uid::parse(uid)).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn store_of(rows: Vec<Row>) -> MemoryStore {
    let store = MemoryStore::new();
    let batch = Batch {
        rows,
        ..Batch::default()
    };
    store.append(&batch).unwrap();
    store.sync().unwrap();
    store
}

fn chunk(value: &str) -> Chunk {
    let reading = Reading {
        time: WallTime::from_unix_millis(9),
        value: value.into(),
    };
    let mut chunk = Chunk::after(2);
    assert!(chunk.push(&"t".into(), reading));
    chunk
}

/// A format that has shipped is never changed.
#[test]
fn rows_keep_their_bytes() {
    let place = Place::of(&key("d", "u"));
    let shown = |row: Row| (hex(&row.key), row.value.map(|value| hex(&value)));
    let head = Head { next: 5, bytes: 6 };
    let golden = "0100000000000000050000000000000006";
    assert_eq!(shown(head.row()), ("00".into(), Some(golden.into())));
    let device = "026e7301640175";
    let dropped = shown(place.dropped_row(7));
    assert_eq!(
        dropped,
        (format!("01{device}"), Some("010000000000000007".into()))
    );
    assert_eq!(place.dropped_row(0).value, None);
    let (at, value) = shown(place.row(3, b"{}"));
    assert_eq!(
        (at, value),
        (format!("02{device}0000000000000003"), Some("017b7d".into()))
    );
    assert_eq!(place.no_row(3).key, place.row(3, b"").key);
    assert_eq!(place.key(), key("d", "u"));
}

#[test]
fn what_waits_is_found_again() {
    let uid = "00000000-0000-0000-0000-000000000007";
    let places = [key("d", uid), key("d", ""), key("longer", "x")].map(|key| Place::of(&key));
    let body = chunk("21").encode();
    let mut rows = vec![
        Head {
            next: 300,
            bytes: 9,
        }
        .row(),
        places[1].dropped_row(4),
    ];
    for number in 10..300 {
        rows.push(places[0].row(number, &body));
    }
    rows.push(places[2].row(8, &body));
    let store = store_of(rows);
    assert_eq!(
        rows::head(&store).unwrap(),
        Head {
            next: 300,
            bytes: 9
        }
    );
    assert_eq!(rows::dropped(&store).unwrap(), [(places[1].clone(), 4)]);
    let mut found = rows::devices(&store).unwrap();
    found.sort();
    let mut expected = [(places[0].clone(), 10), (places[2].clone(), 8)];
    expected.sort();
    assert_eq!(found, expected);
    let page = rows::page(&store, &places[0], 10, 256).unwrap();
    assert_eq!(page.len(), 256);
    assert_eq!(
        page[0],
        (10, rows::bytes(&places[0], body.len() as u64), chunk("21"))
    );
    let rest = rows::page(&store, &places[0], 266, 256).unwrap();
    assert_eq!(rest.len(), 300 - 266, "and none of another device");
    for (place, uid) in places.iter().zip([uid, "", "x"]) {
        assert_eq!(place.key().uid, Uid::parse(uid));
    }
}

#[test]
fn damaged_rows_are_passed_over() {
    let place = Place::of(&key("d", "u"));
    let row = |key: &[u8], value: &[u8]| Row {
        table: Table("readings"),
        key: bytes::Bytes::copy_from_slice(key),
        value: Some(bytes::Bytes::copy_from_slice(value)),
    };
    let store = store_of(vec![
        row(&[0], &[2, 0]),
        row(&[1, 200, 1], &[1]),
        row(&[2, 1], &[1]),
        place.row(1, b"no chunk"),
        place.row(2, &chunk("21").encode()),
        row(&[9], &[]),
    ]);
    assert_eq!(rows::head(&store).unwrap(), Head::default());
    assert!(rows::dropped(&store).unwrap().is_empty());
    assert_eq!(rows::devices(&store).unwrap(), [(place.clone(), 1)]);
    let page = rows::page(&store, &place, 0, 10).unwrap();
    let lengths: Vec<_> = page
        .iter()
        .map(|(number, _, chunk)| (*number, chunk.len()))
        .collect();
    assert_eq!(lengths, [(1, 0), (2, 1)]);
}
