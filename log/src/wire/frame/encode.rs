//! Frames to bytes.

use std::time::Duration;

use bytes::Bytes;

use super::{Begin, BucketSet, Frame, Held, MAGIC, number};
use crate::digest::{Buckets, DigestEntry, KeyHash};
use crate::id::{Epoch, Offset};
use crate::record::Header;
use crate::replication::CloseCode;
use crate::wire::body::Encoded;
use crate::wire::cursor::Write;
use crate::wire::record::{self, Before, Places, WireRecord};

impl Frame<'_> {
    /// The bytes of the frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        match self {
            Self::Hello {
                version_min,
                version_max,
                node,
                incarnation,
                held,
            } => {
                put_versions(&mut out, *version_min, *version_max);
                out.put_prefixed(node.as_str().as_bytes());
                out.put_uuid(*incarnation);
                put_held(&mut out, held.as_ref());
            }
            Self::Welcome {
                version,
                incarnation,
                held,
            } => {
                out.put_u8(number::WELCOME);
                out.put_u8(*version);
                out.put_uuid(*incarnation);
                put_held(&mut out, held.as_ref());
            }
            Self::Start { epoch, begin } => put_start(&mut out, *epoch, *begin),
            Self::Records {
                after,
                upto,
                records,
            } => {
                return encode_all(RecordsFrame::new(*after), records).finish(*upto);
            }
            Self::Stage { seq, records } => {
                return encode_all(RecordsFrame::stage(), records).finish_stage(*seq);
            }
            Self::Ack { upto } => put_number(&mut out, number::ACK, upto.get()),
            Self::Rewind { after } => put_number(&mut out, number::REWIND, after.get()),
            Self::Ping => out.put_u8(number::PING),
            Self::Pong => out.put_u8(number::PONG),
            Self::Close {
                code,
                reason,
                retry_after,
            } => put_close(&mut out, *code, reason, *retry_after),
            Self::Part { last, bytes } => {
                out.put_u8(number::PART);
                out.put_flag(*last);
                out.put(bytes);
            }
            Self::DigestList(entries) => {
                out.put_u8(number::DIGEST_LIST);
                put_entries(&mut out, entries);
            }
            Self::DigestBuckets(buckets) => put_buckets(&mut out, buckets),
            Self::DigestRequest(BucketSet(bits)) => {
                out.put_u8(number::DIGEST_REQUEST);
                out.put(bits);
            }
            Self::DigestEntries { last, entries } => {
                out.put_u8(number::DIGEST_ENTRIES);
                out.put_flag(*last);
                put_entries(&mut out, entries);
            }
            Self::Drop { seq, keys } => put_drop(&mut out, *seq, keys),
            Self::Staged { seq } => put_number(&mut out, number::STAGED, *seq),
            Self::End { upto } => put_number(&mut out, number::END, upto.get()),
        }
        out.into()
    }
}

/// A `Records` or `Stage` frame in the making.
#[derive(Debug)]
pub(crate) struct RecordsFrame {
    after: Offset,
    places: Places,
    before: Before,
    records: Vec<u8>,
    count: usize,
}

impl RecordsFrame {
    pub(crate) fn new(after: Offset) -> Self {
        let before = Before::first(after);
        Self {
            after,
            places: Places::Given,
            before,
            records: Vec::new(),
            count: 0,
        }
    }

    pub(crate) fn stage() -> Self {
        Self {
            places: Places::Absent,
            ..Self::new(Offset::ZERO)
        }
    }

    pub(crate) fn push(&mut self, header: &Header, body: &Encoded) {
        record::encode(
            &mut self.records,
            header,
            body,
            self.places,
            &mut self.before,
        );
        self.count += 1;
    }

    /// Bytes so far.
    pub(crate) const fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn finish(self, upto: Offset) -> Bytes {
        let mut out = Vec::with_capacity(self.records.len() + 24);
        out.put_u8(number::RECORDS);
        out.put_varint(self.after.get());
        out.put_varint(upto.ahead_of(self.after));
        out.put_size(self.count);
        out.put(&self.records);
        out.into()
    }

    pub(crate) fn finish_stage(self, seq: u64) -> Bytes {
        let mut out = Vec::with_capacity(self.records.len() + 16);
        put_number(&mut out, number::STAGE, seq);
        out.put_size(self.count);
        out.put(&self.records);
        out.into()
    }
}

fn encode_all(mut frame: RecordsFrame, records: &[WireRecord<'_>]) -> RecordsFrame {
    for record in records {
        frame.push(&record.header, &Encoded::from(&record.body));
    }
    frame
}

fn put_number(out: &mut Vec<u8>, kind: u8, value: u64) {
    out.put_u8(kind);
    out.put_varint(value);
}

fn put_versions(out: &mut Vec<u8>, min: u8, max: u8) {
    out.put_u8(number::HELLO);
    out.put(&MAGIC);
    out.put_u8(min);
    out.put_u8(max);
}

fn put_start(out: &mut Vec<u8>, epoch: Epoch, begin: Begin) {
    out.put_u8(number::START);
    out.put_uuid(epoch.uuid());
    match begin {
        Begin::Resume { after, upto } => {
            out.put_u8(0);
            out.put_varint(after.get());
            out.put_varint(upto.ahead_of(after));
        }
        Begin::Reconcile { upto } => {
            out.put_u8(1);
            out.put_varint(upto.get());
        }
    }
}

fn put_close(out: &mut Vec<u8>, code: CloseCode, reason: &str, retry_after: Option<Duration>) {
    out.put_u8(number::CLOSE);
    out.put_u8(code as u8);
    out.put_prefixed(reason.as_bytes());
    // Zero says nothing, so the shortest wait is one.
    let millis = retry_after.map_or(0, |after| after.as_millis().max(1));
    out.put_varint(u64::try_from(millis).unwrap_or(u64::MAX));
}

fn put_buckets(out: &mut Vec<u8>, buckets: &Buckets) {
    out.put_u8(number::DIGEST_BUCKETS);
    buckets.iter().for_each(|bucket| out.put(bucket.as_bytes()));
}

fn put_drop(out: &mut Vec<u8>, seq: u64, keys: &[KeyHash]) {
    put_number(out, number::DROP, seq);
    out.put_size(keys.len());
    keys.iter().for_each(|key| out.put(key.as_bytes()));
}

fn put_held(out: &mut Vec<u8>, held: Option<&Held>) {
    let Some(held) = held else {
        out.put_u8(0);
        return;
    };
    out.put_u8(
        1 | u8::from(held.last.is_some()) << 1
            | u8::from(held.empty) << 2
            | u8::from(held.unfinished) << 3,
    );
    out.put_uuid(held.epoch.uuid());
    out.put_varint(held.have.get());
    if let Some((offset, id)) = held.last {
        out.put_varint(offset.get());
        out.put_uuid(id.uuid());
    }
}

fn put_entries(out: &mut Vec<u8>, entries: &[DigestEntry]) {
    out.put_size(entries.len());
    for entry in entries {
        out.put(entry.key.as_bytes());
        out.put(&entry.state.to_bytes());
    }
}
