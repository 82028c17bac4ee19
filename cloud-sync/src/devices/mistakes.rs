//! What of a Device is wrong, beyond what a schema can say: values against the model, and what its
//! annotations say. Pure.

use causeway_daemon::config::parse_duration;
use causeway_projections::twin::history::{HISTORY_ANNOTATION, Policies};
use causeway_projections::twin::{DeviceError, Rules, check};
use serde_json::Value;

use super::{CHANGE_ANNOTATION, INTERVAL_ANNOTATION};

/// Everything that is wrong with a Device. Without the model only what needs none is looked at.
pub(super) fn mistakes(device: &Value, model: Option<&Value>) -> Vec<DeviceError> {
    let mut errors = check(device, model);
    let annotations = &device["metadata"]["annotations"];
    let named = |name: &'static str| Some((name, annotations[name].as_str()?));
    let mut wrong = |name: &str, what: String| {
        errors.push(DeviceError {
            field: format!("metadata.annotations[{name}]"),
            what,
        });
    };
    for (name, text) in [HISTORY_ANNOTATION, CHANGE_ANNOTATION]
        .into_iter()
        .filter_map(named)
    {
        match Policies::parse(text) {
            Err(error) => wrong(name, error.to_string()),
            Ok(policies) => {
                let unknown = unknown(&policies, device, model);
                unknown.for_each(|property| {
                    wrong(name, format!("the device has no property {property:?}"));
                });
            }
        }
    }
    if let Some((name, text)) = named(INTERVAL_ANNOTATION)
        && let Err(error) = parse_duration(text)
    {
        wrong(name, format!("{text:?} {error}"));
    }
    errors
}

/// The properties that policies name and the device does not have, once its model says which it has.
fn unknown<'a>(
    policies: &'a Policies,
    device: &Value,
    model: Option<&Value>,
) -> impl Iterator<Item = &'a str> {
    let rules = model.map(|model| Rules::of(device, Some(model)));
    policies.names().filter(move |name| {
        let rules = rules.as_ref();
        rules.is_some_and(|rules| rules.get(name).is_none())
    })
}

#[cfg(test)]
mod tests;
