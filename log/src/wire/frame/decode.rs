//! Bytes to frames.

use std::time::Duration;

use super::{Begin, BucketSet, Frame, Held, MAGIC, PROTOCOL_VERSION, number};
use crate::digest::{BucketHash, DigestEntry, KeyHash};
use crate::id::{Epoch, EventId, Offset};
use crate::key::NodeName;
use crate::limits::{
    CLOSE_REASON_BYTES_MAX, DIGEST_BUCKETS, DIGEST_ENTRIES_PER_FRAME_MAX, FRAME_BYTES_MAX,
    FRAME_DECODED_BYTES_MAX, FRAME_RECORDS_MAX, NODE_NAME_BYTES_MAX, RETRY_AFTER_MAX,
};
use crate::replication::CloseCode;
use crate::wire::WireError;
use crate::wire::cursor::Reader;
use crate::wire::record::{self, Before, Places, WireRecord};

impl<'a> Frame<'a> {
    /// Reads one frame. Every count and length is checked before anything is allocated for it.
    ///
    /// # Errors
    /// [`WireError`]
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(WireError::TooLarge {
                what: "frame",
                size: bytes.len() as u64,
                limit: FRAME_BYTES_MAX,
            });
        }
        let mut input = Reader::new(bytes);
        let frame = match input.u8()? {
            number::HELLO => decode_hello(&mut input)?,
            number::WELCOME => Self::Welcome {
                version: input.u8()?,
                incarnation: input.uuid()?,
                held: decode_held(&mut input)?,
            },
            number::START => decode_start(&mut input)?,
            number::RECORDS => decode_records(&mut input)?,
            number::ACK => Self::Ack {
                upto: input.offset()?,
            },
            number::REWIND => Self::Rewind {
                after: input.offset()?,
            },
            number::PING => Self::Ping,
            number::PONG => Self::Pong,
            number::CLOSE => decode_close(&mut input)?,
            number::PART => Self::Part {
                last: input.flag("part flag")?,
                bytes: input.rest(),
            },
            number::DIGEST_LIST => Self::DigestList(decode_entries(&mut input)?),
            number::DIGEST_BUCKETS => decode_buckets(&mut input)?,
            number::DIGEST_REQUEST => Self::DigestRequest(BucketSet(input.array()?)),
            number::DIGEST_ENTRIES => Self::DigestEntries {
                last: input.flag("entries flag")?,
                entries: decode_entries(&mut input)?,
            },
            number::STAGE => {
                let seq = input.varint()?;
                let mut before = Before::first(Offset::ZERO);
                let records = decode_list(&mut input, Places::Absent, &mut before)?;
                Self::Stage { seq, records }
            }
            number::DROP => {
                let seq = input.varint()?;
                let count = input.size("keys to drop", DIGEST_ENTRIES_PER_FRAME_MAX)?;
                let mut keys = Vec::with_capacity(count.min(input.left() / 16));
                for _ in 0..count {
                    keys.push(KeyHash::new(input.array()?));
                }
                Self::Drop { seq, keys }
            }
            number::STAGED => Self::Staged {
                seq: input.varint()?,
            },
            number::END => Self::End {
                upto: input.offset()?,
            },
            value => {
                return Err(WireError::Unknown {
                    what: "frame type",
                    value,
                });
            }
        };
        input.end()?;
        Ok(frame)
    }
}

fn decode_held(input: &mut Reader<'_>) -> Result<Option<Held>, WireError> {
    let flags = input.u8()?;
    if flags == 0 {
        return Ok(None);
    }
    if flags & 1 == 0 || flags > 0b1111 {
        return Err(WireError::Unknown {
            what: "flags of what is held",
            value: flags,
        });
    }
    let epoch = Epoch::new(input.uuid()?);
    let have = input.offset()?;
    let last = match flags & 0b10 {
        0 => None,
        _ => Some((input.offset()?, EventId::new(input.uuid()?))),
    };
    Ok(Some(Held {
        epoch,
        have,
        last,
        empty: flags & 0b100 != 0,
        unfinished: flags & 0b1000 != 0,
    }))
}

fn decode_hello<'a>(input: &mut Reader<'a>) -> Result<Frame<'a>, WireError> {
    if input.array()? != MAGIC {
        return Err(WireError::Name);
    }
    let version_min = input.u8()?;
    let version_max = input.u8()?;
    let node = NodeName::new(input.text("node name", NODE_NAME_BYTES_MAX)?)
        .map_err(|_| WireError::Name)?;
    let incarnation = input.uuid()?;
    // A newer edge may say more; what follows is for later versions to read.
    let held = decode_held(input)?;
    if version_max > PROTOCOL_VERSION {
        input.rest();
    }
    Ok(Frame::Hello {
        version_min,
        version_max,
        node,
        incarnation,
        held,
    })
}

fn decode_start<'a>(input: &mut Reader<'a>) -> Result<Frame<'a>, WireError> {
    let epoch = Epoch::new(input.uuid()?);
    let kind = input.u8()?;
    let offset = input.offset()?;
    let begin = match kind {
        0 => Begin::Resume {
            after: offset,
            upto: input.offset_after(offset)?,
        },
        1 => Begin::Reconcile { upto: offset },
        value => {
            return Err(WireError::Unknown {
                what: "kind of start",
                value,
            });
        }
    };
    Ok(Frame::Start { epoch, begin })
}

fn decode_records<'a>(input: &mut Reader<'a>) -> Result<Frame<'a>, WireError> {
    let after = input.offset()?;
    let upto = input.offset_after(after)?;
    let mut before = Before::first(after);
    let records = decode_list(input, Places::Given, &mut before)?;
    if upto <= after
        || records
            .last()
            .is_some_and(|record| record.header.offset > upto)
    {
        return Err(WireError::Order);
    }
    Ok(Frame::Records {
        after,
        upto,
        records,
    })
}

fn decode_list<'a>(
    input: &mut Reader<'a>,
    places: Places,
    before: &mut Before,
) -> Result<Vec<WireRecord<'a>>, WireError> {
    /// No record is shorter, so a count cannot make us allocate more than the frame's own size.
    const RECORD_BYTES_MIN: usize = 16;
    let count = input.size("records", FRAME_RECORDS_MAX)?;
    let mut records = Vec::with_capacity(count.min(input.left() / RECORD_BYTES_MIN));
    let mut decoded = 0;
    for _ in 0..count {
        let record = record::decode(input, places, before)?;
        decoded += record.body.decoded_len();
        if decoded > FRAME_DECODED_BYTES_MAX {
            return Err(WireError::TooLarge {
                what: "bodies of a frame",
                size: decoded as u64,
                limit: FRAME_DECODED_BYTES_MAX,
            });
        }
        records.push(record);
    }
    Ok(records)
}

fn decode_close<'a>(input: &mut Reader<'a>) -> Result<Frame<'a>, WireError> {
    let number = input.u8()?;
    let code = CloseCode::from_number(number).ok_or(WireError::Unknown {
        what: "close code",
        value: number,
    })?;
    let reason = input.text("close reason", CLOSE_REASON_BYTES_MAX)?;
    let retry_after = match input.varint()? {
        0 => None,
        // Nobody may keep a peer away for longer.
        millis => Some(Duration::from_millis(millis).min(RETRY_AFTER_MAX)),
    };
    Ok(Frame::Close {
        code,
        reason,
        retry_after,
    })
}

fn decode_entries(input: &mut Reader<'_>) -> Result<Vec<DigestEntry>, WireError> {
    let count = input.size("digest entries", DIGEST_ENTRIES_PER_FRAME_MAX)?;
    let mut entries: Vec<DigestEntry> = Vec::with_capacity(count.min(input.left() / 32));
    for _ in 0..count {
        let entry = DigestEntry::from_parts(input.array()?, input.array()?);
        if entries.last().is_some_and(|before| before.key >= entry.key) {
            return Err(WireError::Order);
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn decode_buckets<'a>(input: &mut Reader<'a>) -> Result<Frame<'a>, WireError> {
    let mut buckets = Box::new([BucketHash::default(); DIGEST_BUCKETS]);
    for bucket in buckets.iter_mut() {
        *bucket = BucketHash::new(input.array()?);
    }
    Ok(Frame::DigestBuckets(buckets))
}
