//! What mappers report, in the words of twins, and what they are answered: pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_daemon::telemetry::error_chain;
use causeway_dmi::Status;
use causeway_dmi::messages::{DeviceStatus, Twin, TwinProperty};
use causeway_log::WallTime;
use causeway_projections::twin::{
    Device, DeviceName, PROPERTIES_MAX, Refused, Report, Took, TwinVersion, Value,
};

use crate::twins::{DeviceReport, ReportError, Told};

/// The namespace of mappers that name none: those of old did not.
const NAMESPACE: &str = "default";
/// When the value came to be by the mapper's clock, in milliseconds: part of a value's metadata on
/// the wire, and of the report here. A value that is the same later is the same value.
const TIMESTAMP: &str = "timestamp";
/// Refused properties that an answer names.
const NAMED_MAX: usize = 8;
/// Characters of their names that it shows.
const NAME_CHARS_SHOWN: usize = 64;

/// A report, and which of its properties say only that a desired value was seen.
#[derive(Debug, PartialEq)]
pub(super) struct Understood {
    pub(super) report: DeviceReport,
    /// Refused as stale, these are to be understood anew: the value moved meanwhile.
    pub(super) seen_only: Vec<Arc<str>>,
}

/// The name of a device on the wire.
///
/// # Errors
/// `InvalidArgument` when there is none.
pub(super) fn device(namespace: &str, name: &str) -> Result<DeviceName, Status> {
    if name.is_empty() {
        return Err(Status::invalid_argument("the request names no device"));
    }
    let namespace = match namespace {
        "" => NAMESPACE,
        namespace => namespace,
    };
    Ok(DeviceName::new(namespace, name))
}

/// The values in the words of twins. `known`: the device as it is; `now`: for values without a
/// time.
///
/// # Errors
/// `InvalidArgument` when there are more than a device can have.
pub(super) fn values(
    known: &Device,
    status: &DeviceStatus,
    now: WallTime,
) -> Result<Understood, Status> {
    if status.twins.len() > PROPERTIES_MAX {
        let what = format!("a report has at most {PROPERTIES_MAX} properties");
        return Err(Status::invalid_argument(what));
    }
    let mut seen_only = Vec::new();
    let mut properties = Vec::with_capacity(status.twins.len());
    for twin in &status.twins {
        let name: Arc<str> = twin.property_name.as_str().into();
        if twin.reported.is_none() && twin.observed_desired.is_some() {
            seen_only.push(Arc::clone(&name));
        }
        properties.extend(property(known, twin, now).map(|report| (name, report)));
    }
    Ok(Understood {
        report: DeviceReport {
            device: known.name(),
            properties,
            state: None,
            doubt: None,
            all_or_nothing: false,
        },
        seen_only,
    })
}

/// `None`: it says nothing.
fn property(known: &Device, twin: &Twin, now: WallTime) -> Option<Report> {
    let observed = twin.observed_desired.as_ref().map(|it| value(it).0);
    match (&twin.reported, observed) {
        (Some(reported), observed) => {
            let (value, time) = value(reported);
            Some(Report {
                value: Some(value),
                observed,
                version: None,
                time: time.unwrap_or(now),
            })
        }
        // The value stays what it is; when it moves before this is taken, this is stale.
        (None, Some(observed)) => {
            let properties = &known.twin.reported.properties;
            let held = properties.get(&twin.property_name)?;
            Some(Report {
                value: Some(held.value.clone()?),
                observed: Some(observed),
                version: Some(TwinVersion::new(held.version.get().saturating_add(1))),
                time: WallTime::from_unix_millis(held.time),
            })
        }
        (None, None) => None,
    }
}

/// A value, and when it came to be if it says so.
fn value(property: &TwinProperty) -> (Value, Option<WallTime>) {
    let time = property.metadata.get(TIMESTAMP);
    let time = time.and_then(|text| text.parse().ok());
    let kept = property.metadata.iter();
    // A time that nobody can read stays where it can be seen.
    let kept = kept.filter(|(key, _)| time.is_none() || *key != TIMESTAMP);
    let metadata: BTreeMap<Arc<str>, Arc<str>> = kept
        .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
        .collect();
    let value = Value {
        value: property.value.as_str().into(),
        metadata,
    };
    (value, time.map(WallTime::from_unix_millis))
}

/// What a mapper is answered when its report was taken, in parts or as a whole.
///
/// # Errors
/// `InvalidArgument` names what was refused and why; the rest is durable.
pub(super) fn verdict(told: &Told) -> Result<(), Status> {
    let refused = |(name, took): &'_ (Arc<str>, Result<Took, Refused>)| {
        let refused = took.as_ref().err()?;
        let name: String = name.chars().take(NAME_CHARS_SHOWN).collect();
        Some(format!("{name:?}: {}", error_chain(refused)))
    };
    let state = told.state.as_ref().and_then(|took| took.as_ref().err());
    let mut refusals: Vec<_> = told.properties.iter().filter_map(refused).collect();
    refusals.extend(state.map(|refused| error_chain(refused).to_string()));
    let more = refusals.len().saturating_sub(NAMED_MAX);
    refusals.truncate(NAMED_MAX);
    if refusals.is_empty() {
        return Ok(());
    }
    let mut what = format!("refused: {}", refusals.join("; "));
    if more > 0 {
        what.push_str(&format!("; and {more} more"));
    }
    Err(Status::invalid_argument(what))
}

/// What a mapper is answered when nothing of its report was taken.
pub(super) fn refusal(error: &ReportError) -> Status {
    let what = error_chain(error).to_string();
    match error {
        ReportError::Unknown { .. } => Status::not_found(what),
        ReportError::Refused { .. } | ReportError::State(_) | ReportError::TooLarge { .. } => {
            Status::invalid_argument(what)
        }
        ReportError::Forbidden { .. } => Status::permission_denied(what),
        ReportError::ReadOnly { .. } | ReportError::Unavailable { .. } => Status::unavailable(what),
    }
}
