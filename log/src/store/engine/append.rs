//! Appending: admit a batch, plan it, commit it, publish it.

use std::collections::BTreeMap;

use super::Engine;
use super::admit::{check_expectations, check_limits};
use super::plan::Plan;
use super::state::{Published, StreamState};
use crate::batch::Batch;
use crate::body::{Body, BodyHash};
use crate::error::AppendError;
use crate::id::{Revision, StreamId};
use crate::store::keys::StreamNo;
use crate::store::kv::{Kv, Writes};
use crate::store::{Appended, StoreStats};

impl<K: Kv> Engine<K> {
    pub(super) fn append_locked(&self, batch: &Batch) -> Result<Appended, AppendError> {
        check_limits(batch)?;
        let outcome = {
            let view = self.kv.written();
            let published = self.published.read();
            check_expectations(&view, &published, &batch.expect)?;
            let mut plan = Plan::new(&view, &published, batch);
            for change in &batch.streams {
                plan.change_stream(change)?;
            }
            for entry in &batch.entries {
                plan.entry(entry)?;
            }
            plan.finish(batch)?
        };
        if outcome.writes.0.is_empty() {
            return Ok(outcome.appended);
        }
        self.kv
            .commit(outcome.writes)
            .inspect_err(|error| self.fail(error))
            .map_err(AppendError::Engine)?;
        let mut bodies = self.bodies.lock();
        for (hash, body) in &outcome.bodies {
            bodies.insert(*hash, body);
        }
        drop(bodies);
        self.published.write().appended(outcome.changes);
        Ok(outcome.appended)
    }
}

/// What an append changes of the published state.
pub(super) struct Changes {
    /// Changed streams; `None`: dropped.
    pub(super) streams: BTreeMap<StreamId, Option<StreamState>>,
    pub(super) dropped: Vec<StreamNo>,
    pub(super) written: Revision,
    pub(super) next_stream: u32,
    pub(super) superseded_bytes: u64,
    pub(super) stats: StoreStats,
}

pub(super) struct Outcome {
    pub(super) writes: Writes,
    pub(super) bodies: BTreeMap<BodyHash, Body>,
    pub(super) appended: Appended,
    pub(super) changes: Changes,
}

impl Published {
    fn appended(&mut self, changes: Changes) {
        let Changes {
            streams,
            dropped,
            written,
            next_stream,
            superseded_bytes,
            stats,
        } = changes;
        for (name, state) in streams {
            if let Some(old) = self.streams.remove(&name) {
                self.names.remove(&old.value.no);
            }
            if let Some(state) = state {
                self.names.insert(state.value.no, name.clone());
                if state.head() > state.durable_head {
                    self.ahead.insert(name.clone());
                }
                self.streams.insert(name, state);
            }
        }
        self.dropped.extend(dropped);
        self.marks.written = written;
        self.next_stream = next_stream;
        self.superseded_bytes = superseded_bytes;
        self.stats = stats;
        self.unsynced = true;
    }
}
