//! What may go in a trim.

use std::collections::BTreeMap;

use causeway_log::id::StreamId;
use causeway_log::record::Op;
use causeway_log::store::conformance::{down, up};
use causeway_log::{Key, Revision, Slot, Store, Stored};

use super::{Stream, identity};

/// How it was before a trim.
pub(super) struct Past {
    pub(super) streams: BTreeMap<StreamId, Stream>,
    pub(super) window_end: Revision,
}

impl Past {
    fn newest(&self, name: &StreamId, key: &Key, slot: Slot) -> Option<&Stored> {
        let stream = self.streams.get(name)?;
        let revision = stream.newest.get(&(key.clone(), slot))?;
        stream.all.get(revision)
    }

    /// Whether a stream had no object of a key, and since when, if it was within the window.
    fn is_gone(&self, name: &StreamId, key: &Key) -> bool {
        self.newest(name, key, Slot::Object).is_none_or(|object| {
            object.record.header.op == Op::Delete && object.revision <= self.window_end
        })
    }

    /// Whether a newest record, which is acked and outside of the window, may go.
    pub(super) fn may_end(&self, store: &dyn Store, name: &StreamId, stored: &Stored) -> bool {
        let header = &stored.record.header;
        let (key, slot) = identity(stored);
        match (slot, name) {
            (Slot::Object, StreamId::Node(..)) if *name == up() => {
                header.op == Op::Delete && self.is_gone(&down(), &key)
            }
            (Slot::Object, _) => header.op == Op::Delete,
            (Slot::Status | Slot::Twin, _) => {
                let end = self.newest(name, &key, Slot::Object);
                end.is_some_and(|end| {
                    end.record.header.op == Op::Delete
                        && end.revision > stored.revision
                        && end.revision <= self.window_end
                })
            }
            (Slot::Request, StreamId::Node(..)) if *name == up() => {
                let Some(answer) = self.newest(&down(), &key, Slot::Request) else {
                    return false;
                };
                let has_object = self.newest(&down(), &key, Slot::Object).is_some();
                answer.record.header.cause == Some(header.id)
                    && answer.revision <= self.window_end
                    && self.is_gone(&down(), &key)
                    && (has_object || answer.record.header.op == Op::Reject)
            }
            (Slot::Request, StreamId::Node(..)) => {
                let request = store.newest(&up(), &key, Slot::Request).unwrap();
                request.is_none() && self.is_gone(name, &key)
            }
            (Slot::Request, StreamId::Cluster) => false,
            (Slot::Fact, _) => true,
        }
    }
}
