//! What waits of one node.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_log::{Key, Record, Revision, Slot};

use super::Class;
use crate::cluster::Answered;

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Everything up to here was taken in.
    pub(super) read: Revision,
    /// There may be more after it.
    pub(super) more: bool,
    pub(super) items: BTreeMap<Revision, Item>,
    pub(super) under_way: usize,
    /// Nothing of it can begin before.
    pub(super) due: Duration,
    pub(super) committed: Revision,
    pub(super) committing: bool,
    pub(super) answers: Vec<Answered>,
    /// Objects that the answers are about which are being committed.
    pub(super) settling: Vec<Key>,
}

/// A record that waits or is under way.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) record: Record,
    pub(super) class: Class,
    pub(super) under_way: bool,
    pub(super) attempts: u32,
    pub(super) due: Duration,
    pub(super) since: Duration,
}

impl Item {
    /// A record that nobody has begun with.
    pub(super) fn new(record: Record, now: Duration) -> Self {
        Self {
            class: Class::of(&record),
            record,
            under_way: false,
            attempts: 0,
            due: Duration::ZERO,
            since: now,
        }
    }
}

impl Lane {
    /// Takes out statuses of `key` that wait and are older; gives how many bytes they had.
    pub(super) fn supersede(&mut self, key: &Key, newer: Revision) -> usize {
        let mut bytes = 0;
        self.items.retain(|revision, item| {
            let header = &item.record.header;
            let goes = *revision < newer
                && !item.under_way
                && header.op.slot() == Slot::Status
                && header.key == *key;
            if goes {
                bytes += item.record.body.len();
            }
            !goes
        });
        bytes
    }

    pub(super) fn has_newer_status(&self, key: &Key, than: Revision) -> bool {
        self.items.iter().any(|(revision, item)| {
            let header = &item.record.header;
            *revision > than && header.op.slot() == Slot::Status && header.key == *key
        })
    }

    /// What may begin once it is due: the first of each object. A request looks at what was answered
    /// before, so it waits until that is durable.
    fn ready(&self) -> impl Iterator<Item = (Revision, &Item)> {
        let answers = self.answers.iter().map(|answered| &answered.key);
        let unsettled: BTreeSet<&Key> = answers.chain(&self.settling).collect();
        let mut busy: BTreeSet<&Key> = BTreeSet::new();
        self.items.iter().filter_map(move |(revision, item)| {
            let key = &item.record.header.key;
            let is_first = busy.insert(key);
            let waits = item.class == Class::Request && unsettled.contains(key);
            (is_first && !item.under_way && !waits).then_some((*revision, item))
        })
    }

    /// Begins the most important thing whose object has nothing earlier to be done.
    pub(super) fn start(&mut self, now: Duration) -> Option<(Revision, Record)> {
        let mut best: Option<(Class, Revision)> = None;
        let mut due = Duration::MAX;
        for (revision, item) in self.ready() {
            if item.due > now {
                due = due.min(item.due);
            } else if best.is_none_or(|(class, _)| item.class < class) {
                best = Some((item.class, revision));
            }
        }
        let Some((_, revision)) = best else {
            self.due = due;
            return None;
        };
        self.under_way += 1;
        let item = self.items.get_mut(&revision)?;
        item.under_way = true;
        Some((revision, item.record.clone()))
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.ready().map(|(_, item)| item.due).min()
    }

    /// Nothing up to here is left to do.
    pub(super) fn done(&self) -> Revision {
        match self.items.first_key_value() {
            Some((first, _)) => Revision::new(first.get().saturating_sub(1)).max(self.committed),
            None => self.read,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.more
            && !self.committing
            && self.items.is_empty()
            && self.answers.is_empty()
            && self.committed >= self.read
    }
}
