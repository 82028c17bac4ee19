//! Values as they stand on disk: storage twins of the types, never the types themselves, so that a
//! change of a type cannot change a format.
//!
//! Every value is `version: u8, checksum: u32 little-endian, payload`. The checksum is the low half
//! of XXH3-64 of the payload, seeded with that of the key, so a value under a wrong key is damage
//! too. Payloads are bincode 2 with variable-length integers; a record's inline body follows its
//! head as it is. The layout tables are in `docs/on-disk-formats.md`.

use bincode::config::{Configuration, standard};
use bincode::{BorrowDecode, Decode, Encode};
use bytes::{BufMut as _, Bytes, BytesMut};
use uuid::Uuid;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::body::{Body, BodyHash};
use crate::id::{Epoch, EventId, Offset, Revision, Version, WallTime};
use crate::key::{Key, Resource, Uid};
use crate::record::{Header, Op, Slot};
use crate::store::keys::StreamNo;

#[cfg(test)]
mod tests;

/// What the head of a record takes beside its key's text and body, at most about.
pub(crate) const HEAD_BYTES: usize = 144;

/// The format of the store as a whole; see `docs/on-disk-formats.md`.
pub(crate) const STORE_FORMAT: u32 = 1;
/// The format of each value.
const VALUE_VERSION: u8 = 1;
/// Version byte and checksum.
const ENVELOPE_BYTES: usize = 5;

const CONFIG: Configuration = standard();

/// A stored value is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt(pub(crate) &'static str);

/// Where values are sealed. Values of one batch and space share a buffer, which saves an
/// allocation for each; values of different spaces do not, because they are freed at different
/// times.
#[derive(Debug, Default)]
pub(crate) struct Arena(BytesMut);

impl Arena {
    /// With room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(BytesMut::with_capacity(bytes))
    }

    /// Copies a key.
    pub(crate) fn key(&mut self, key: &[u8]) -> Bytes {
        self.0.extend_from_slice(key);
        self.0.split().freeze()
    }

    /// Seals a payload that `write` appends to the buffer.
    fn seal(&mut self, key: &[u8], write: impl FnOnce(&mut BytesMut)) -> Bytes {
        self.0.extend_from_slice(&[VALUE_VERSION, 0, 0, 0, 0]);
        write(&mut self.0);
        let (envelope, payload) = self.0.split_at_mut(ENVELOPE_BYTES);
        envelope[1..].copy_from_slice(&checksum(key, payload).to_le_bytes());
        self.0.split().freeze()
    }
}

/// Seals a payload on its own.
fn seal(key: &[u8], capacity: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    Arena::with_capacity(ENVELOPE_BYTES + capacity).seal(key, write)
}

/// Checks the envelope and gives the payload.
fn open(key: &[u8], value: &Bytes) -> Result<Bytes, Corrupt> {
    let Some((&[version, c0, c1, c2, c3], payload)) = value.split_first_chunk() else {
        return Err(Corrupt("value is shorter than its envelope"));
    };
    if version != VALUE_VERSION {
        return Err(Corrupt("unknown version of a value"));
    }
    if checksum(key, payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(Corrupt("checksum mismatch"));
    }
    Ok(value.slice(ENVELOPE_BYTES..))
}

fn checksum(key: &[u8], payload: &[u8]) -> u32 {
    let hash = xxh3_64_with_seed(payload, xxh3_64(key)).to_le_bytes();
    u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// Lets bincode write at the end of a buffer.
struct Append<'a>(&'a mut BytesMut);

impl bincode::enc::write::Writer for Append<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.put_slice(bytes);
        Ok(())
    }
}

fn put<T: Encode>(value: &mut BytesMut, twin: &T) {
    bincode::encode_into_writer(twin, Append(value), CONFIG)
        .expect("encoding plain data into memory cannot fail");
}

fn take<T: Decode<()>>(payload: &[u8]) -> Result<T, Corrupt> {
    match bincode::decode_from_slice(payload, CONFIG) {
        Ok((twin, read)) if read == payload.len() => Ok(twin),
        Ok(_) => Err(Corrupt("trailing bytes after a value")),
        Err(_) => Err(Corrupt("value cannot be decoded")),
    }
}

/// Seals a small value.
fn seal_twin<T: Encode>(key: &[u8], twin: &T) -> Bytes {
    seal(key, 40, |value| put(value, twin))
}

fn open_twin<T: Decode<()>>(key: &[u8], value: &Bytes) -> Result<T, Corrupt> {
    take(&open(key, value)?)
}

/// Bytes kept as they are: bodies and rows.
pub(crate) fn seal_bytes(key: &[u8], bytes: &[u8]) -> Bytes {
    seal(key, bytes.len(), |value| value.extend_from_slice(bytes))
}

/// The bytes sealed by [`seal_bytes`].
pub(crate) fn open_bytes(key: &[u8], value: &Bytes) -> Result<Bytes, Corrupt> {
    open(key, value)
}

/// A number: the format, a count, a cursor.
pub(crate) fn seal_number(key: &[u8], number: u64) -> Bytes {
    seal_twin(key, &number)
}

/// The number sealed by [`seal_number`].
pub(crate) fn open_number(key: &[u8], value: &Bytes) -> Result<u64, Corrupt> {
    open_twin(key, value)
}

/// Where a record's body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BodyAt {
    /// In the record.
    Inline(Body),
    /// Among the hashed bodies.
    Hashed {
        /// Its name.
        hash: BodyHash,
        /// Its length.
        len: u32,
    },
}

impl BodyAt {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Inline(body) => body.len(),
            Self::Hashed { len, .. } => *len as usize,
        }
    }
}

/// A record as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogValue {
    pub(crate) header: Header,
    /// The record it superseded (or followed, for facts); zero: none.
    pub(crate) prev: Revision,
    pub(crate) since: Revision,
    pub(crate) body: BodyAt,
}

/// Storage twin of the head of a [`LogValue`]. The order of fields and variants is the format.
#[derive(Encode, BorrowDecode)]
struct LogHead<'a> {
    offset: u64,
    prev: u64,
    since: u64,
    id: [u8; 16],
    cause: Option<[u8; 16]>,
    time: u64,
    version: u64,
    op: u8,
    group: &'a str,
    plural: &'a str,
    namespace: &'a str,
    name: &'a str,
    uid: UidTwin<'a>,
    body: BodyTwin,
}

#[derive(Encode, BorrowDecode)]
enum UidTwin<'a> {
    None,
    Uuid([u8; 16]),
    Text(&'a str),
}

#[derive(Encode, Decode)]
enum BodyTwin {
    /// The rest of the value.
    Inline,
    Hashed {
        hash: [u8; 32],
        len: u32,
    },
}

/// Seals a record for the log.
pub(crate) fn seal_record(arena: &mut Arena, key: &[u8], record: &LogValue) -> Bytes {
    let LogValue {
        header,
        prev,
        since,
        body,
    } = record;
    let Header {
        offset,
        id,
        cause,
        time,
        key: about,
        version,
        op,
    } = header;
    let head = LogHead {
        offset: offset.get(),
        prev: prev.get(),
        since: since.get(),
        id: id.uuid().into_bytes(),
        cause: cause.map(|id| id.uuid().into_bytes()),
        time: time.unix_millis(),
        version: version.get(),
        op: op_byte(*op),
        group: &about.resource.group,
        plural: &about.resource.plural,
        namespace: &about.namespace,
        name: &about.name,
        uid: match &about.uid {
            Uid::None => UidTwin::None,
            Uid::Uuid(uuid) => UidTwin::Uuid(uuid.into_bytes()),
            Uid::Text(text) => UidTwin::Text(text),
        },
        body: match body {
            BodyAt::Inline(_) => BodyTwin::Inline,
            BodyAt::Hashed { hash, len } => BodyTwin::Hashed {
                hash: *hash.as_bytes(),
                len: *len,
            },
        },
    };
    let inline = match body {
        BodyAt::Inline(body) => body.bytes().as_ref(),
        BodyAt::Hashed { .. } => &[],
    };
    arena.seal(key, |value| {
        put(value, &head);
        value.extend_from_slice(inline);
    })
}

/// Opens a record of the log.
pub(crate) fn open_record(key: &[u8], value: &Bytes) -> Result<LogValue, Corrupt> {
    let payload = open(key, value)?;
    let (head, read): (LogHead<'_>, usize) = bincode::borrow_decode_from_slice(&payload, CONFIG)
        .map_err(|_| Corrupt("record cannot be decoded"))?;
    let body = match head.body {
        BodyTwin::Inline => BodyAt::Inline(Body::new(payload.slice(read..))),
        BodyTwin::Hashed { hash, len } => BodyAt::Hashed {
            hash: BodyHash::new(hash),
            len,
        },
    };
    let header = Header {
        offset: Offset::new(head.offset),
        id: EventId::new(Uuid::from_bytes(head.id)),
        cause: head.cause.map(|id| EventId::new(Uuid::from_bytes(id))),
        time: WallTime::from_unix_millis(head.time),
        key: Key {
            resource: Resource::new(head.group, head.plural),
            namespace: head.namespace.into(),
            name: head.name.into(),
            uid: match head.uid {
                UidTwin::None => Uid::None,
                UidTwin::Uuid(uuid) => Uid::Uuid(Uuid::from_bytes(uuid)),
                UidTwin::Text(text) => Uid::Text(text.into()),
            },
        },
        version: Version::new(head.version),
        op: op_from_byte(head.op).ok_or(Corrupt("unknown operation"))?,
    };
    Ok(LogValue {
        header,
        prev: Revision::new(head.prev),
        since: Revision::new(head.since),
        body,
    })
}

/// Operations as they stand on disk. Never reuse a number.
pub(crate) const fn op_byte(op: Op) -> u8 {
    match op {
        Op::Put => 0,
        Op::Delete => 1,
        Op::Status => 2,
        Op::Twin => 3,
        Op::Apply => 4,
        Op::Fact => 5,
        Op::Reject => 6,
    }
}

const fn op_from_byte(byte: u8) -> Option<Op> {
    Some(match byte {
        0 => Op::Put,
        1 => Op::Delete,
        2 => Op::Status,
        3 => Op::Twin,
        4 => Op::Apply,
        5 => Op::Fact,
        6 => Op::Reject,
        _ => return None,
    })
}

/// What the newest index says of a key and slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) revision: Revision,
    pub(crate) since: Revision,
    pub(crate) op: Op,
    /// Length of the body, for the account of superseded bytes.
    pub(crate) len: u32,
}

pub(crate) fn seal_newest(arena: &mut Arena, key: &[u8], newest: &Newest) -> Bytes {
    let Newest {
        revision,
        since,
        op,
        len,
    } = newest;
    let twin = (revision.get(), since.get(), op_byte(*op), *len);
    arena.seal(key, |value| put(value, &twin))
}

pub(crate) fn open_newest(key: &[u8], value: &Bytes) -> Result<Newest, Corrupt> {
    let (revision, since, op, len) = open_twin::<(u64, u64, u8, u32)>(key, value)?;
    Ok(Newest {
        revision: Revision::new(revision),
        since: Revision::new(since),
        op: op_from_byte(op).ok_or(Corrupt("unknown operation"))?,
        len,
    })
}

/// A record that another one superseded: the history window decides when it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superseded {
    pub(crate) stream: StreamNo,
    pub(crate) revision: Revision,
    /// The wall time of the record that superseded it.
    pub(crate) time: WallTime,
    pub(crate) bytes: u32,
}

pub(crate) fn seal_superseded(arena: &mut Arena, key: &[u8], superseded: &Superseded) -> Bytes {
    let Superseded {
        stream,
        revision,
        time,
        bytes,
    } = superseded;
    let twin = (stream.0, revision.get(), time.unix_millis(), *bytes);
    arena.seal(key, |value| put(value, &twin))
}

pub(crate) fn open_superseded(key: &[u8], value: &Bytes) -> Result<Superseded, Corrupt> {
    let (stream, revision, time, bytes) = open_twin::<(u32, u64, u64, u32)>(key, value)?;
    Ok(Superseded {
        stream: StreamNo(stream),
        revision: Revision::new(revision),
        time: WallTime::from_unix_millis(time),
        bytes,
    })
}

/// A tombstone or fact that stays until the peer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) slot: Slot,
    pub(crate) time: WallTime,
    /// Of a fact, for the account of their bytes.
    pub(crate) bytes: u32,
}

pub(crate) fn seal_pending(key: &[u8], pending: &Pending) -> Bytes {
    let Pending { slot, time, bytes } = pending;
    let slot = crate::store::keys::slot_byte(*slot);
    seal_twin(key, &(slot, time.unix_millis(), *bytes))
}

pub(crate) fn open_pending(key: &[u8], value: &Bytes) -> Result<Pending, Corrupt> {
    let payload = open(key, value)?;
    // At first they had no bytes.
    let (slot, time, bytes) = take::<(u8, u64, u32)>(&payload).or_else(|_| {
        let (slot, time) = take::<(u8, u64)>(&payload)?;
        Ok((slot, time, 0))
    })?;
    Ok(Pending {
        slot: crate::store::keys::slot_from_byte(slot).ok_or(Corrupt("unknown slot"))?,
        time: WallTime::from_unix_millis(time),
        bytes,
    })
}

/// What is kept of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamValue {
    pub(crate) no: StreamNo,
    pub(crate) epoch: Epoch,
    /// Highest offset this store gave out in the stream, as far as the log does not say it.
    pub(crate) own_head: Offset,
    /// Highest offset of a record received in the current epoch.
    pub(crate) received_head: Offset,
    /// Whether records of it come from a peer.
    pub(crate) is_copy: bool,
    pub(crate) received: Offset,
    pub(crate) acked: Offset,
    pub(crate) floor: Offset,
    pub(crate) history: Revision,
}

type StreamTwin = (u32, [u8; 16], u64, u64, bool, u64, u64, u64, u64);

pub(crate) fn seal_stream(key: &[u8], stream: &StreamValue) -> Bytes {
    let StreamValue {
        no,
        epoch,
        own_head,
        received_head,
        is_copy,
        received,
        acked,
        floor,
        history,
    } = stream;
    let twin: StreamTwin = (
        no.0,
        epoch.uuid().into_bytes(),
        own_head.get(),
        received_head.get(),
        *is_copy,
        received.get(),
        acked.get(),
        floor.get(),
        history.get(),
    );
    seal_twin(key, &twin)
}

pub(crate) fn open_stream(key: &[u8], value: &Bytes) -> Result<StreamValue, Corrupt> {
    let (no, epoch, own_head, received_head, is_copy, received, acked, floor, history) =
        open_twin::<StreamTwin>(key, value)?;
    Ok(StreamValue {
        no: StreamNo(no),
        epoch: Epoch::new(Uuid::from_bytes(epoch)),
        own_head: Offset::new(own_head),
        received_head: Offset::new(received_head),
        is_copy,
        received: Offset::new(received),
        acked: Offset::new(acked),
        floor: Offset::new(floor),
        history: Revision::new(history),
    })
}
