//! What to do next for one device: pure. The task of the device does it and says how it went.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_dmi::Backoff;

use crate::State;
use crate::spec::{DeviceSpec, Property, Settings, Value};

/// What to do for a device.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Open it.
    Open,
    /// Write what is desired of a property.
    Write {
        /// Which.
        property: Property,
        /// What.
        value: Value,
    },
    /// Read a property.
    Read {
        /// Which.
        property: Property,
    },
    /// Ask how it is.
    Ask,
    /// Tell the node these values, and the desired ones that were written.
    Report {
        /// By property.
        values: BTreeMap<String, Taken>,
    },
    /// Tell the node how it is.
    ReportState {
        /// How.
        state: State,
    },
    /// Nothing until then.
    Wait {
        /// When, in time since the mapper began.
        until: Duration,
    },
}

/// What was taken from a device and is still to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The value; `None` when it was only written so far.
    pub value: Option<String>,
    /// The desired value that the device took.
    pub observed: Option<Value>,
}

#[derive(Clone, Debug)]
struct Watched {
    property: Property,
    /// When it is to be read.
    due: Duration,
    /// The desired value that the device has taken.
    written: Option<Value>,
    /// Of writes that failed.
    backoff: Backoff,
    /// The value that the node has.
    told: Option<String>,
}

/// What is known of one device, and what follows from it.
///
/// # Guarantees
/// - A desired value is written when it is new, and after each opening: the device may have
///   forgotten. Once it was written it is left alone, whatever the device makes of it.
/// - A value that the node has is not told again; one it could not be told stays until it can, and
///   a newer one takes its place.
/// - While one thing waits after a failure the others go on.
#[derive(Clone, Debug)]
pub struct Plan {
    watched: Vec<Watched>,
    /// How the device is reached.
    settings: Settings,
    state_cycle: Option<Duration>,
    is_open: bool,
    opening: Backoff,
    telling: Backoff,
    untold: BTreeMap<String, Taken>,
    state: Option<State>,
    state_told: Option<State>,
    ask_due: Duration,
}

/// How often a device is asked how it is when it sets no cycle.
const ASK_CYCLE: Duration = Duration::from_secs(10);

impl Plan {
    /// A device that is to be served from `now` on.
    #[must_use]
    pub fn new(spec: &DeviceSpec, now: Duration) -> Self {
        let watch = |property: &Property| Watched::new(property, now);
        Self {
            watched: spec.properties.iter().map(watch).collect(),
            settings: spec.settings.clone(),
            state_cycle: spec.state_cycle,
            is_open: false,
            opening: Backoff::default(),
            telling: Backoff::default(),
            untold: BTreeMap::new(),
            state: None,
            state_told: None,
            ask_due: now,
        }
    }

    /// What to do at `now`. The same until it is said how it went.
    #[must_use]
    pub fn next(&self, now: Duration) -> Step {
        self.tell(now)
            .or_else(|| self.work(now))
            .unwrap_or_else(|| Step::Wait {
                until: self.soonest(now),
            })
    }

    fn tell(&self, now: Duration) -> Option<Step> {
        if !self.telling.is_over(now) {
            return None;
        }
        let state = self.state.filter(|_| self.state != self.state_told);
        if let Some(state) = state {
            return Some(Step::ReportState { state });
        }
        // What is due is read first, so that one call tells all of it.
        let reads = self.is_open && self.watched.iter().any(|it| it.is_due(now));
        (!reads && !self.untold.is_empty()).then(|| Step::Report {
            values: self.untold.clone(),
        })
    }

    fn work(&self, now: Duration) -> Option<Step> {
        if !self.is_open {
            return self.opening.is_over(now).then_some(Step::Open);
        }
        let write = self.watched.iter().find_map(|it| {
            let value = it.wish().filter(|_| it.backoff.is_over(now))?;
            Some(Step::Write {
                property: it.property.clone(),
                value: value.clone(),
            })
        });
        let read = || {
            let due = self.watched.iter().find(|it| it.is_due(now))?;
            Some(Step::Read {
                property: due.property.clone(),
            })
        };
        write
            .or_else(read)
            .or_else(|| (now >= self.ask_due).then_some(Step::Ask))
    }

    /// When there may be something to do.
    fn soonest(&self, now: Duration) -> Duration {
        let mut times = Vec::with_capacity(self.watched.len() + 3);
        if self.is_open {
            let reads = self.watched.iter().filter(|it| it.property.is_reported);
            times.extend(reads.map(|it| it.due));
            let writes = self.watched.iter().filter(|it| it.wish().is_some());
            times.extend(writes.map(|it| it.backoff.until()));
            times.push(self.ask_due);
        } else {
            times.push(self.opening.until());
        }
        if !self.untold.is_empty() || self.state != self.state_told {
            times.push(self.telling.until());
        }
        let soonest = times.into_iter().filter(|time| *time > now).min();
        soonest.unwrap_or_else(|| now + ASK_CYCLE)
    }

    /// The device is described anew. What stays the same goes on as it was; `true`: it is reached in
    /// another way, and is to be opened again.
    pub fn update(&mut self, spec: &DeviceSpec, now: Duration) -> bool {
        let before = std::mem::take(&mut self.watched);
        let watch = |property: &Property| {
            let old = before.iter().find(|it| it.property.name == property.name);
            let mut watched = old.cloned().unwrap_or_else(|| Watched::new(property, now));
            if watched.property.desired != property.desired {
                watched.backoff.pass();
            }
            watched.due = watched.due.min(now + property.collect_cycle);
            watched.property = property.clone();
            watched
        };
        self.watched = spec.properties.iter().map(watch).collect();
        let is_there = |name: &String| self.watched.iter().any(|it| it.property.name == *name);
        self.untold.retain(|name, _| is_there(name));
        self.state_cycle = spec.state_cycle;
        let is_moved = self.settings != spec.settings;
        if is_moved {
            self.settings = spec.settings.clone();
            self.is_open = false;
            self.opening.pass();
        }
        is_moved
    }

    /// The device is open.
    pub fn opened(&mut self) {
        self.is_open = true;
        self.opening.pass();
        for watched in &mut self.watched {
            watched.written = None;
            watched.backoff.pass();
        }
        self.state = Some(State::Online);
    }

    /// Opening or reading it failed: it is opened anew. `jitter` is in [0, 1).
    pub fn broke(&mut self, now: Duration, jitter: f64) {
        self.is_open = false;
        self.opening.fail(now, jitter);
        self.state = Some(State::Offline);
    }

    /// The device took a desired value.
    pub fn wrote(&mut self, name: &str, value: Value, now: Duration) {
        if let Some(watched) = self.watched(name) {
            watched.written = Some(value.clone());
            watched.backoff.pass();
            // What became of it is of interest at once.
            watched.due = now;
            if watched.property.is_reported {
                let taken = self.untold.entry(name.to_owned()).or_default();
                taken.observed = Some(value);
            }
        }
    }

    /// The device did not take it. `jitter` is in [0, 1).
    pub fn refused(&mut self, name: &str, now: Duration, jitter: f64) {
        if let Some(watched) = self.watched(name) {
            watched.backoff.fail(now, jitter);
        }
    }

    /// A property was read.
    pub fn read(&mut self, name: &str, value: String, now: Duration) {
        let Some(watched) = self.watched(name) else {
            return;
        };
        let cycle = watched.property.collect_cycle;
        // In step with the cycle, unless a whole one was missed.
        let next = watched.due + cycle;
        watched.due = if next > now { next } else { now + cycle };
        if watched.told.as_ref() != Some(&value) {
            self.untold.entry(name.to_owned()).or_default().value = Some(value);
        } else if let Some(taken) = self.untold.get_mut(name) {
            // It is again what the node has.
            taken.value = None;
            if taken.observed.is_none() {
                self.untold.remove(name);
            }
        }
    }

    /// It was asked how it is.
    pub fn asked(&mut self, state: State, now: Duration) {
        self.state = Some(state);
        self.ask_due = now + self.state_cycle.unwrap_or(ASK_CYCLE);
        if self.state_cycle.is_some() {
            self.state_told = None;
        }
    }

    /// The node has these values, or refused some of them for good: they are not told again.
    pub fn told(&mut self, values: &BTreeMap<String, Taken>) {
        self.telling.pass();
        for (name, told) in values {
            if self.untold.get(name) == Some(told) {
                self.untold.remove(name);
            }
            if let (Some(value), Some(watched)) = (&told.value, self.watched(name)) {
                watched.told = Some(value.clone());
            }
        }
    }

    /// The node knows how the device is.
    pub const fn told_state(&mut self, state: State) {
        self.telling.pass();
        self.state_told = Some(state);
    }

    /// The node could not be told. `jitter` is in [0, 1).
    pub fn not_told(&mut self, now: Duration, jitter: f64) {
        self.telling.fail(now, jitter);
    }

    fn watched(&mut self, name: &str) -> Option<&mut Watched> {
        let mut all = self.watched.iter_mut();
        all.find(|it| it.property.name == name)
    }
}

impl Watched {
    fn new(property: &Property, now: Duration) -> Self {
        Self {
            property: property.clone(),
            due: now,
            written: None,
            backoff: Backoff::default(),
            told: None,
        }
    }

    fn is_due(&self, now: Duration) -> bool {
        self.property.is_reported && now >= self.due
    }

    /// The desired value that the device has not taken yet.
    fn wish(&self) -> Option<&Value> {
        let wish = self.property.desired.as_ref()?;
        (self.property.is_writable && self.written.as_ref() != Some(wish)).then_some(wish)
    }
}
