//! One record on the wire: a compact header relative to the record before it in the frame, then
//! its body in one of the encodings of [`super::body`].
//!
//! ```text
//! flags   u8      bit 0 resource as before   bit 1 namespace as before   bit 2 has a cause
//!                 bit 3 the id begins with the time   bits 4-5 uid: 0 none, 1 UUID, 2 text
//! kind    u8      op << 4 | encoding
//! place   varint  (Records only) offset - offset before; the first counts from `after`
//! time    zigzag  milliseconds - those of the record before; the first counts from 0
//! id      10|16   the last 10 bytes when bit 3 is set, else all 16
//! cause   16      when bit 2 is set
//! version varint
//! group   text, plural text       unless bit 0
//! namespace text                  unless bit 1
//! name    text
//! uid     16 | text               by bits 4-5
//! body    …                       see the body encodings
//! ```

use std::sync::Arc;

use uuid::Uuid;

use super::WireError;
use super::body::{Encoded, WireBody};
use super::cursor::{Reader, Write};
use crate::id::{EventId, Offset, Version, WallTime};
use crate::key::{Key, Resource, Uid};
use crate::limits::KEY_PART_BYTES_MAX;
use crate::record::{Header, Op};

const SAME_RESOURCE: u8 = 1;
const SAME_NAMESPACE: u8 = 1 << 1;
const HAS_CAUSE: u8 = 1 << 2;
const ID_HAS_TIME: u8 = 1 << 3;
const UID_SHIFT: u8 = 4;
const FLAGS_KNOWN: u8 = 0b0011_1111;

/// A decoded record whose body is still as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireRecord<'a> {
    /// Everything but the bytes. The offset is zero in a frame that has no places.
    pub header: Header,
    /// The body as encoded.
    pub body: WireBody<'a>,
}

/// What the record before in the same frame was about; both ends keep it in step.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    offset: Offset,
    time: WallTime,
    resource: Resource,
    namespace: Arc<str>,
}

impl Before {
    /// Before the first record of a frame.
    pub(crate) fn first(after: Offset) -> Self {
        Self {
            offset: after,
            time: WallTime::default(),
            resource: Resource::core(""),
            namespace: "".into(),
        }
    }
}

/// Whether a frame says where in the stream its records stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Places {
    /// Each record has its offset.
    Given,
    /// Offsets are not sent.
    Absent,
}

const fn op_number(op: Op) -> u8 {
    match op {
        Op::Put => 1,
        Op::Delete => 2,
        Op::Status => 3,
        Op::Twin => 4,
        Op::Apply => 5,
        Op::Fact => 6,
        Op::Reject => 7,
    }
}

const fn op_of(number: u8) -> Option<Op> {
    Some(match number {
        1 => Op::Put,
        2 => Op::Delete,
        3 => Op::Status,
        4 => Op::Twin,
        5 => Op::Apply,
        6 => Op::Fact,
        7 => Op::Reject,
        _ => return None,
    })
}

/// Whether the first 48 bits of an id of version 7 are the record's time, which they are unless
/// its writer drew id and time apart.
fn id_has_time(id: EventId, time: WallTime) -> bool {
    let millis = time.unix_millis().to_be_bytes();
    millis.starts_with(&[0, 0]) && id.uuid().as_bytes().starts_with(millis.split_at(2).1)
}

/// Appends one record to a frame.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    header: &Header,
    body: &Encoded,
    places: Places,
    before: &mut Before,
) {
    let key = &header.key;
    let same_resource = key.resource == before.resource;
    let same_namespace = key.namespace == before.namespace;
    let short_id = id_has_time(header.id, header.time);
    let uid_kind: u8 = match key.uid {
        Uid::None => 0,
        Uid::Uuid(_) => 1,
        Uid::Text(_) => 2,
    };
    let bit = |on: bool, flag: u8| if on { flag } else { 0 };
    out.put_u8(
        bit(same_resource, SAME_RESOURCE)
            | bit(same_namespace, SAME_NAMESPACE)
            | bit(header.cause.is_some(), HAS_CAUSE)
            | bit(short_id, ID_HAS_TIME)
            | uid_kind << UID_SHIFT,
    );
    out.put_u8(op_number(header.op) << 4 | body.encoding as u8);
    if places == Places::Given {
        out.put_varint(header.offset.ahead_of(before.offset));
    }
    let millis = header.time.unix_millis().cast_signed();
    out.put_signed(millis.wrapping_sub(before.time.unix_millis().cast_signed()));
    let id = header.id.uuid();
    out.put(if short_id {
        id.as_bytes().split_at(6).1
    } else {
        id.as_bytes()
    });
    if let Some(cause) = header.cause {
        out.put_uuid(cause.uuid());
    }
    out.put_varint(header.version.get());
    if !same_resource {
        out.put_prefixed(key.resource.group.as_bytes());
        out.put_prefixed(key.resource.plural.as_bytes());
    }
    if !same_namespace {
        out.put_prefixed(key.namespace.as_bytes());
    }
    out.put_prefixed(key.name.as_bytes());
    match &key.uid {
        Uid::None => {}
        Uid::Uuid(uid) => out.put_uuid(*uid),
        Uid::Text(text) => out.put_prefixed(text.as_bytes()),
    }
    out.put(&body.wire);
    before.offset = header.offset;
    before.time = header.time;
    before.resource = key.resource.clone();
    before.namespace = key.namespace.clone();
}

/// Reads one record of a frame.
pub(crate) fn decode<'a>(
    input: &mut Reader<'a>,
    places: Places,
    before: &mut Before,
) -> Result<WireRecord<'a>, WireError> {
    let flags = input.u8()?;
    if flags & !FLAGS_KNOWN != 0 {
        return Err(WireError::Unknown {
            what: "record flags",
            value: flags,
        });
    }
    let kind = input.u8()?;
    let op = op_of(kind >> 4).ok_or(WireError::Unknown {
        what: "record kind",
        value: kind,
    })?;
    let offset = match places {
        Places::Given => {
            let offset = input.offset_after(before.offset)?;
            if offset <= before.offset {
                return Err(WireError::Order);
            }
            offset
        }
        Places::Absent => Offset::ZERO,
    };
    let ago = input.signed()?;
    let millis = before
        .time
        .unix_millis()
        .cast_signed()
        .wrapping_add(ago)
        .cast_unsigned();
    let time = WallTime::from_unix_millis(millis);
    let id = decode_id(input, flags, time)?;
    let cause = match flags & HAS_CAUSE {
        0 => None,
        _ => Some(EventId::new(input.uuid()?)),
    };
    let version = Version::new(input.varint()?);
    let key = decode_key(input, flags, before)?;
    let body = WireBody::decode(kind & 0x0f, input)?;
    before.offset = offset;
    before.time = time;
    before.resource = key.resource.clone();
    before.namespace = key.namespace.clone();
    let header = Header {
        offset,
        id,
        cause,
        time,
        key,
        version,
        op,
    };
    Ok(WireRecord { header, body })
}

fn decode_id(input: &mut Reader<'_>, flags: u8, time: WallTime) -> Result<EventId, WireError> {
    if flags & ID_HAS_TIME == 0 {
        return Ok(EventId::new(input.uuid()?));
    }
    let mut bytes = [0; 16];
    let (head, tail) = bytes.split_at_mut(6);
    head.copy_from_slice(time.unix_millis().to_be_bytes().split_at(2).1);
    tail.copy_from_slice(&input.array::<10>()?);
    Ok(EventId::new(Uuid::from_bytes(bytes)))
}

fn decode_key(input: &mut Reader<'_>, flags: u8, before: &Before) -> Result<Key, WireError> {
    let resource = if flags & SAME_RESOURCE == 0 {
        let group = input.text("API group", KEY_PART_BYTES_MAX)?;
        Resource::new(group, input.text("resource", KEY_PART_BYTES_MAX)?)
    } else {
        before.resource.clone()
    };
    let namespace = if flags & SAME_NAMESPACE == 0 {
        input.text("namespace", KEY_PART_BYTES_MAX)?.into()
    } else {
        before.namespace.clone()
    };
    let name = input.text("object name", KEY_PART_BYTES_MAX)?;
    let uid = match flags >> UID_SHIFT {
        0 => Uid::None,
        1 => Uid::Uuid(input.uuid()?),
        2 => Uid::Text(input.text("uid", KEY_PART_BYTES_MAX)?.into()),
        value => {
            return Err(WireError::Unknown {
                what: "uid form",
                value,
            });
        }
    };
    // Parts shared with the record before stay shared in memory.
    let key = Key {
        resource,
        namespace,
        name: name.into(),
        uid,
    };
    if key.resource.plural.is_empty() || key.name.is_empty() || key.uid == Uid::Text("".into()) {
        return Err(WireError::Name);
    }
    Ok(key)
}
