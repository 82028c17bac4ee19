//! What a report means for a twin, and a wish for a Device. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_kube_api::{Change, Expected, Write};
use causeway_log::WallTime;
use causeway_log::limits::BODY_BYTES_MAX;
use causeway_projections::Entry;
use causeway_projections::twin::history::{Policy, Reading, Sampler};
use causeway_projections::twin::{
    Device, NAME_CHARS_MAX, PROPERTIES_MAX, Refused, Report, Reported, State, Took, Value, is_name,
};
use serde_json::{Value as Json, json};

use super::{DeviceReport, ReportError};

/// Which readings of a device's properties were kept last.
pub(crate) type Samplers = BTreeMap<Arc<str>, Sampler>;

/// A device with what the reports of a round did to it so far.
#[derive(Debug)]
pub(crate) struct Working {
    /// The device before the round.
    pub(crate) base: Arc<Device>,
    /// What it reports now.
    pub(crate) reported: Arc<Reported>,
    /// Whether that is another document.
    pub(crate) has_changed: bool,
    /// Readings that are kept, in their order.
    pub(crate) kept: Vec<(Arc<str>, Reading)>,
    /// Those samplers that moved.
    pub(crate) moved: Samplers,
    /// At least the length of the document.
    bytes_max: usize,
}

/// What a report did.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) properties: Vec<(Arc<str>, Result<Took, Refused>)>,
    pub(crate) state: Option<Result<Took, Refused>>,
}

/// When a report is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// For people.
    pub(crate) wall: WallTime,
    /// Since any fixed moment; never goes back.
    pub(crate) monotonic: Duration,
}

impl Working {
    pub(crate) fn new(base: Arc<Device>) -> Self {
        let reported = Arc::clone(&base.twin.reported);
        Self {
            base,
            has_changed: false,
            kept: Vec::new(),
            moved: Samplers::new(),
            bytes_max: reported.bytes_max(),
            reported,
        }
    }

    /// At least the bytes that the device adds to the round.
    pub(crate) const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Takes a report. `history` are the samplers as of before the round.
    ///
    /// # Errors
    /// [`ReportError`]; then nothing changed.
    pub(crate) fn take(
        &mut self,
        report: DeviceReport,
        history: &Samplers,
        now: Moment,
    ) -> Result<Outcome, ReportError> {
        self.make_room(&report)?;
        let parts = report.properties.len() + usize::from(report.state.is_some());
        let before = (report.all_or_nothing && parts > 1).then(|| self.save());
        let mut outcome = Outcome::default();
        let mut refusal = None;
        for (name, said) in report.properties {
            let took = self.property(&name, said, history, now);
            if let Err(refused) = &took
                && report.all_or_nothing
            {
                refusal = Some(ReportError::Refused {
                    property: name.chars().take(NAME_CHARS_MAX).collect::<String>().into(),
                    refused: refused.clone(),
                });
                break;
            }
            outcome.properties.push((name, took));
        }
        if let (None, Some(state)) = (&refusal, report.state) {
            let took = self.state(&state, now);
            if let Err(refused) = &took
                && report.all_or_nothing
            {
                refusal = Some(ReportError::State(refused.clone()));
            }
            outcome.state = Some(took);
        }
        if let (None, Some(is_doubted)) = (&refusal, report.doubt) {
            let decided = self.reported.decide_doubt(is_doubted);
            self.take_state(decided);
        }
        let Some(refusal) = refusal else {
            return Ok(outcome);
        };
        if let Some(before) = before {
            self.restore(before);
        }
        Err(refusal)
    }

    /// Refuses what might make the document too long for a record.
    fn make_room(&mut self, report: &DeviceReport) -> Result<(), ReportError> {
        if report.properties.len() > PROPERTIES_MAX {
            return Err(ReportError::TooLarge {
                what: "the number of properties in a report",
                limit: PROPERTIES_MAX,
            });
        }
        let properties = report.properties.iter();
        let added: usize = properties.map(|(name, it)| it.bytes_max(name)).sum();
        if self.bytes_max + added > BODY_BYTES_MAX {
            // What was replaced may have made room.
            self.bytes_max = self.reported.bytes_max();
        }
        self.bytes_max += added;
        if self.bytes_max > BODY_BYTES_MAX {
            self.bytes_max -= added;
            return Err(ReportError::TooLarge {
                what: "the document of the device",
                limit: BODY_BYTES_MAX,
            });
        }
        Ok(())
    }

    fn property(
        &mut self,
        name: &Arc<str>,
        report: Report,
        history: &Samplers,
        now: Moment,
    ) -> Result<Took, Refused> {
        let reading = report.value.as_ref().map(|value| Reading {
            time: report.time,
            value: Arc::clone(&value.value),
        });
        let property = self.reported.decide(name, report, &self.base.rules)?;
        let took = match property {
            None => Took::Echo,
            Some(property) => {
                Arc::make_mut(&mut self.reported).set(Arc::clone(name), property);
                self.has_changed = true;
                Took::Changed
            }
        };
        if let Some(reading) = reading {
            self.sample(name, reading, history, now);
        }
        Ok(took)
    }

    fn sample(&mut self, name: &Arc<str>, reading: Reading, history: &Samplers, now: Moment) {
        let policy = self.base.policies.of(name);
        if policy == Policy::Latest {
            return;
        }
        let sampler = self
            .moved
            .entry(Arc::clone(name))
            .or_insert_with(|| history.get(name).cloned().unwrap_or_default());
        if sampler.keeps(policy, &reading.value, now.monotonic) {
            self.kept.push((Arc::clone(name), reading));
        }
    }

    fn state(&mut self, state: &str, now: Moment) -> Result<Took, Refused> {
        let decided = self.reported.decide_state(state, now.wall)?;
        Ok(self.take_state(decided))
    }

    fn take_state(&mut self, decided: Option<State>) -> Took {
        if decided.is_none() {
            return Took::Echo;
        }
        self.has_changed = true;
        Arc::make_mut(&mut self.reported).take_state(decided)
    }

    fn save(&self) -> (Arc<Reported>, bool, usize, Samplers) {
        let Self {
            reported,
            has_changed,
            kept,
            moved,
            ..
        } = self;
        (
            Arc::clone(reported),
            *has_changed,
            kept.len(),
            moved.clone(),
        )
    }

    fn restore(&mut self, saved: (Arc<Reported>, bool, usize, Samplers)) {
        let kept;
        (self.reported, self.has_changed, kept, self.moved) = saved;
        self.kept.truncate(kept);
    }
}

/// Whether these values may be wanted of a device.
pub(super) fn check_wishes(
    device: &Device,
    wishes: &BTreeMap<Arc<str>, Option<Value>>,
) -> Result<(), ReportError> {
    if wishes.len() > PROPERTIES_MAX {
        return Err(ReportError::TooLarge {
            what: "the number of properties in a wish",
            limit: PROPERTIES_MAX,
        });
    }
    for (name, wish) in wishes {
        check_wish(device, name, wish.as_ref())?;
    }
    Ok(())
}

fn check_wish(device: &Device, name: &Arc<str>, wish: Option<&Value>) -> Result<(), ReportError> {
    let refused = |refused| ReportError::Refused {
        property: name.chars().take(NAME_CHARS_MAX).collect::<String>().into(),
        refused,
    };
    if !is_name(name) {
        return Err(refused(Refused::Name));
    }
    let rule = device.rules.get(name);
    let rule = rule.ok_or_else(|| refused(Refused::Unknown))?;
    let listed = device.object["spec"]["properties"].as_array();
    let mut listed = listed.into_iter().flatten();
    if !listed.any(|property| property["name"].as_str() == Some(name)) {
        return Err(refused(Refused::Unknown));
    }
    let Some(wish) = wish else { return Ok(()) };
    if !rule.is_writable {
        return Err(ReportError::Forbidden {
            reason: format!("the model says that {name:?} can only be read"),
        });
    }
    let checked = wish.check_size().and_then(|()| rule.check(&wish.value));
    checked.map_err(|error| refused(error.into()))
}

/// The write that asks for these wishes, on top of the Device as it is served.
pub(super) fn wish(
    device: &Device,
    entry: Option<&Entry>,
    wishes: &BTreeMap<Arc<str>, Option<Value>>,
) -> Result<Write, ReportError> {
    let entry = entry.filter(|entry| entry.key().uid == device.key.uid);
    let entry = entry.ok_or_else(|| ReportError::Unknown {
        device: device.name(),
    })?;
    let mut object = entry.object();
    let properties = object.pointer_mut("/spec/properties");
    let properties = properties.and_then(Json::as_array_mut);
    for property in properties.into_iter().flatten() {
        let wish = property["name"].as_str().and_then(|name| wishes.get(name));
        let (Some(wish), Some(property)) = (wish.cloned(), property.as_object_mut()) else {
            continue;
        };
        match wish {
            None => drop(property.remove("desired")),
            Some(wish) => {
                let mut desired = json!({ "value": &*wish.value });
                if !wish.metadata.is_empty() {
                    let entries = wish.metadata.iter();
                    let entries = entries.map(|(key, value)| (key.to_string(), json!(**value)));
                    desired["metadata"] = Json::Object(entries.collect());
                }
                property.insert("desired".to_owned(), desired);
            }
        }
    }
    Ok(Write {
        key: entry.key().clone(),
        expected: Expected::At(entry.modified()),
        change: Change::Put(object),
    })
}
