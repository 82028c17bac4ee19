//! Refuses Devices with something wrong in them. Pure.

use causeway_kube_api::Status;
use causeway_kube_api::status::Cause;
use causeway_projections::twin::{DeviceError, GROUP};
use serde_json::Value;

use super::mistakes::mistakes;

/// Most mistakes told at once.
const CAUSES_MAX: usize = 64;

/// Refuses a Device for what is wrong with it and was not wrong `before`: a model that changed makes
/// nobody's next edit impossible.
///
/// # Errors
/// 422, naming each field.
pub(crate) fn admit(
    before: Option<&Value>,
    device: &Value,
    model: Option<&Value>,
) -> Result<(), Box<Status>> {
    let mut errors = mistakes(device, model);
    if errors.is_empty() {
        return Ok(());
    }
    if let Some(before) = before {
        let known = mistakes(before, model);
        errors.retain(|error| !known.contains(error));
    }
    if errors.is_empty() {
        return Ok(());
    }
    let causes = errors.into_iter().take(CAUSES_MAX).map(cause).collect();
    let name = device["metadata"]["name"].as_str().unwrap_or_default();
    Err(Box::new(Status::invalid(GROUP, "Device", name, causes)))
}

fn cause(error: DeviceError) -> Cause {
    Cause {
        reason: "FieldValueInvalid".to_owned(),
        message: error.what,
        field: error.field,
    }
}

#[cfg(test)]
mod tests;
