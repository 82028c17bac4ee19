//! Objects that the cloud ends before the node has finished with them, such as pods deleted by force.
//!
//! What the edge reports of an object goes with the `Delete` in the up stream. The node confirms the
//! end of a pod that it was asked to stop; of one that is gone at once it can confirm nothing, as it
//! is not served any more. So the edge ends its own report, in the batch that brings the end.

use causeway_log::batch::{Entry, Place};
use causeway_log::error::ReadError;
use causeway_log::{Batch, Body, Draft, EventId, Key, Op, Slot};

use super::EdgeMachine;

impl EdgeMachine {
    /// Adds a `Delete` for every ended object of which something is reported.
    pub(super) fn end_reports(&self, ended: Vec<Key>, batch: &mut Batch) -> Result<(), ReadError> {
        for key in ended {
            if !self.is_reported(&key, batch)? {
                continue;
            }
            let time = self.clock.now();
            let [entropy @ .., _, _, _, _, _, _] = self.clock.entropy();
            batch.entries.push(Entry {
                stream: self.up.clone(),
                place: Place::Next,
                draft: Draft {
                    id: EventId::compose(time, entropy),
                    cause: None,
                    time,
                    key,
                    version: None,
                    op: Op::Delete,
                    body: Body::default(),
                },
            });
        }
        Ok(())
    }

    /// Whether the up stream reports a status whose end it does not report.
    fn is_reported(&self, key: &Key, batch: &Batch) -> Result<bool, ReadError> {
        let mut own = batch.entries.iter().filter(|entry| {
            let draft = &entry.draft;
            entry.stream == self.up && draft.key == *key && draft.op.slot() != Slot::Request
        });
        if let Some(last) = own.next_back() {
            return Ok(last.draft.op == Op::Status);
        }
        let newest = |slot| self.store.newest(&self.up, key, slot);
        let Some(status) = newest(Slot::Status)? else {
            return Ok(false);
        };
        let end = newest(Slot::Object)?;
        Ok(end.is_none_or(|end| end.revision < status.revision))
    }
}
