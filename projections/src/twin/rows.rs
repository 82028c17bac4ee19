//! How readings wait in the store of a node: rows of the table `readings`.
//!
//! | key | value |
//! |---|---|
//! | 0 | [`Head`] |
//! | 1, device | how many readings of it were given up and not told yet |
//! | 2, device, number | a chunk of readings |
//!
//! Every value begins with the version 1. Numbers are 64 bits, big-endian; chunks are numbered over
//! all devices. A device is the namespace, name and uid of its key, each after its length as a byte.

use bytes::{BufMut as _, Bytes, BytesMut};
use causeway_log::batch::{Row, Table};
use causeway_log::error::ReadError;
use causeway_log::{Key, Store, Uid};

use super::devices as device_resource;
use super::history::Chunk;

/// The rows of waiting readings.
const TABLE: Table = Table("readings");

const VERSION: u8 = 1;
const HEAD: u8 = 0;
const DROPPED: u8 = 1;
const CHUNK: u8 = 2;
/// Devices found in one step of a scan.
const DROPPED_PER_READ: usize = 256;
/// Chunks read in one step, whoever's they are.
const CHUNKS_PER_READ: usize = 256;

/// What is known of all rows of chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The number of the next one.
    pub next: u64,
    /// The bytes of their keys and values.
    pub bytes: u64,
}

impl Head {
    /// The row that says so.
    #[must_use]
    pub fn row(self) -> Row {
        let mut value = BytesMut::with_capacity(17);
        value.put_u8(VERSION);
        value.put_u64(self.next);
        value.put_u64(self.bytes);
        Row {
            table: TABLE,
            key: Bytes::from_static(&[HEAD]),
            value: Some(value.freeze()),
        }
    }

    fn read(value: &[u8]) -> Option<Self> {
        let (next, bytes) = value.strip_prefix(&[VERSION])?.split_first_chunk()?;
        Some(Self {
            next: u64::from_be_bytes(*next),
            bytes: u64::from_be_bytes(bytes.try_into().ok()?),
        })
    }
}

/// A device as keys of rows name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(Bytes);

impl Place {
    /// The device of a key.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        let uid = key.uid.to_string();
        let mut bytes = BytesMut::new();
        put_parts(&mut bytes, &[&key.namespace, &key.name, &uid]);
        Self(bytes.freeze())
    }

    /// The key of the device.
    #[must_use]
    pub fn key(&self) -> Key {
        let (namespace, rest) = part(&self.0).unwrap_or_default();
        let (name, rest) = part(rest).unwrap_or_default();
        let (uid, _) = part(rest).unwrap_or_default();
        let text = |bytes| String::from_utf8_lossy(bytes);
        Key {
            resource: device_resource(),
            namespace: text(namespace).into(),
            name: text(name).into(),
            uid: Uid::parse(&text(uid)),
        }
    }

    /// The device at the front of the rest of a key, and what is behind it.
    fn split(rest: &Bytes) -> Option<(Self, Bytes)> {
        let behind = part(rest)
            .and_then(|(_, rest)| part(rest))
            .and_then(|(_, rest)| part(rest))?;
        let length = rest.len() - behind.1.len();
        Some((Self(rest.slice(..length)), rest.slice(length..)))
    }

    fn prefixed(&self, kind: u8, number: Option<u64>) -> Bytes {
        let mut key = BytesMut::with_capacity(1 + self.0.len() + 9);
        key.put_u8(kind);
        key.put_slice(&self.0);
        if let Some(number) = number {
            key.put_u64(number);
        }
        key.freeze()
    }

    /// The row of a chunk.
    #[must_use]
    pub fn row(&self, number: u64, chunk: &[u8]) -> Row {
        let mut value = BytesMut::with_capacity(1 + chunk.len());
        value.put_u8(VERSION);
        value.put_slice(chunk);
        Row {
            table: TABLE,
            key: self.prefixed(CHUNK, Some(number)),
            value: Some(value.freeze()),
        }
    }

    /// Removes the row of a chunk.
    #[must_use]
    pub fn no_row(&self, number: u64) -> Row {
        Row {
            table: TABLE,
            key: self.prefixed(CHUNK, Some(number)),
            value: None,
        }
    }

    /// Says how many readings are given up and not told; none removes the row.
    #[must_use]
    pub fn dropped_row(&self, dropped: u64) -> Row {
        let mut value = BytesMut::with_capacity(9);
        value.put_u8(VERSION);
        value.put_u64(dropped);
        Row {
            table: TABLE,
            key: self.prefixed(DROPPED, None),
            value: (dropped > 0).then(|| value.freeze()),
        }
    }
}

/// Puts each part after its length.
fn put_parts(bytes: &mut BytesMut, parts: &[&str]) {
    for part in parts {
        // Parts of a key are shorter than that.
        let part = &part.as_bytes()[..part.len().min(usize::from(u8::MAX))];
        bytes.put_u8(u8::try_from(part.len()).unwrap_or(u8::MAX));
        bytes.put_slice(part);
    }
}

/// What follows its length.
fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// The bytes of the row of a chunk.
#[must_use]
pub fn bytes(place: &Place, chunk: u64) -> u64 {
    place.0.len() as u64 + chunk + 10
}

/// What stands in the row of the head.
///
/// # Errors
/// [`ReadError`]
pub fn head(store: &dyn Store) -> Result<Head, ReadError> {
    let rows = store.rows(TABLE, &[HEAD], 1)?;
    let head = rows.first().filter(|(key, _)| **key == [HEAD]);
    Ok(head
        .and_then(|(_, value)| Head::read(value))
        .unwrap_or_default())
}

/// The devices of which readings are given up and not told.
///
/// # Errors
/// [`ReadError`]
pub fn dropped(store: &dyn Store) -> Result<Vec<(Place, u64)>, ReadError> {
    let mut found = Vec::new();
    let mut from = Bytes::from_static(&[DROPPED]);
    loop {
        let rows = store.rows(TABLE, &from, DROPPED_PER_READ)?;
        let is_last = rows.len() < DROPPED_PER_READ;
        for (key, value) in rows {
            if key.first() != Some(&DROPPED) {
                return Ok(found);
            }
            let place = Place::split(&key.slice(1..)).map(|(place, _)| place);
            let count = value.strip_prefix(&[VERSION]);
            let count = count.and_then(|count| Some(u64::from_be_bytes(count.try_into().ok()?)));
            found.extend(place.zip(count));
            from = after(&key);
        }
        if is_last {
            return Ok(found);
        }
    }
}

/// The devices that have rows, with the number of the first. A step for each: chunks are not read.
///
/// # Errors
/// [`ReadError`]
pub fn devices(store: &dyn Store) -> Result<Vec<(Place, u64)>, ReadError> {
    let mut found = Vec::new();
    let mut from = Bytes::from_static(&[CHUNK]);
    loop {
        let rows = store.rows(TABLE, &from, 1)?;
        let Some((key, _)) = rows.first().filter(|(key, _)| key.first() == Some(&CHUNK)) else {
            return Ok(found);
        };
        let split = Place::split(&key.slice(1..));
        let Some((place, number)) = split.and_then(|(place, number)| {
            let number = (*number).try_into().ok().map(u64::from_be_bytes)?;
            Some((place, number))
        }) else {
            from = after(key);
            continue;
        };
        from = after(&place.prefixed(CHUNK, Some(u64::MAX)));
        found.push((place, number));
    }
}

/// The chunks of a device from a number on, each with the bytes of its row. What is no chunk is
/// passed over as an empty one.
///
/// # Errors
/// [`ReadError`]
pub fn page(
    store: &dyn Store,
    place: &Place,
    from: u64,
    limit: usize,
) -> Result<Vec<(u64, u64, Chunk)>, ReadError> {
    let prefix = place.prefixed(CHUNK, None);
    let rows = store.rows(TABLE, &place.prefixed(CHUNK, Some(from)), limit)?;
    let mut page = Vec::with_capacity(rows.len());
    for (key, value) in rows {
        let number = key.strip_prefix(&*prefix);
        let Some(number) = number.and_then(|number| number.try_into().ok()) else {
            break;
        };
        let chunk = chunk(&value);
        let length = bytes(place, (value.len() as u64).saturating_sub(1));
        page.push((
            u64::from_be_bytes(number),
            length,
            chunk.unwrap_or_default(),
        ));
    }
    Ok(page)
}

/// The chunks that wait of a device in whatever life, oldest first of each, page by page.
pub(super) struct Chunks<'a> {
    store: &'a dyn Store,
    prefix: Bytes,
    from: Option<Bytes>,
}

impl<'a> Chunks<'a> {
    pub(super) fn of(store: &'a dyn Store, namespace: &str, name: &str) -> Self {
        let mut prefix = BytesMut::new();
        prefix.put_u8(CHUNK);
        put_parts(&mut prefix, &[namespace, name]);
        let prefix = prefix.freeze();
        Self {
            store,
            from: Some(prefix.clone()),
            prefix,
        }
    }

    /// The next chunks; none at the end.
    pub(super) fn next_page(&mut self) -> Result<Vec<Chunk>, ReadError> {
        let mut chunks = Vec::new();
        while chunks.is_empty()
            && let Some(from) = self.from.take()
        {
            let rows = self.store.rows(TABLE, &from, CHUNKS_PER_READ)?;
            let is_last = rows.len() < CHUNKS_PER_READ;
            for (key, value) in rows {
                if !key.starts_with(&self.prefix) {
                    return Ok(chunks);
                }
                self.from = Some(after(&key)).filter(|_| !is_last);
                chunks.extend(chunk(&value));
            }
        }
        Ok(chunks)
    }
}

/// The chunk in the value of its row.
fn chunk(value: &[u8]) -> Option<Chunk> {
    let chunk = value.strip_prefix(&[VERSION])?;
    Chunk::decode(chunk).ok()
}

/// The first key after `key`.
fn after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
