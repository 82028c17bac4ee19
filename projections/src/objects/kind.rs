//! All names of one resource, and the order in which they changed.

use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use causeway_log::{Key, Op, Revision, Stored};

use super::Tombstone;
use super::entry::Entry;
use super::name::{Name, Side};

/// Namespace and name.
pub(super) type NameKey = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
pub(super) struct Kind {
    names: BTreeMap<NameKey, Name>,
    /// Which name last changed at a revision; one place per served object.
    present: BTreeMap<Revision, NameKey>,
    gone: BTreeMap<Revision, Tombstone>,
    pub(super) latest: Revision,
}

/// What a record changed in its kind.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Something that is served changed.
    pub(super) changed: bool,
    /// The name serves nothing now.
    pub(super) gone: bool,
    /// Objects more than before: -1, 0 or 1.
    pub(super) grown: isize,
    /// Tombstones that were added; nearly always none or one.
    pub(super) buried: Vec<Tombstone>,
}

impl Kind {
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Entry> {
        self.names.get(&(namespace.into(), name.into()))?.served()
    }

    /// Folds a record into the object of `key`: its own, or, of a Device, into its DeviceStatus.
    pub(super) fn absorb(&mut self, side: Side, key: &Key, stored: &Stored) -> Outcome {
        let is_own = stored.record.header.key.resource == key.resource;
        let at: NameKey = (Arc::clone(&key.namespace), Arc::clone(&key.name));
        let op = stored.record.header.op;
        let name = self.names.entry(at.clone()).or_default();
        let before = name.served().map(Entry::modified);
        // What may go with this record, as it was.
        let last = name
            .served()
            .filter(|it| it.key.uid != key.uid || !may_stay(op))
            .cloned();
        let took = if is_own {
            name.absorb(side, key, stored)
        } else {
            name.project(side, key, stored)
        };
        if !took {
            if name.is_empty() {
                self.names.remove(&at);
            }
            return Outcome::default();
        }
        let served = name.served();
        let after = served.map(Entry::modified);
        if let Some(before) = before {
            self.present.remove(&before);
        }
        if let Some(after) = after {
            self.present.insert(after, at.clone());
        }
        let displaced = last.filter(|last| served.is_none_or(|it| it.key.uid != last.key.uid));
        let mut outcome = Outcome {
            changed: before != after || displaced.is_some(),
            gone: after.is_none(),
            grown: isize::from(after.is_some()) - isize::from(before.is_some()),
            buried: Vec::new(),
        };
        if outcome.changed {
            self.latest = self.latest.max(stored.revision);
        }
        outcome.buried = name.bury(displaced, stored.revision);
        for tombstone in &outcome.buried {
            self.latest = self.latest.max(tombstone.revision);
            self.gone.insert(tombstone.revision, tombstone.clone());
        }
        outcome
    }

    /// Forgets the tombstone of a revision; says how many bytes it held.
    pub(super) fn exhume(&mut self, revision: Revision) -> usize {
        let Some(tombstone) = self.gone.remove(&revision) else {
            return 0;
        };
        let key = &tombstone.last.key;
        let at = (Arc::clone(&key.namespace), Arc::clone(&key.name));
        if let Some(name) = self.names.get_mut(&at) {
            name.forget(key, revision);
            if name.is_empty() {
                self.names.remove(&at);
            }
        }
        tombstone.last.bytes()
    }

    /// Forgets a fact without a tombstone; says whether it was there.
    pub(super) fn drop_fact(&mut self, key: &Key, revision: Revision) -> bool {
        let at = (Arc::clone(&key.namespace), Arc::clone(&key.name));
        let Some(name) = self.names.get_mut(&at) else {
            return false;
        };
        let before = name.served().map(Entry::modified);
        name.forget_fact(key, revision);
        let dropped = name.served().is_none() && before.is_some();
        if name.is_empty() {
            self.names.remove(&at);
        }
        if dropped && let Some(before) = before {
            self.present.remove(&before);
        }
        dropped
    }

    pub(super) fn list(
        &self,
        namespace: Option<&str>,
        after: Option<(&str, &str)>,
    ) -> impl Iterator<Item = &Entry> + use<'_> {
        let from = match (after, namespace) {
            (Some((namespace, name)), _) => Bound::Excluded((namespace.into(), name.into())),
            (None, Some(namespace)) => Bound::Included((namespace.into(), "".into())),
            (None, None) => Bound::Unbounded,
        };
        let namespace: Option<Arc<str>> = namespace.map(Into::into);
        self.names
            .range::<NameKey, _>((from, Bound::Unbounded))
            .take_while(move |((at, _), _)| namespace.as_ref().is_none_or(|wanted| wanted == at))
            .filter_map(|(_, name)| name.served())
    }

    pub(super) fn changes_after(&self, after: Revision) -> Changes<'_> {
        let range = (Bound::Excluded(after), Bound::Unbounded);
        Changes {
            names: &self.names,
            present: self.present.range(range).peekable(),
            gone: if causeway_log::mutant::is_on("watch-forgets-deletes") {
                self.gone.range(Revision::ZERO..Revision::ZERO).peekable()
            } else {
                self.gone.range(range).peekable()
            },
        }
    }
}

/// Whether a record leaves a served object of its own uid in place.
const fn may_stay(op: Op) -> bool {
    match op {
        Op::Put | Op::Status | Op::Twin | Op::Fact => true,
        Op::Delete | Op::Apply | Op::Reject => false,
    }
}

/// See [`super::Objects::changes_after`].
pub(super) struct Changes<'a> {
    names: &'a BTreeMap<NameKey, Name>,
    present: Peekable<btree_map::Range<'a, Revision, NameKey>>,
    gone: Peekable<btree_map::Range<'a, Revision, Tombstone>>,
}

impl<'a> Iterator for Changes<'a> {
    type Item = super::Change<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let present = self.present.peek().map(|(revision, _)| **revision);
        let gone = self.gone.peek().map(|(revision, _)| **revision);
        // At one revision the old life goes before the new one comes.
        if gone.is_some_and(|gone| present.is_none_or(|present| gone <= present)) {
            return self
                .gone
                .next()
                .map(|(_, tombstone)| super::Change::Gone(tombstone));
        }
        let (_, at) = self.present.next()?;
        let entry = self.names.get(at).and_then(Name::served);
        Some(super::Change::Present(
            entry.expect("a listed change has an object"),
        ))
    }
}
