//! Keys as they stand on disk: big-endian numbers and order-preserving text, so that the engine's
//! byte order is the order the store reads in.
//!
//! The layout tables are in `docs/on-disk-formats.md`.

use bytes::Bytes;
use uuid::Uuid;

use crate::batch::{CursorName, Table};
use crate::body::BodyHash;
use crate::id::{Direction, Revision, StreamId};
use crate::key::{Key, NodeName, Resource, Uid};
use crate::record::Slot;

/// A stream's number in this store; stands for its name in keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamNo(pub(crate) u32);

/// What is kept in the `meta` keyspace, told apart by the first byte of the key.
pub(crate) mod meta {
    pub(crate) const FORMAT: u8 = b'f';
    pub(crate) const STREAM: u8 = b's';
    pub(crate) const NEXT_STREAM: u8 = b'n';
    pub(crate) const WRITTEN: u8 = b'w';
    pub(crate) const GARBAGE_BYTES: u8 = b'g';
    pub(crate) const DROPPED: u8 = b'd';
    pub(crate) const CURSOR: u8 = b'c';
    pub(crate) const ROW: u8 = b'r';
    pub(crate) const REFERENCES: u8 = b'b';
    pub(crate) const SUPERSEDED: u8 = b'q';
    pub(crate) const PENDING: u8 = b'p';
}

/// `log`: stream, revision.
pub(crate) fn log(stream: StreamNo, revision: Revision) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&stream.0.to_be_bytes());
    key[4..].copy_from_slice(&revision.get().to_be_bytes());
    key
}

/// The revision in a key of `log`.
pub(crate) fn log_revision(key: &[u8]) -> Option<Revision> {
    let bytes = key.get(4..12)?.try_into().ok()?;
    Some(Revision::new(u64::from_be_bytes(bytes)))
}

/// The first four bytes after those of `stream`: the end of every range that begins with it.
pub(crate) fn after_stream(stream: StreamNo) -> [u8; 4] {
    // The last number is never given out, see `Engine::open`.
    stream.0.saturating_add(1).to_be_bytes()
}

/// `newest`: stream, resource, namespace, name, uid, slot.
pub(crate) fn newest(stream: StreamNo, key: &Key, slot: Slot) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + key.name.len() + key.namespace.len());
    put_newest(&mut bytes, stream, key, slot);
    bytes
}

/// Appends what [`newest`] gives.
pub(crate) fn put_newest(bytes: &mut Vec<u8>, stream: StreamNo, key: &Key, slot: Slot) {
    bytes.extend_from_slice(&stream.0.to_be_bytes());
    put_text(bytes, &key.resource.group);
    put_text(bytes, &key.resource.plural);
    put_text(bytes, &key.namespace);
    put_text(bytes, &key.name);
    match &key.uid {
        Uid::None => bytes.push(0),
        Uid::Uuid(uuid) => {
            bytes.push(1);
            bytes.extend_from_slice(uuid.as_bytes());
        }
        Uid::Text(text) => {
            bytes.push(2);
            put_text(bytes, text);
        }
    }
    bytes.push(slot_byte(slot));
}

/// The record key and slot in a key of `newest`; `None` when it is not one.
pub(crate) fn parse_newest(bytes: &[u8]) -> Option<(Key, Slot)> {
    let mut rest = bytes.get(4..)?;
    let group = take_text(&mut rest)?;
    let plural = take_text(&mut rest)?;
    let namespace = take_text(&mut rest)?;
    let name = take_text(&mut rest)?;
    let (tag, after_tag) = rest.split_first()?;
    rest = after_tag;
    let uid = match tag {
        0 => Uid::None,
        1 => {
            let (uuid, after) = rest.split_first_chunk::<16>()?;
            rest = after;
            Uid::Uuid(Uuid::from_bytes(*uuid))
        }
        2 => Uid::Text(take_text(&mut rest)?.into()),
        _ => return None,
    };
    let &[slot] = rest else { return None };
    let key = Key {
        resource: Resource::new(&group, &plural),
        namespace: namespace.into(),
        name: name.into(),
        uid,
    };
    Some((key, slot_from_byte(slot)?))
}

/// Text that sorts as itself and ends before anything longer: NUL is written as `00 ff`, the end
/// as `00 01`.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    for (position, part) in text.as_bytes().split(|byte| *byte == 0).enumerate() {
        if position > 0 {
            bytes.extend_from_slice(&[0, 0xff]);
        }
        bytes.extend_from_slice(part);
    }
    bytes.extend_from_slice(&[0, 1]);
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        if byte != 0 {
            text.push(byte);
            continue;
        }
        let (&mark, after) = rest.split_first()?;
        *rest = after;
        match mark {
            0xff => text.push(0),
            1 => return String::from_utf8(text).ok(),
            _ => return None,
        }
    }
}

/// Slots as they stand on disk. Never reuse a number.
pub(crate) const fn slot_byte(slot: Slot) -> u8 {
    match slot {
        Slot::Object => 0,
        Slot::Status => 1,
        Slot::Twin => 2,
        Slot::Request => 3,
        Slot::Fact => 4,
    }
}

pub(crate) const fn slot_from_byte(byte: u8) -> Option<Slot> {
    Some(match byte {
        0 => Slot::Object,
        1 => Slot::Status,
        2 => Slot::Twin,
        3 => Slot::Request,
        4 => Slot::Fact,
        _ => return None,
    })
}

/// `meta`: a single value.
pub(crate) fn single(kind: u8) -> [u8; 1] {
    [kind]
}

/// `meta`: a stream by name.
pub(crate) fn stream(stream: &StreamId) -> Vec<u8> {
    let mut bytes = vec![meta::STREAM];
    match stream {
        StreamId::Cluster => bytes.push(0),
        StreamId::Node(node, direction) => {
            bytes.push(match direction {
                Direction::Down => 1,
                Direction::Up => 2,
            });
            bytes.extend_from_slice(node.as_str().as_bytes());
        }
    }
    bytes
}

/// The stream in a key of `meta`.
pub(crate) fn parse_stream(bytes: &[u8]) -> Option<StreamId> {
    let (&tag, name) = bytes.get(1..)?.split_first()?;
    let node = || NodeName::new(std::str::from_utf8(name).ok()?).ok();
    Some(match tag {
        0 if name.is_empty() => StreamId::Cluster,
        1 => StreamId::down(node()?),
        2 => StreamId::up(node()?),
        _ => return None,
    })
}

/// `meta`: a dropped stream whose records are still to be removed.
pub(crate) fn dropped(stream: StreamNo) -> [u8; 5] {
    let mut key = [meta::DROPPED; 5];
    key[1..].copy_from_slice(&stream.0.to_be_bytes());
    key
}

/// The stream in a key made by [`dropped`].
pub(crate) fn parse_dropped(bytes: &[u8]) -> Option<StreamNo> {
    Some(StreamNo(u32::from_be_bytes(
        bytes.get(1..5)?.try_into().ok()?,
    )))
}

/// `meta`: a cursor.
pub(crate) fn cursor(name: &CursorName) -> Vec<u8> {
    let mut bytes = vec![meta::CURSOR];
    bytes.extend_from_slice(name.0.as_bytes());
    bytes
}

/// `meta`: a row; the table's name is ended by NUL, which no table name has.
pub(crate) fn row(table: Table, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + table.0.len() + key.len());
    bytes.push(meta::ROW);
    bytes.extend_from_slice(table.0.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(key);
    bytes
}

/// The end of the range of all rows of a table.
pub(crate) fn after_rows(table: Table) -> Vec<u8> {
    let mut bytes = vec![meta::ROW];
    bytes.extend_from_slice(table.0.as_bytes());
    bytes.push(1);
    bytes
}

/// The row key within a key made by [`row`].
pub(crate) fn row_key(table: Table, bytes: &Bytes) -> Bytes {
    bytes.slice((table.0.len() + 2).min(bytes.len())..)
}

/// `meta`: how many records refer to a body.
pub(crate) fn references(hash: &BodyHash) -> [u8; 33] {
    let mut key = [meta::REFERENCES; 33];
    key[1..].copy_from_slice(hash.as_bytes());
    key
}

/// `meta`: the record superseded by the one at this revision.
pub(crate) fn superseded(by: Revision) -> [u8; 9] {
    let mut key = [meta::SUPERSEDED; 9];
    key[1..].copy_from_slice(&by.get().to_be_bytes());
    key
}

/// The superseding revision in a key made by [`superseded`].
pub(crate) fn parse_superseded(bytes: &[u8]) -> Option<Revision> {
    Some(Revision::new(u64::from_be_bytes(
        bytes.get(1..9)?.try_into().ok()?,
    )))
}

/// `meta`: a tombstone or fact that stays until the peer has it.
pub(crate) fn pending(stream: StreamNo, revision: Revision) -> [u8; 13] {
    let mut key = [meta::PENDING; 13];
    key[1..].copy_from_slice(&log(stream, revision));
    key
}

/// The revision in a key made by [`pending`].
pub(crate) fn parse_pending(bytes: &[u8]) -> Option<Revision> {
    log_revision(bytes.get(1..)?)
}

/// The range of all keys of one kind in `meta`.
pub(crate) const fn kind_range(kind: u8) -> ([u8; 1], [u8; 1]) {
    ([kind], [kind + 1])
}
