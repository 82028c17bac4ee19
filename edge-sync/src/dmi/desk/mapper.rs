//! One mapper: what it was told, what it is to be told, and how it fares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use causeway_dmi::Backoff;
use causeway_projections::twin::DeviceName;
use serde_json::Value as Json;

use super::info::{Described, Info};
use super::pace::Pace;
use super::{ASK_PERIOD, AWAY_AFTER, Call, Outcome};

/// Something that a mapper is told of. Models come before devices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Model(DeviceName),
    Device(DeviceName),
}

/// What a mapper knows of a device that it may hold.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// It may have it, in some form: it was told by an earlier life of this daemon, or the answer
    /// was lost.
    Unsure,
    /// It has it, in some form.
    Registered,
    /// It has it as it is described here.
    Said(Described),
}

/// Whether a mapper can be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    /// It answers, or reports.
    Well,
    /// It has done neither for so long that nobody can say how its devices are.
    Lost,
}

/// A registered mapper.
#[derive(Debug)]
pub(super) struct Mapper {
    pub(super) info: Info,
    /// Counts its registrations: an answer to an earlier one says nothing of this one.
    pub(super) generation: u64,
    /// The devices that are its.
    pub(super) devices: BTreeSet<DeviceName>,
    pub(super) told: BTreeMap<DeviceName, Told>,
    pub(super) models: BTreeMap<DeviceName, Arc<Json>>,
    /// What may have to be said.
    pub(super) due: BTreeMap<Item, Backoff>,
    pub(super) is_busy: bool,
    pub(super) pace: Pace,
    /// Of calls that reached nobody.
    reach: Backoff,
    /// Nobody has listened at its address since.
    absent_since: Option<Duration>,
    /// It was heard last before this moment.
    unheard_since: Option<Duration>,
    /// After so long it counts as lost.
    lost_after: Duration,
    /// As it was when it was last looked at; `None`: nobody knows yet.
    pub(super) heard: Option<Hearing>,
    /// The devices that were put in doubt while it is lost.
    pub(super) doubted: BTreeSet<DeviceName>,
    /// When it is asked whether it lives.
    ask_due: Duration,
    /// The device that it was last asked for.
    asked: Option<DeviceName>,
}

impl Mapper {
    pub(super) fn new(info: Info, lost_after: Duration, now: Duration) -> Self {
        Self {
            info,
            generation: 0,
            devices: BTreeSet::new(),
            told: BTreeMap::new(),
            models: BTreeMap::new(),
            due: BTreeMap::new(),
            is_busy: false,
            pace: Pace::default(),
            reach: Backoff::default(),
            absent_since: None,
            unheard_since: Some(now),
            lost_after,
            heard: None,
            doubted: BTreeSet::new(),
            ask_due: now + ASK_PERIOD,
            asked: None,
        }
    }

    /// It registers. `is_new`: it knows nothing. Everything is to be touched after.
    pub(super) fn begin(&mut self, is_new: bool, now: Duration) {
        self.generation += 1;
        self.is_busy = false;
        self.reach.pass();
        self.absent_since = None;
        self.hear();
        self.ask_due = now + ASK_PERIOD;
        self.models.clear();
        if is_new {
            self.told.clear();
        }
        let told = std::mem::take(&mut self.told);
        self.told = told.into_keys().map(|name| (name, Told::Unsure)).collect();
        self.due.clear();
    }

    /// Something about a device, and its model, may have to be said.
    pub(super) fn touch(&mut self, device: DeviceName, model: Option<DeviceName>) {
        let items = [Some(Item::Device(device)), model.map(Item::Model)];
        for item in items.into_iter().flatten() {
            // What is new is tried at once, whatever became of the old.
            self.due.insert(item, Backoff::default());
        }
    }

    /// Nobody has listened for so long that others may take its devices.
    pub(super) fn is_away(&self, now: Duration) -> bool {
        self.absent_since
            .is_some_and(|since| now >= since + AWAY_AFTER)
    }

    /// The last call reached nobody.
    pub(super) const fn is_failing(&self) -> bool {
        self.reach.failures() > 0
    }

    /// It answered, or reported.
    pub(super) const fn hear(&mut self) {
        self.unheard_since = None;
    }

    /// Looks whether it can be heard; says whether that is otherwise than before.
    pub(super) fn listen(&mut self, now: Duration) -> bool {
        let heard = match self.unheard_since {
            None => Hearing::Well,
            Some(since) if now >= since + self.lost_after => Hearing::Lost,
            // Nobody knows yet.
            Some(_) => return false,
        };
        let is_new = self.heard != Some(heard);
        if is_new {
            self.heard = Some(heard);
            self.doubted.clear();
        }
        is_new
    }

    /// When it is to be looked at whether it is lost.
    pub(super) fn lost_at(&self) -> Option<Duration> {
        let since = self.unheard_since?;
        (self.heard != Some(Hearing::Lost)).then(|| since + self.lost_after)
    }

    /// Whether it can be called at all.
    pub(super) fn is_free(&self, now: Duration) -> bool {
        !self.is_busy && self.reach.is_over(now)
    }

    /// When there may be something to call, after there is nothing at `now`.
    pub(super) fn timeout(&self, now: Duration) -> Option<Duration> {
        if self.is_busy {
            return None;
        }
        if self.is_failing() {
            return Some(self.reach.until());
        }
        // What may be tried already waits for something else, which tells when it comes.
        let due = self.due.values().map(Backoff::until);
        let due = due.filter(|until| *until > now).min();
        Some(due.map_or(self.ask_due, |due| due.min(self.ask_due)))
    }

    /// It is asked whether it lives as soon as there is nothing else to say.
    pub(super) const fn ask_at_once(&mut self, now: Duration) {
        self.ask_due = now;
    }

    /// The call that finds out whether it lives, when it is time for it. Devices take turns.
    pub(super) fn ask(&mut self, now: Duration) -> Option<Call> {
        if !self.is_failing() && now < self.ask_due {
            return None;
        }
        let after = self.asked.take();
        let next = self.told.keys().find(|name| after.as_ref() < Some(*name));
        self.asked = next.or_else(|| self.told.keys().next()).cloned();
        Some(Call::Ask(self.asked.clone()))
    }

    /// A call ended: whether it reached the mapper. `jitter` is in [0, 1).
    pub(super) fn reached(&mut self, outcome: &Outcome, now: Duration, jitter: f64) -> bool {
        self.is_busy = false;
        let is_reached = match outcome {
            Outcome::Done | Outcome::Refused(_) => true,
            Outcome::Absent => {
                self.absent_since.get_or_insert(now);
                false
            }
            Outcome::Silent => {
                self.absent_since = None;
                false
            }
        };
        if is_reached {
            self.reach.pass();
            self.absent_since = None;
            self.hear();
            self.ask_due = now + ASK_PERIOD;
        } else {
            self.unheard_since.get_or_insert(now);
            self.reach.fail(now, jitter);
        }
        is_reached
    }
}
