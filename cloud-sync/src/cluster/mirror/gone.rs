//! Lives of objects that ended lately.

use std::collections::{HashSet, VecDeque};

use causeway_log::{Key, Resource};

/// Lives that are remembered: more than can end while a question is under way.
const GONE_MAX: usize = 4096;

/// The lives that ended last.
#[derive(Debug, Default)]
pub(super) struct Gone {
    keys: HashSet<Key>,
    order: VecDeque<Key>,
}

impl Gone {
    pub(super) fn insert(&mut self, key: Key) {
        if self.keys.insert(key.clone()) {
            self.order.push_back(key);
        }
        while self.order.len() > GONE_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    pub(super) fn forget(&mut self, resource: &Resource) {
        self.keys.retain(|key| key.resource != *resource);
        self.order.retain(|key| key.resource != *resource);
    }
}
