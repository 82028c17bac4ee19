//! All lives of one name, of which at most one is served.

use causeway_log::{Key, Op, Record, Revision, Stored};

use super::Tombstone;
use super::entry::{Answer, Asked, Entry, Layer, Owned};
use crate::request::Request;

/// Which end of the link wrote a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The owner of desired state: the cloud, in the cluster stream and going down.
    Owner,
    /// The owner of reported state: the edge, going up.
    Edge,
}

/// The lives of a name. Nearly always one.
#[derive(Debug, Default)]
pub(super) struct Name {
    lives: Vec<Entry>,
    served: Option<usize>,
}

impl Name {
    pub(super) fn served(&self) -> Option<&Entry> {
        self.served.and_then(|index| self.lives.get(index))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lives.is_empty()
    }

    /// Makes the tombstones that are due: of lives that ended, seen or (in a rebuild) not, and of
    /// one that was served before, is `displaced`, and is hidden since `now` by another.
    pub(super) fn bury(&mut self, displaced: Option<Entry>, now: Revision) -> Vec<Tombstone> {
        let served = self.served;
        let mut buried = Vec::new();
        for (index, life) in self.lives.iter_mut().enumerate() {
            if served == Some(index) || life.buried.is_some() {
                continue;
            }
            let seen = displaced
                .as_ref()
                .filter(|seen| seen.key.uid == life.key.uid);
            let Some((revision, began)) = life.end().or_else(|| seen.map(|_| (now, now))) else {
                continue;
            };
            life.buried = Some(revision);
            let created = seen.map_or(began, Entry::created);
            let last = seen
                .cloned()
                .unwrap_or_else(|| Entry::new(life.key.clone()));
            buried.push(Tombstone {
                last,
                created,
                revision,
            });
        }
        buried
    }

    /// Forgets the dead life of `key`, when its tombstone is the one of `revision`.
    pub(super) fn forget(&mut self, key: &Key, buried: Revision) {
        let dead = |entry: &Entry| {
            entry.key.uid == key.uid && !entry.is_alive() && entry.buried == Some(buried)
        };
        let Some(rank) = self.lives.iter().find(|entry| dead(entry)).map(Entry::rank) else {
            return;
        };
        // Lives that began earlier go along, or they would come back.
        self.lives
            .retain(|entry| !dead(entry) && (rank.is_none() || entry.rank() >= rank));
        self.choose();
    }

    /// Forgets the fact that `revision` brought.
    pub(super) fn forget_fact(&mut self, key: &Key, revision: Revision) {
        self.lives.retain(|entry| {
            entry.key.uid != key.uid || entry.put().map(|layer| layer.revision) != Some(revision)
        });
        self.choose();
    }

    /// Puts a record into its layer. Says whether it took, which it does not when the layer
    /// already holds a newer one or the record means nothing here. `key` is the record's, with
    /// shared parts.
    pub(super) fn absorb(&mut self, side: Side, key: &Key, stored: &Stored) -> bool {
        let header = &stored.record.header;
        let took = match (side, header.op) {
            (_, Op::Fact) | (Side::Owner, Op::Put) => self.own(key, Owned::Put(Layer::of(stored))),
            (Side::Owner, Op::Delete) => {
                let gone = Owned::Deleted {
                    revision: stored.revision,
                    since: stored.since,
                };
                self.own(key, gone)
            }
            (Side::Owner, Op::Apply | Op::Reject) => self.answer(key, stored),
            (Side::Edge, Op::Delete) => self.finish(key, stored.revision),
            (_, Op::Status) => {
                let life = self.life(key);
                set_newer(&mut life.status, Layer::of(stored), |layer| layer.revision)
            }
            (Side::Edge, Op::Apply) => self.ask(key, stored),
            (Side::Edge, Op::Put | Op::Reject) | (_, Op::Twin) => false,
        };
        if took {
            self.choose();
        }
        took
    }

    /// Puts a record of the Device into the layers of its DeviceStatus, whose key is `key`.
    pub(super) fn project(&mut self, side: Side, key: &Key, stored: &Stored) -> bool {
        let (revision, since) = (stored.revision, stored.since);
        let took = match (side, stored.record.header.op) {
            (Side::Owner, Op::Put) => self.own(key, Owned::Device { revision, since }),
            (Side::Owner, Op::Delete) => self.own(key, Owned::Deleted { revision, since }),
            (Side::Edge, Op::Twin) => {
                let life = self.life(key);
                set_newer(&mut life.status, Layer::of(stored), |layer| layer.revision)
            }
            (Side::Edge, Op::Delete) => self.finish(key, revision),
            (Side::Owner | Side::Edge, _) => return false,
        };
        self.life(key).is_projected = true;
        if took {
            self.choose();
        }
        took
    }

    fn finish(&mut self, key: &Key, revision: Revision) -> bool {
        let life = self.life(key);
        let newer = life.finished < Some(revision);
        life.finished = life.finished.max(Some(revision));
        newer
    }

    fn own(&mut self, key: &Key, owned: Owned) -> bool {
        let life = self.life(key);
        let newer = life
            .owned
            .as_ref()
            .is_none_or(|held| held.revision() < owned.revision());
        let newer = newer || causeway_log::mutant::is_on("fold-takes-older");
        if newer {
            life.owned = Some(owned);
        }
        newer
    }

    fn ask(&mut self, key: &Key, stored: &Stored) -> bool {
        let Ok(request) = Request::decode(stored.record.body.bytes()) else {
            return false;
        };
        let asked = Asked {
            layer: Layer::of(stored),
            verb: request.verb,
        };
        set_newer(&mut self.life(key).asked, asked, |asked| {
            asked.layer.revision
        })
    }

    fn answer(&mut self, key: &Key, stored: &Stored) -> bool {
        let Record { header, body } = &stored.record;
        let answer = Answer {
            revision: stored.revision,
            request: header.cause,
            refusal: (header.op == Op::Reject).then(|| body.clone()),
        };
        set_newer(&mut self.life(key).told, answer, |answer| answer.revision)
    }

    fn life(&mut self, key: &Key) -> &mut Entry {
        let index = self.lives.iter().position(|entry| entry.key.uid == key.uid);
        let index = index.unwrap_or_else(|| {
            if self.lives.is_empty() {
                // One life is the rule; `push` alone would make room for four.
                self.lives.reserve_exact(1);
            }
            self.lives.push(Entry::new(key.clone()));
            self.lives.len() - 1
        });
        &mut self.lives[index]
    }

    fn choose(&mut self) {
        let ranked = self
            .lives
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.rank().is_some());
        let newest = ranked.max_by_key(|(_, entry)| entry.rank());
        self.served = newest
            .filter(|(_, entry)| entry.is_alive())
            .map(|(index, _)| index);
        if let Some(served) = self.served.and_then(|index| self.lives.get_mut(index)) {
            served.buried = None;
        }
    }
}

fn set_newer<T>(slot: &mut Option<Box<T>>, new: T, revision: impl Fn(&T) -> Revision) -> bool {
    let newer = slot
        .as_ref()
        .is_none_or(|held| revision(held) < revision(&new));
    if newer {
        *slot = Some(Box::new(new));
    }
    newer
}
