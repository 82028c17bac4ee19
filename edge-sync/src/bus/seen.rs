//! Which messages were taken already.
//!
//! Whoever sends with QoS 1 sends again what was not acknowledged: with the same packet id, the
//! same content, and marked as a duplicate. All three together name a message: an id is given
//! to another message only once it is free, and that one comes unmarked first. Not everybody
//! marks what comes again. Before the id was acknowledged it is not free, so the mark is not needed;
//! after that, what is unmarked is a new message.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::mqtt::Publish;

/// Messages remembered: more than any window of messages in flight, which are what comes again.
const SEEN_MAX: usize = 4096;

#[derive(Debug)]
struct Known {
    content: u64,
    /// When it came.
    count: u64,
    is_acknowledged: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seen {
    by_id: BTreeMap<u16, Known>,
    order: VecDeque<(u16, u64)>,
    count: u64,
}

impl Seen {
    /// A message came; `true`: it was here before, and is being taken or was. `length` tells
    /// messages apart whose payload was passed over.
    pub(super) fn is_again(&mut self, publish: &Publish, length: usize) -> bool {
        let content = hash(publish, length);
        let is_again =
            |known: &Known| known.content == content && (publish.dup || !known.is_acknowledged);
        if self.by_id.get(&publish.id).is_some_and(is_again) {
            return true;
        }
        self.count += 1;
        let known = Known {
            content,
            count: self.count,
            is_acknowledged: false,
        };
        self.by_id.insert(publish.id, known);
        self.order.push_back((publish.id, self.count));
        if self.order.len() > SEEN_MAX
            && let Some((id, count)) = self.order.pop_front()
            && self
                .by_id
                .get(&id)
                .is_some_and(|newest| newest.count == count)
        {
            self.by_id.remove(&id);
        }
        false
    }

    /// The message with this id is acknowledged: its sender may give the id to another one.
    pub(super) fn acknowledged(&mut self, id: u16) {
        if let Some(known) = self.by_id.get_mut(&id) {
            known.is_acknowledged = true;
        }
    }

    /// The message with this id was not taken after all: when it comes again it is new.
    pub(super) fn forget(&mut self, id: u16) {
        self.by_id.remove(&id);
    }
}

fn hash(publish: &Publish, length: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    publish.topic.hash(&mut hasher);
    publish.payload.hash(&mut hasher);
    length.hash(&mut hasher);
    hasher.finish()
}
