//! Control packets and their bytes.
//!
//! ```text
//!   type and flags (1) │ remaining length (1-4, seven bits each) │ variable header │ payload
//! ```

#![deny(clippy::indexing_slicing)]

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::{is_filter, is_topic};

/// Most filters in one packet.
const FILTERS_MAX: usize = 256;
/// Longest head of a publish: type, length, topic, packet id.
const PUBLISH_HEAD_MAX: usize = 5 + 2 + 65_535 + 2;
/// Why slices of a checked length are there.
const CHECKED: &str = "the length was checked";

/// How sure a delivery is: at most once, at least once, exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Qos {
    Zero = 0,
    One = 1,
    Two = 2,
}

impl Qos {
    const fn of(bits: u8) -> Result<Self, ProtocolError> {
        match bits {
            0 => Ok(Self::Zero),
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            _ => Err(ProtocolError::Malformed),
        }
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) dup: bool,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) topic: Arc<str>,
    /// 0 with [`Qos::Zero`], never else.
    pub(crate) id: u16,
    pub(crate) payload: Bytes,
}

/// The message that a broker publishes for a client that is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
}

/// How a client introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) client: String,
    pub(crate) clean: bool,
    /// Seconds; 0: no keep alive.
    pub(crate) keep_alive: u16,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Bytes>,
    pub(crate) will: Option<Will>,
}

/// A control packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Connect(Connect),
    ConnAck {
        session_present: bool,
        code: u8,
    },
    Publish(Publish),
    PubAck(u16),
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    Subscribe {
        id: u16,
        filters: Vec<(String, Qos)>,
    },
    SubAck {
        id: u16,
        codes: Vec<u8>,
    },
    Unsubscribe {
        id: u16,
        filters: Vec<String>,
    },
    UnsubAck(u16),
    PingReq,
    PingResp,
    Disconnect,
}

/// What a stream of bytes begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A packet. Its bytes are taken.
    Packet(Packet),
    /// A publish beyond the bound, without its payload. Its head is taken; `bytes` of payload
    /// follow and are to be passed over.
    Oversized { head: Publish, bytes: usize },
}

/// Bytes that are no MQTT 3.1.1. The connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("a packet is malformed")]
    Malformed,
    #[error("a packet of {bytes} bytes exceeds the limit of {max}")]
    TooLarge { bytes: usize, max: usize },
    #[error("version {level} of the protocol is not served, MQTT 3.1.1 is")]
    Version { level: u8 },
    #[error("a packet came that has no place here")]
    Unexpected,
}

/// Takes what the bytes begin with; `None`: more bytes are needed.
pub(crate) fn decode(
    bytes: &mut BytesMut,
    packet_bytes_max: usize,
) -> Result<Option<Incoming>, ProtocolError> {
    let Some((first, header, length)) = fixed_header(bytes)? else {
        return Ok(None);
    };
    if length > packet_bytes_max {
        if first >> 4 != 3 {
            return Err(ProtocolError::TooLarge {
                bytes: length,
                max: packet_bytes_max,
            });
        }
        return oversized(bytes, first, header, length);
    }
    if bytes.len() < header + length {
        return Ok(None);
    }
    bytes.advance(header);
    let mut body = bytes.split_to(length).freeze();
    let packet = read(first, &mut body)?;
    Ok(Some(Incoming::Packet(packet)))
}

/// The first byte, the length of the fixed header, and of what follows it.
fn fixed_header(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, ProtocolError> {
    let Some((first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let mut length = 0;
    for (at, byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((*first, at + 2, length)));
        }
    }
    if rest.len() >= 4 {
        return Err(ProtocolError::Malformed);
    }
    Ok(None)
}

/// The head of a publish whose payload is not wanted.
fn oversized(
    bytes: &mut BytesMut,
    first: u8,
    header: usize,
    length: usize,
) -> Result<Option<Incoming>, ProtocolError> {
    let end = (header + length).min(PUBLISH_HEAD_MAX);
    // What is malformed with that much of it is not incomplete.
    let enough = bytes.len() >= end;
    let begun = Bytes::copy_from_slice(bytes.get(header..end.min(bytes.len())).unwrap_or(&[]));
    let mut rest = begun.clone();
    match publish_head(first, &mut rest) {
        Ok(head) => {
            let taken = begun.len() - rest.len();
            bytes.advance(header + taken);
            let bytes = length - taken;
            Ok(Some(Incoming::Oversized { head, bytes }))
        }
        Err(error) if enough => Err(error),
        Err(_) => Ok(None),
    }
}

fn read(first: u8, body: &mut Bytes) -> Result<Packet, ProtocolError> {
    let packet = match (first >> 4, first & 0x0f) {
        (1, 0) => Packet::Connect(connect(body)?),
        (2, 0) => Packet::ConnAck {
            session_present: byte(body)? & 1 == 1,
            code: byte(body)?,
        },
        (3, _) => {
            let mut publish = publish_head(first, body)?;
            publish.payload = std::mem::take(body);
            Packet::Publish(publish)
        }
        (4, 0) => Packet::PubAck(id(body)?),
        (5, 0) => Packet::PubRec(id(body)?),
        (6, 2) => Packet::PubRel(id(body)?),
        (7, 0) => Packet::PubComp(id(body)?),
        (8, 2) => subscribe(body)?,
        (9, 0) => Packet::SubAck {
            id: id(body)?,
            codes: std::mem::take(body).to_vec(),
        },
        (10, 2) => unsubscribe(body)?,
        (11, 0) => Packet::UnsubAck(id(body)?),
        (12, 0) => Packet::PingReq,
        (13, 0) => Packet::PingResp,
        (14, 0) => Packet::Disconnect,
        _ => return Err(ProtocolError::Malformed),
    };
    if body.is_empty() {
        Ok(packet)
    } else {
        Err(ProtocolError::Malformed)
    }
}

fn publish_head(first: u8, body: &mut Bytes) -> Result<Publish, ProtocolError> {
    let qos = Qos::of(first >> 1 & 3)?;
    let topic = text(body)?;
    if !is_topic(&topic) {
        return Err(ProtocolError::Malformed);
    }
    let id = match qos {
        Qos::Zero => 0,
        Qos::One | Qos::Two => id(body)?,
    };
    Ok(Publish {
        dup: first & 8 != 0,
        qos,
        retain: first & 1 != 0,
        topic: topic.into(),
        id,
        payload: Bytes::new(),
    })
}

fn connect(body: &mut Bytes) -> Result<Connect, ProtocolError> {
    let (name, level) = (text(body)?, byte(body)?);
    match (name.as_str(), level) {
        ("MQTT", 4) => {}
        ("MQTT" | "MQIsdp", level) => return Err(ProtocolError::Version { level }),
        _ => return Err(ProtocolError::Malformed),
    }
    let (flags, keep_alive) = (byte(body)?, short(body)?);
    let client = text(body)?;
    let has = |flag: u8| flags & flag != 0;
    let will = if has(4) {
        let topic = text(body)?;
        if !is_topic(&topic) {
            return Err(ProtocolError::Malformed);
        }
        Some(Will {
            topic: topic.into(),
            payload: binary(body)?,
            qos: Qos::of(flags >> 3 & 3)?,
            retain: has(0x20),
        })
    } else {
        None
    };
    let username = has(0x80).then(|| text(body)).transpose()?;
    let password = has(0x40).then(|| binary(body)).transpose()?;
    let is_odd = (will.is_none() && flags & 0x38 != 0) || (has(0x40) && !has(0x80));
    if has(1) || is_odd {
        return Err(ProtocolError::Malformed);
    }
    Ok(Connect {
        client,
        clean: has(2),
        keep_alive,
        username,
        password,
        will,
    })
}

fn subscribe(body: &mut Bytes) -> Result<Packet, ProtocolError> {
    let id = id(body)?;
    let mut filters = Vec::new();
    while !body.is_empty() {
        filters.push((filter(body)?, Qos::of(byte(body)?)?));
        if filters.len() > FILTERS_MAX {
            return Err(ProtocolError::Malformed);
        }
    }
    if filters.is_empty() {
        return Err(ProtocolError::Malformed);
    }
    Ok(Packet::Subscribe { id, filters })
}

fn unsubscribe(body: &mut Bytes) -> Result<Packet, ProtocolError> {
    let id = id(body)?;
    let mut filters = Vec::new();
    while !body.is_empty() {
        filters.push(filter(body)?);
        if filters.len() > FILTERS_MAX {
            return Err(ProtocolError::Malformed);
        }
    }
    if filters.is_empty() {
        return Err(ProtocolError::Malformed);
    }
    Ok(Packet::Unsubscribe { id, filters })
}

fn filter(body: &mut Bytes) -> Result<String, ProtocolError> {
    let filter = text(body)?;
    if is_filter(&filter) {
        Ok(filter)
    } else {
        Err(ProtocolError::Malformed)
    }
}

fn byte(body: &mut Bytes) -> Result<u8, ProtocolError> {
    body.try_get_u8().map_err(|_| ProtocolError::Malformed)
}

fn short(body: &mut Bytes) -> Result<u16, ProtocolError> {
    body.try_get_u16().map_err(|_| ProtocolError::Malformed)
}

fn id(body: &mut Bytes) -> Result<u16, ProtocolError> {
    match short(body)? {
        0 => Err(ProtocolError::Malformed),
        id => Ok(id),
    }
}

fn binary(body: &mut Bytes) -> Result<Bytes, ProtocolError> {
    let length = usize::from(short(body)?);
    if body.len() < length {
        return Err(ProtocolError::Malformed);
    }
    Ok(body.split_to(length))
}

fn text(body: &mut Bytes) -> Result<String, ProtocolError> {
    let text = String::from_utf8(binary(body)?.into());
    match text {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(ProtocolError::Malformed),
    }
}

impl Packet {
    /// Appends the bytes of the packet.
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Connect(connect) => connect.encode(out),
            Self::ConnAck {
                session_present,
                code,
            } => out.put_slice(&[0x20, 2, u8::from(*session_present), *code]),
            Self::Publish(publish) => publish.encode(out),
            Self::PubAck(id) => put_id(out, 0x40, *id),
            Self::PubRec(id) => put_id(out, 0x50, *id),
            Self::PubRel(id) => put_id(out, 0x62, *id),
            Self::PubComp(id) => put_id(out, 0x70, *id),
            Self::Subscribe { id, filters } => {
                let length = filters.iter().map(|(filter, _)| filter.len() + 3);
                put_header(out, 0x82, 2 + length.sum::<usize>());
                out.put_u16(*id);
                for (filter, qos) in filters {
                    put_bytes(out, filter.as_bytes());
                    out.put_u8(*qos as u8);
                }
            }
            Self::SubAck { id, codes } => {
                put_header(out, 0x90, 2 + codes.len());
                out.put_u16(*id);
                out.put_slice(codes);
            }
            Self::Unsubscribe { id, filters } => {
                let length = filters.iter().map(|filter| filter.len() + 2);
                put_header(out, 0xa2, 2 + length.sum::<usize>());
                out.put_u16(*id);
                for filter in filters {
                    put_bytes(out, filter.as_bytes());
                }
            }
            Self::UnsubAck(id) => put_id(out, 0xb0, *id),
            Self::PingReq => out.put_slice(&[0xc0, 0]),
            Self::PingResp => out.put_slice(&[0xd0, 0]),
            Self::Disconnect => out.put_slice(&[0xe0, 0]),
        }
    }
}

impl Connect {
    fn encode(&self, out: &mut BytesMut) {
        let mut flags = u8::from(self.clean) << 1;
        let mut length = 10 + 2 + self.client.len();
        if let Some(will) = &self.will {
            flags |= 4 | (will.qos as u8) << 3 | u8::from(will.retain) << 5;
            length += 4 + will.topic.len() + will.payload.len();
        }
        if let Some(username) = &self.username {
            flags |= 0x80;
            length += 2 + username.len();
        }
        if let Some(password) = &self.password {
            flags |= 0x40;
            length += 2 + password.len();
        }
        put_header(out, 0x10, length);
        put_bytes(out, b"MQTT");
        out.put_slice(&[4, flags]);
        out.put_u16(self.keep_alive);
        put_bytes(out, self.client.as_bytes());
        if let Some(will) = &self.will {
            put_bytes(out, will.topic.as_bytes());
            put_bytes(out, &will.payload);
        }
        if let Some(username) = &self.username {
            put_bytes(out, username.as_bytes());
        }
        if let Some(password) = &self.password {
            put_bytes(out, password);
        }
    }
}

impl Publish {
    fn encode(&self, out: &mut BytesMut) {
        let first = 0x30 | u8::from(self.dup) << 3 | (self.qos as u8) << 1 | u8::from(self.retain);
        let id = if self.id == 0 { 0 } else { 2 };
        put_header(out, first, 2 + self.topic.len() + id + self.payload.len());
        put_bytes(out, self.topic.as_bytes());
        if self.id != 0 {
            out.put_u16(self.id);
        }
        out.put_slice(&self.payload);
    }
}

fn put_id(out: &mut BytesMut, first: u8, id: u16) {
    out.put_slice(&[first, 2]);
    out.put_u16(id);
}

fn put_header(out: &mut BytesMut, first: u8, length: usize) {
    out.put_u8(first);
    let mut length = length;
    loop {
        let low = u8::try_from(length & 0x7f).expect(CHECKED);
        length >>= 7;
        out.put_u8(low | if length == 0 { 0 } else { 0x80 });
        if length == 0 {
            return;
        }
    }
}

/// Text and binary data have the same shape. What is longer than their length can say does not
/// come here: topics and credentials are bounded.
fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(bytes.get(..usize::from(length)).unwrap_or(bytes));
}
