//! What a message asks of the twins. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_log::WallTime;
use causeway_projections::twin::{Device, DeviceName, Property, Report, TwinVersion, Value};

use super::payload::{Base, Change, PayloadError, Said, StateUpdate, Update};
use super::stats::Outcome;
use super::topics::Topic;
use crate::twins::{DeviceReport, ReportError};

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// For the first time, as far as anybody knows.
    Fresh,
    /// Perhaps again: it is marked as a duplicate, and this process has not seen it before.
    Perhaps,
    /// Again: it was taken before this process began.
    Again,
    /// The broker kept it and says it to whoever subscribes.
    Retained,
}

/// What is to be done about a message.
#[derive(Debug, PartialEq)]
pub(super) enum Ask {
    /// Say how the twin is.
    Twin(Base, DeviceName),
    /// Say which devices there are.
    Members(Base),
    /// Report, or want, or both.
    Write(Box<Asked>),
}

/// A report and wishes of one message.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) base: Base,
    pub(super) report: DeviceReport,
    pub(super) wishes: BTreeMap<Arc<str>, Option<Value>>,
    /// The properties that the message names.
    pub(super) names: Vec<Arc<str>>,
    pub(super) attributes: BTreeMap<String, String>,
}

/// A message that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) event_id: String,
    pub(super) code: u16,
    pub(super) reason: String,
    pub(super) outcome: Outcome,
}

impl Refusal {
    pub(super) fn of(event_id: &str, error: &ReportError) -> Self {
        let mut reason = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            reason = format!("{reason}: {source}");
        }
        Self {
            event_id: event_id.to_owned(),
            code: error.code(),
            reason,
            outcome: Outcome::of_code(error.code()),
        }
    }

    fn payload(payload: &[u8], error: &PayloadError) -> Self {
        Self {
            event_id: Base::guess(payload).event_id,
            code: 400,
            reason: error.to_string(),
            outcome: Outcome::Invalid,
        }
    }

    fn unknown(base: &Base, device: &DeviceName) -> Self {
        let device = device.clone();
        Self::of(&base.event_id, &ReportError::Unknown { device })
    }
}

/// What a message asks for. `device` looks a device up.
pub(super) fn decide(
    topic: &Topic,
    payload: &[u8],
    delivery: Delivery,
    now: WallTime,
    device: impl FnOnce(&DeviceName) -> Option<Arc<Device>>,
) -> Result<Ask, Refusal> {
    let refused = |error| Refusal::payload(payload, &error);
    match topic {
        Topic::MembershipGet => Ok(Ask::Members(Base::parse(payload).map_err(refused)?)),
        Topic::TwinGet(name) => {
            let base = Base::parse(payload).map_err(refused)?;
            Ok(Ask::Twin(base, name.clone()))
        }
        Topic::TwinUpdate(name) => {
            let update = Update::parse(payload).map_err(refused)?;
            let known = device(name).ok_or_else(|| Refusal::unknown(&update.base, name))?;
            Ok(Ask::Write(Box::new(asked(update, &known, delivery, now))))
        }
        Topic::StateUpdate(name) => {
            let update = StateUpdate::parse(payload).map_err(refused)?;
            device(name).ok_or_else(|| Refusal::unknown(&update.base, name))?;
            let StateUpdate {
                base,
                state,
                attributes,
            } = update;
            Ok(Ask::Write(Box::new(Asked {
                base,
                report: DeviceReport {
                    device: name.clone(),
                    properties: Vec::new(),
                    // What was kept from before says nothing of now.
                    state: (delivery != Delivery::Retained).then(|| state.into()),
                    doubt: None,
                    all_or_nothing: true,
                },
                wishes: BTreeMap::new(),
                names: Vec::new(),
                attributes,
            })))
        }
    }
}

fn asked(update: Update, device: &Device, delivery: Delivery, now: WallTime) -> Asked {
    let Update { base, properties } = update;
    let mut asked = Asked {
        report: DeviceReport {
            device: device.name(),
            properties: Vec::with_capacity(properties.len()),
            state: None,
            doubt: None,
            all_or_nothing: true,
        },
        wishes: BTreeMap::new(),
        names: Vec::with_capacity(properties.len()),
        attributes: BTreeMap::new(),
        base,
    };
    for (name, change) in properties {
        let name: Arc<str> = name.into();
        asked.names.push(Arc::clone(&name));
        let known = device.twin.reported.properties.get(&name);
        if is_known(&change, known, delivery, asked.base.timestamp) {
            continue;
        }
        let wanted = device.twin.desired.properties.value(&name);
        let expected = change.expected.as_ref().map(|it| it.value.as_str());
        // A device that says what is wanted of it has seen the wish.
        let is_seen = expected.is_some() && expected == wanted.map(|wanted| &*wanted.value);
        if !is_seen && let Some(expected) = expected {
            let wish = Some(Value::new(expected));
            asked.wishes.insert(Arc::clone(&name), wish);
        }
        let observed = wanted.filter(|_| is_seen).cloned();
        if let Some(report) = report(&change, observed, asked.base.timestamp, now) {
            asked.report.properties.push((name, report));
        }
    }
    asked
}

fn report(
    change: &Change,
    observed: Option<Value>,
    timestamp: Option<WallTime>,
    now: WallTime,
) -> Option<Report> {
    let Change {
        is_deleted,
        actual,
        expected: _,
        kind,
        version,
    } = change;
    if !is_deleted && actual.is_none() {
        return None;
    }
    let value = actual.as_ref().map(|said| {
        let mut value = Value::new(&said.value);
        let kind = kind.as_deref().map(|kind| ("type".into(), kind.into()));
        value.metadata.extend(kind);
        value
    });
    let said = actual.as_ref().and_then(|said| said.time);
    Some(Report {
        value,
        observed,
        version: version.map(TwinVersion::new),
        time: said.or(timestamp).unwrap_or(now),
    })
}

/// Whether a message that may be an old one says nothing that is not known.
///
/// What a broker retained may be of any age: of two values with a source time the later one
/// counts, and without one a value that is there. What may be a duplicate is only passed over when
/// value and source time are those that are known; then it is the same reading.
fn is_known(
    change: &Change,
    known: Option<&Property>,
    delivery: Delivery,
    timestamp: Option<WallTime>,
) -> bool {
    if delivery == Delivery::Again {
        return true;
    }
    let Some(known) = known else {
        return false;
    };
    let said = change.actual.as_ref();
    let time = said.and_then(|said| said.time).or(timestamp);
    match delivery {
        Delivery::Again | Delivery::Fresh => false,
        Delivery::Perhaps => is_same(said, time, known),
        Delivery::Retained => time.is_none_or(|time| time.unix_millis() <= known.time),
    }
}

/// Whether value and source time are those that are known.
fn is_same(said: Option<&Said>, time: Option<WallTime>, known: &Property) -> bool {
    let value = known.value.as_ref().map(|value| &*value.value);
    said.is_some_and(|said| Some(said.value.as_str()) == value)
        && time.is_some_and(|time| time.unix_millis() == known.time)
}

/// Whether the payload of a report says, with its source times, just what is known of all that it
/// names.
pub(super) fn is_newest(payload: &[u8], device: &Device) -> bool {
    let Ok(Update { base, properties }) = Update::parse(payload) else {
        return false;
    };
    properties.iter().all(|(name, change)| {
        let said = change.actual.as_ref();
        let time = said.and_then(|said| said.time).or(base.timestamp);
        let known = device.twin.reported.properties.get(name);
        known.is_some_and(|known| is_same(said, time, known))
    })
}
