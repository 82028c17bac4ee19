//! Reading records: by revision, coalesced for a peer, by key, and back through a key's history.

use std::collections::HashMap;
use std::collections::hash_map;

use bytes::Bytes;

use super::{Engine, damaged, get, read_error};
use crate::body::{Body, BodyHash};
use crate::error::ReadError;
use crate::id::{Offset, Revision, StreamId};
use crate::key::Key;
use crate::limits::HISTORY_STEPS_MAX;
use crate::record::{Record, Slot, Stored};
use crate::store::codec::{self, BodyAt, Corrupt, LogValue};
use crate::store::keys::{self, StreamNo};
use crate::store::kv::{Kv, Space, View};
use crate::store::{Coalesced, ReadLimit};

/// A page under construction.
struct Page {
    limit: ReadLimit,
    records: Vec<Stored>,
    bytes: usize,
}

impl Page {
    const fn new(limit: ReadLimit) -> Self {
        Self {
            limit,
            records: Vec::new(),
            bytes: 0,
        }
    }

    /// Whether a record with `bytes` of body still fits. The first always does.
    fn takes(&self, bytes: usize) -> bool {
        self.records.is_empty()
            || (self.records.len() < self.limit.records
                && self.bytes.saturating_add(bytes) <= self.limit.bytes)
    }

    fn push(&mut self, stored: Stored) {
        self.bytes += stored.record.body.len();
        self.records.push(stored);
    }
}

/// A record of the log with its place.
pub(super) struct Found {
    pub(super) key: Bytes,
    pub(super) revision: Revision,
    pub(super) value: LogValue,
}

/// The records of a stream after a revision, oldest first.
pub(super) fn log_after<V: View>(
    view: &V,
    no: StreamNo,
    after: Revision,
) -> impl Iterator<Item = Result<Found, ReadError>> + '_ {
    let from = after.next().map(|from| keys::log(no, from));
    let to = keys::after_stream(no);
    // Nothing is after the last revision there can be.
    let from = from.as_ref().map_or(to.as_slice(), <[u8; 12]>::as_slice);
    view.scan(Space::Log, from, &to).map(|pair| {
        let (key, value) = pair.map_err(read_error)?;
        found(key, &value)
    })
}

pub(super) fn found(key: Bytes, value: &Bytes) -> Result<Found, ReadError> {
    let corrupt = |corrupt| damaged(Space::Log, &key, corrupt);
    let revision = keys::log_revision(&key)
        .ok_or(Corrupt("key is too short"))
        .map_err(corrupt)?;
    let value = codec::open_record(&key, value).map_err(corrupt)?;
    Ok(Found {
        key,
        revision,
        value,
    })
}

impl<K: Kv> Engine<K> {
    pub(super) fn read_log(
        &self,
        stream: &StreamId,
        after: Revision,
        limit: ReadLimit,
    ) -> Result<Vec<Stored>, ReadError> {
        let Some((no, _)) = self.lookup(stream) else {
            return Ok(Vec::new());
        };
        let view = self.kv.durable();
        let mut page = Page::new(limit);
        for found in log_after(&view, no, after) {
            let found = found?;
            if !page.takes(found.value.body.len()) {
                break;
            }
            page.push(self.stored(&view, found)?);
        }
        Ok(page.records)
    }

    pub(super) fn read_newest_after(
        &self,
        stream: &StreamId,
        after: Offset,
        limit: ReadLimit,
    ) -> Result<Coalesced, ReadError> {
        // The head is looked up before the view is taken: the view is never behind it.
        let Some((no, head)) = self.lookup(stream) else {
            return Ok(Coalesced::default());
        };
        let view = self.kv.durable();
        let mut page = Page::new(limit);
        let mut newest = NewestOf {
            view: &view,
            no,
            known: HashMap::new(),
        };
        let mut upto = after;
        let mut is_complete = true;
        for found in log_after(&view, no, Revision::new(after.get())) {
            let found = found?;
            let passed = found.value.header.offset;
            let slot = found.value.header.op.slot();
            // A fact is superseded by nothing; state only by the newest of its key.
            if !slot.is_state() || newest.revision(&found.value.header.key, slot)? == found.revision
            {
                if !page.takes(found.value.body.len()) {
                    is_complete = false;
                    break;
                }
                page.push(self.stored(&view, found)?);
            }
            upto = passed;
        }
        if is_complete {
            upto = upto.max(head);
        }
        Ok(Coalesced {
            records: page.records,
            upto,
            is_complete,
        })
    }

    pub(super) fn scan_index(
        &self,
        stream: &StreamId,
        after: Option<(&Key, Slot)>,
        limit: ReadLimit,
    ) -> Result<Vec<Stored>, ReadError> {
        let Some((no, _)) = self.lookup(stream) else {
            return Ok(Vec::new());
        };
        let view = self.kv.durable();
        let from = match after {
            Some((key, slot)) => {
                let mut from = keys::newest(no, key, slot);
                // The next possible key: no key is a prefix of another.
                from.push(0);
                from
            }
            None => no.0.to_be_bytes().to_vec(),
        };
        let mut page = Page::new(limit);
        for pair in view.scan(Space::Newest, &from, &keys::after_stream(no)) {
            let (index_key, value) = pair.map_err(read_error)?;
            let newest = codec::open_newest(&index_key, &value)
                .map_err(|corrupt| damaged(Space::Newest, &index_key, corrupt))?;
            if !page.takes(newest.len as usize) {
                break;
            }
            page.push(self.stored_at(&view, no, newest.revision)?);
        }
        Ok(page.records)
    }

    pub(super) fn walk_back(
        &self,
        stream: &StreamId,
        key: &Key,
        slot: Slot,
        upto: Offset,
    ) -> Result<Option<Stored>, ReadError> {
        let Some((no, _)) = self.lookup(stream) else {
            return Ok(None);
        };
        let view = self.kv.durable();
        let index_key = keys::newest(no, key, slot);
        let Some(newest) = get(&view, Space::Newest, &index_key, codec::open_newest)? else {
            return Ok(None);
        };
        let mut at = newest.revision;
        for _ in 0..HISTORY_STEPS_MAX {
            if at == Revision::ZERO {
                break;
            }
            // What the history window has removed went oldest first: a gap is the end.
            let Some(found) = get_record(&view, no, at)? else {
                break;
            };
            if found.value.header.offset <= upto {
                return self.stored(&view, found).map(Some);
            }
            at = found.value.prev;
        }
        Ok(None)
    }

    /// The record that an index names.
    pub(super) fn stored_at<V: View>(
        &self,
        view: &V,
        no: StreamNo,
        revision: Revision,
    ) -> Result<Stored, ReadError> {
        match get_record(view, no, revision)? {
            Some(found) => self.stored(view, found),
            None => Err(damaged(
                Space::Log,
                &keys::log(no, revision),
                Corrupt("record is missing, the newest index names it"),
            )),
        }
    }

    fn stored<V: View>(&self, view: &V, found: Found) -> Result<Stored, ReadError> {
        let Found {
            key,
            revision,
            value:
                LogValue {
                    header,
                    since,
                    body,
                    ..
                },
        } = found;
        let body = match body {
            BodyAt::Inline(body) => body,
            BodyAt::Hashed { hash, len } => {
                let cached = self.bodies.lock().get(&hash);
                let body = match cached {
                    Some(body) => Some(body),
                    None => self.load_body(view, &hash)?,
                };
                body.filter(|body| body.len() == len as usize)
                    .ok_or_else(|| {
                        damaged(
                            Space::Log,
                            &key,
                            Corrupt("body is missing or has another length"),
                        )
                    })?
            }
        };
        Ok(Stored {
            revision,
            since,
            record: Record { header, body },
        })
    }

    pub(super) fn load_body<V: View>(
        &self,
        view: &V,
        hash: &BodyHash,
    ) -> Result<Option<Body>, ReadError> {
        let bytes = get(view, Space::Bodies, hash.as_bytes(), codec::open_bytes)?;
        Ok(bytes.map(|bytes| {
            let body = Body::new(bytes);
            self.bodies.lock().insert(*hash, &body);
            body
        }))
    }
}

pub(super) fn get_record<V: View>(
    view: &V,
    no: StreamNo,
    revision: Revision,
) -> Result<Option<Found>, ReadError> {
    let key = keys::log(no, revision);
    let value = view.get(Space::Log, &key).map_err(read_error)?;
    value
        .map(|value| found(Bytes::copy_from_slice(&key), &value))
        .transpose()
}

/// The newest revision of keys, each looked up once per page however often it changed.
struct NewestOf<'v, V> {
    view: &'v V,
    no: StreamNo,
    known: HashMap<Vec<u8>, Revision>,
}

impl<V: View> NewestOf<'_, V> {
    fn revision(&mut self, key: &Key, slot: Slot) -> Result<Revision, ReadError> {
        match self.known.entry(keys::newest(self.no, key, slot)) {
            hash_map::Entry::Occupied(known) => Ok(*known.get()),
            hash_map::Entry::Vacant(unknown) => {
                let newest = get(self.view, Space::Newest, unknown.key(), codec::open_newest)?;
                // No entry: the newest was a tombstone that is trimmed, nothing of the key counts.
                let revision = newest.map_or(Revision::ZERO, |newest| newest.revision);
                Ok(*unknown.insert(revision))
            }
        }
    }
}
