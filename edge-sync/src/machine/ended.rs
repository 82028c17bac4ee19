//! Objects that the cloud ends before the node has finished with them, such as pods deleted by force.
//!
//! What the edge reports of an object goes with the `Delete` in the up stream. The node confirms the
//! end of a pod that it was asked to stop; of one that is gone at once it can confirm nothing, as it
//! is not served any more. So the edge ends its own report, in the batch that brings the end.

use causeway_log::batch::{Entry, Place};
use causeway_log::error::ReadError;
use causeway_log::{Batch, Body, Draft, EventId, Key, Op, Revision, Slot};

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

    /// Whether the up stream reports a status, or the twin of a device, whose end it does not report.
    fn is_reported(&self, key: &Key, batch: &Batch) -> Result<bool, ReadError> {
        let mut own = batch.entries.iter().filter(|entry| {
            let draft = &entry.draft;
            entry.stream == self.up && draft.key == *key && draft.op.slot() != Slot::Request
        });
        if let Some(last) = own.next_back() {
            return Ok(matches!(last.draft.op, Op::Status | Op::Twin));
        }
        let newest = |slot| -> Result<Option<Revision>, ReadError> {
            let newest = self.store.newest(&self.up, key, slot)?;
            Ok(newest.map(|stored| stored.revision))
        };
        let reported = newest(Slot::Status)?.max(newest(Slot::Twin)?);
        // No end is before any revision.
        Ok(reported > newest(Slot::Object)?)
    }
}
