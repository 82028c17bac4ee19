//! Readings that wait at a node for the cloud: rows of its store.
//!
//! The layout is that of `edge-sync/src/twins/history/rows.rs`: a key is the kind `2`, then
//! namespace, name and uid of the device, each after its length as a byte, then a number; a value is
//! the version `1` and a chunk.

use bytes::{BufMut as _, Bytes, BytesMut};
use causeway_log::Store;
use causeway_log::batch::Table;
use causeway_log::error::ReadError;

use super::Asked;
use crate::twin::history::Chunk;

const TABLE: Table = Table("readings");
const CHUNK: u8 = 2;
const VERSION: u8 = 1;
/// Rows read in one step.
const ROWS_PER_READ: usize = 256;

/// The chunks that wait of a device in whatever life, oldest first, page by page.
pub(super) struct Waiting<'a> {
    store: &'a dyn Store,
    prefix: Bytes,
    from: Option<Bytes>,
}

impl<'a> Waiting<'a> {
    pub(super) fn of(store: &'a dyn Store, asked: &Asked) -> Self {
        let mut prefix = BytesMut::new();
        prefix.put_u8(CHUNK);
        for part in [&asked.namespace, &asked.name] {
            // No part of a key is longer.
            let part = &part.as_bytes()[..part.len().min(usize::from(u8::MAX))];
            prefix.put_u8(u8::try_from(part.len()).unwrap_or(u8::MAX));
            prefix.put_slice(part);
        }
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
            let rows = self.store.rows(TABLE, &from, ROWS_PER_READ)?;
            let is_last = rows.len() < ROWS_PER_READ;
            for (key, value) in rows {
                if !key.starts_with(&self.prefix) {
                    return Ok(chunks);
                }
                let mut after = BytesMut::from(&*key);
                after.put_u8(0);
                self.from = Some(after.freeze()).filter(|_| !is_last);
                let chunk = value.strip_prefix(&[VERSION]);
                chunks.extend(chunk.and_then(|chunk| Chunk::decode(chunk).ok()));
            }
        }
        Ok(chunks)
    }
}
