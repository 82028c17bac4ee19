//! Which messages were taken already.
//!
//! Whoever sends with QoS 1 sends again what was not acknowledged: with the same packet id, the
//! same content, and marked as a duplicate. All three together name a message: an id is given
//! to another message only once it is free, and that one comes unmarked first.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::mqtt::Publish;

/// Messages remembered: more than any window of messages in flight, which are what comes again.
const SEEN_MAX: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The content of each packet id, and when it came.
    content: BTreeMap<u16, (u64, u64)>,
    order: VecDeque<(u16, u64)>,
    count: u64,
}

impl Seen {
    /// A message came; `true`: it was here before, and is being taken or was. `length` tells
    /// messages apart whose payload was passed over.
    pub(super) fn is_again(&mut self, publish: &Publish, length: usize) -> bool {
        let content = hash(publish, length);
        let known = self.content.get(&publish.id);
        if publish.dup && known.is_some_and(|(known, _)| *known == content) {
            return true;
        }
        self.count += 1;
        self.content.insert(publish.id, (content, self.count));
        self.order.push_back((publish.id, self.count));
        if self.order.len() > SEEN_MAX
            && let Some((id, count)) = self.order.pop_front()
            && self
                .content
                .get(&id)
                .is_some_and(|(_, newest)| *newest == count)
        {
            self.content.remove(&id);
        }
        false
    }

    /// The message with this id was not taken after all: when it comes again it is new.
    pub(super) fn forget(&mut self, id: u16) {
        self.content.remove(&id);
    }
}

fn hash(publish: &Publish, length: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    publish.topic.hash(&mut hasher);
    publish.payload.hash(&mut hasher);
    length.hash(&mut hasher);
    hasher.finish()
}
