//! What a batch must satisfy before anything of it is planned: limits and conditions.

use std::collections::HashSet;

use bytes::Bytes;

use super::get;
use super::state::Published;
use crate::batch::{Batch, Entry, Expect, Row};
use crate::error::AppendError;
use crate::key::{Key, Uid};
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, BODY_BYTES_MAX, BODY_INLINE_BYTES_MAX, KEY_PART_BYTES_MAX,
    ROW_KEY_BYTES_MAX,
};
use crate::record::Op;
use crate::store::codec;
use crate::store::keys;
use crate::store::kv::{Space, View};

pub(super) fn check_limits(batch: &Batch) -> Result<(), AppendError> {
    let within = |what, size, limit| {
        if size > limit {
            Err(AppendError::TooLarge { what, size, limit })
        } else {
            Ok(())
        }
    };
    within("number of records", batch.entries.len(), BATCH_RECORDS_MAX)?;
    let mut bytes = 0;
    // A body shared by the entries of a fan-out is stored once and counts once.
    let mut shared = HashSet::new();
    for Entry { draft, .. } in &batch.entries {
        let body = &draft.body;
        within("body", body.len(), BODY_BYTES_MAX)?;
        if body.len() <= BODY_INLINE_BYTES_MAX || shared.insert(body.bytes().as_ptr()) {
            bytes += body.len();
        }
        let Key {
            resource,
            namespace,
            name,
            uid,
        } = &draft.key;
        let uid = match uid {
            Uid::None | Uid::Uuid(_) => 0,
            Uid::Text(text) => text.len(),
        };
        let parts = [
            resource.group.len(),
            resource.plural.len(),
            namespace.len(),
            name.len(),
            uid,
        ];
        for part in parts {
            within("part of a key", part, KEY_PART_BYTES_MAX)?;
        }
    }
    for Row { key, value, .. } in &batch.rows {
        within("row key", key.len(), ROW_KEY_BYTES_MAX)?;
        let value = value.as_ref().map_or(0, Bytes::len);
        within("row", value, BODY_BYTES_MAX)?;
        bytes += value;
    }
    within("bytes of a batch", bytes, BATCH_BYTES_MAX)
}

pub(super) fn check_expectations<V: View>(
    view: &V,
    published: &Published,
    expectations: &[Expect],
) -> Result<(), AppendError> {
    for expect in expectations {
        let (holds, found) = match expect {
            Expect::Newest {
                stream,
                key,
                slot,
                revision,
            } => {
                let newest = match published.streams.get(stream) {
                    Some(state) => {
                        let index_key = keys::newest(state.value.no, key, *slot);
                        get(view, Space::Newest, &index_key, codec::open_newest)?
                    }
                    None => None,
                };
                let holds = match (newest, revision) {
                    (Some(newest), Some(revision)) => newest.revision == *revision,
                    (Some(newest), None) => newest.op == Op::Delete,
                    (None, revision) => revision.is_none(),
                };
                (holds, newest.map(|newest| newest.revision))
            }
            Expect::Epoch { stream, epoch } => {
                let state = published.streams.get(stream);
                (state.is_some_and(|state| state.value.epoch == *epoch), None)
            }
            Expect::Received { stream, upto } => {
                let state = published.streams.get(stream);
                (
                    state.is_some_and(|state| state.value.received == *upto),
                    None,
                )
            }
        };
        if !holds {
            return Err(AppendError::Conflict {
                failed: Box::new(expect.clone()),
                found,
            });
        }
    }
    Ok(())
}
