//! What one watcher has been told, and what it is to be told next. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use causeway_log::{Body, Resource, Revision, Uid};
use causeway_projections::{Change, Entry, FieldSelector, LabelSelector, Objects, Tombstone};
use serde_json::Value;

/// Changes taken under one hold of the lock.
const PAGE: usize = 256;
/// Bytes of objects taken at a time; what a page takes in memory while it is told, beyond one object.
const PAGE_BYTES: usize = 32 * 1024;
/// Changes looked at under one hold of the lock, others' namespaces included.
const SCAN: usize = 4096;

/// What a watcher wants to see.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) resource: Resource,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) labels: LabelSelector,
    pub(super) fields: FieldSelector,
}

impl Filter {
    fn has_place(&self, namespace: &str, name: &str) -> bool {
        self.namespace
            .as_deref()
            .is_none_or(|wanted| wanted == namespace)
            && self.name.as_deref().is_none_or(|wanted| wanted == name)
    }

    fn matches(&self, object: &Value) -> bool {
        self.labels.matches(object) && self.fields.matches(object)
    }

    /// Whether an object may begin or cease to match while it lives.
    fn can_change(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_fixed()
    }
}

/// What a watcher is told of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Added,
    Modified,
    Deleted,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// A change with what is needed to tell it, taken out of the lock.
#[derive(Debug)]
pub(super) enum Taken {
    Present(Entry),
    Gone(Tombstone),
}

/// A page of changes.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) changes: Vec<Taken>,
    /// Everything up to here is in the page, or was before.
    pub(super) upto: Revision,
    /// More is there already.
    pub(super) more: bool,
}

/// A watcher cannot go on from where it is: deletions are forgotten, or its revision belongs to
/// another life of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooOld {
    pub(super) asked: Revision,
    pub(super) oldest: Revision,
}

/// The place of one watcher.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) filter: Filter,
    /// Everything up to here has been told.
    pub(super) at: Revision,
    /// Which objects the client has as matching; kept only when that can change.
    matching: BTreeSet<Uid>,
    /// Up to here the client's knowledge is not in `matching`: it was told by another watch.
    unknown_from: Revision,
    unknown_upto: Revision,
    /// A client that has seen less than this may know any object.
    known_from: Revision,
}

impl Cursor {
    /// A watcher that has seen everything up to `at`.
    pub(super) const fn new(filter: Filter, at: Revision) -> Self {
        Self {
            filter,
            at,
            matching: BTreeSet::new(),
            unknown_from: Revision::ZERO,
            unknown_upto: Revision::ZERO,
            known_from: Revision::ZERO,
        }
    }

    /// Whether [`Cursor::learn`] is needed.
    pub(super) fn must_learn(&self) -> bool {
        self.filter.can_change()
    }

    /// The objects that a client which resumes here may know as they are now, and the revision at
    /// which they were taken; for [`Cursor::learn`], outside of the lock.
    pub(super) fn unchanged(&self, objects: &Objects) -> (Vec<Entry>, Revision) {
        let namespace = self.filter.namespace.as_deref();
        let entries = objects.list(&self.filter.resource, namespace, None);
        let unchanged = entries.filter(|entry| {
            let key = entry.key();
            entry.modified() <= self.at && self.filter.has_place(&key.namespace, &key.name)
        });
        (unchanged.cloned().collect(), objects.revision())
    }

    /// Learns what a client that resumes here has: of objects unchanged since, what they are now.
    pub(super) fn learn(&mut self, unchanged: &[Entry], taken_at: Revision) {
        let matching = unchanged
            .iter()
            .filter(|entry| self.filter.matches(&entry.object()));
        self.matching
            .extend(matching.map(|entry| entry.key().uid.clone()));
        self.unknown_from = self.at;
        self.unknown_upto = taken_at;
    }

    /// Takes the next page of changes.
    pub(super) fn take(&mut self, objects: &Objects) -> Result<Page, TooOld> {
        self.known_from = objects.known_from();
        if self.at < objects.floor() || self.at > objects.revision() {
            let oldest = if self.at < objects.floor() {
                objects.floor()
            } else {
                objects.revision()
            };
            return Err(TooOld {
                asked: self.at,
                oldest,
            });
        }
        let mut page = Page {
            upto: objects.revision(),
            ..Page::default()
        };
        let mut last = self.at;
        let mut bytes = 0;
        for (looked_at, change) in objects
            .changes_after(&self.filter.resource, self.at)
            .enumerate()
        {
            // Two lives of a name may change at one revision; they belong in one page.
            let full = page.changes.len() >= PAGE || looked_at >= SCAN || bytes >= PAGE_BYTES;
            if full && change.revision() > last {
                (page.upto, page.more) = (last, true);
                break;
            }
            last = change.revision();
            let (key, body) = match change {
                Change::Present(entry) => (entry.key(), entry.desired()),
                Change::Gone(tombstone) => (tombstone.key(), tombstone.desired()),
            };
            if self.filter.has_place(&key.namespace, &key.name) {
                bytes += body.map_or(0, Body::len);
                page.changes.push(match change {
                    Change::Present(entry) => Taken::Present(entry.clone()),
                    Change::Gone(tombstone) => Taken::Gone(tombstone.clone()),
                });
            }
        }
        Ok(page)
    }

    /// What to tell of a change, if anything. Call with the changes of a page in order, then
    /// [`Cursor::advance`].
    pub(super) fn tell(&mut self, taken: &Taken) -> Option<(Kind, Value)> {
        match taken {
            Taken::Present(entry) => self.tell_present(entry),
            Taken::Gone(tombstone) => self.tell_gone(tombstone),
        }
    }

    fn tell_present(&mut self, entry: &Entry) -> Option<(Kind, Value)> {
        let object = entry.object();
        let new = entry.created() > self.at;
        let matches = self.filter.matches(&object);
        if !self.filter.can_change() {
            return matches.then_some((if new { Kind::Added } else { Kind::Modified }, object));
        }
        let uid = &entry.key().uid;
        if matches {
            let known = !self.matching.insert(uid.clone());
            let unsure = !new && self.is_unsure(entry.created());
            return Some((
                if known || unsure {
                    Kind::Modified
                } else {
                    Kind::Added
                },
                object,
            ));
        }
        // Who may have had it as matching is told that it is gone; who had not, passes over it.
        let had = self.matching.remove(uid) || self.is_unsure(entry.created());
        let had = had && !causeway_log::mutant::is_on("watch-keeps-unselected");
        had.then_some((Kind::Deleted, object))
    }

    fn tell_gone(&mut self, tombstone: &Tombstone) -> Option<(Kind, Value)> {
        let had = self.matching.remove(&tombstone.key().uid);
        if tombstone.created() > self.at && self.at >= self.known_from {
            return had.then(|| (Kind::Deleted, tombstone.object()));
        }
        let object = tombstone.object();
        let tell = !self.filter.can_change()
            && (tombstone.desired().is_none() || self.filter.matches(&object));
        let unsure = self.is_unsure(tombstone.created());
        (had || tell || unsure).then_some((Kind::Deleted, object))
    }

    /// Whether a client that resumed may know an object in a state that is not known here.
    fn is_unsure(&self, created: Revision) -> bool {
        let may_know = created <= self.unknown_from || self.unknown_from < self.known_from;
        self.at < self.unknown_upto && may_know
    }

    /// Everything up to `upto` has been told.
    pub(super) fn advance(&mut self, upto: Revision) {
        self.at = self.at.max(upto);
        if causeway_log::mutant::is_on("watch-skips-a-page") {
            self.at = self.at.next().unwrap_or(self.at);
        }
    }
}

/// Objects to begin a watch with.
#[derive(Debug)]
pub(super) struct Initial {
    pub(super) entries: Vec<Entry>,
    pub(super) more: bool,
}

impl Cursor {
    /// Takes a page of the objects there are, after a place.
    pub(super) fn take_initial(
        &self,
        objects: &Objects,
        after: Option<&(Arc<str>, Arc<str>)>,
    ) -> Initial {
        let after = after.map(|(namespace, name)| (&**namespace, &**name));
        let list = objects.list(
            &self.filter.resource,
            self.filter.namespace.as_deref(),
            after,
        );
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for entry in list {
            if entries.len() >= PAGE || bytes >= PAGE_BYTES {
                return Initial {
                    entries,
                    more: true,
                };
            }
            bytes += entry.desired().map_or(0, Body::len);
            entries.push(entry.clone());
        }
        Initial {
            entries,
            more: false,
        }
    }

    /// What to tell of an object that was there at the beginning.
    pub(super) fn tell_initial(&mut self, entry: &Entry) -> Option<(Kind, Value)> {
        let key = entry.key();
        let object = entry.object();
        if !self.filter.has_place(&key.namespace, &key.name) || !self.filter.matches(&object) {
            return None;
        }
        if self.filter.can_change() {
            self.matching.insert(key.uid.clone());
        }
        Some((Kind::Added, object))
    }
}
