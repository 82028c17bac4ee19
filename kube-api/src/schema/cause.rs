//! Causes of invalidity in Kubernetes' words.

use serde_json::Value;

use crate::status::Cause;

fn cause(reason: &str, field: String, message: String) -> Cause {
    Cause {
        reason: reason.to_owned(),
        message,
        field,
    }
}

/// A required field is missing or empty. `detail` may be empty.
pub(crate) fn required(field: String, detail: &str) -> Cause {
    cause(
        "FieldValueRequired",
        field,
        with_detail("Required value".to_owned(), detail),
    )
}

/// A value breaks a rule.
pub(crate) fn invalid(field: String, value: &Value, detail: &str) -> Cause {
    let message = with_detail(format!("Invalid value: {}", shown(value)), detail);
    cause("FieldValueInvalid", field, message)
}

/// A string breaks a rule.
pub(crate) fn invalid_text(field: String, value: &str, detail: &str) -> Cause {
    invalid(field, &Value::from(value), detail)
}

/// A value is none of the possible ones.
pub(crate) fn unsupported(field: String, value: &Value, supported: &[&str]) -> Cause {
    let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
    let message = format!(
        "Unsupported value: {}: supported values: {}",
        shown(value),
        supported.join(", ")
    );
    cause("FieldValueNotSupported", field, message)
}

/// A value that must be unique is there twice.
pub(crate) fn duplicate(field: String, value: &Value) -> Cause {
    cause(
        "FieldValueDuplicate",
        field,
        format!("Duplicate value: {}", shown(value)),
    )
}

/// A name refers to nothing.
pub(crate) fn not_found(field: String, value: &str) -> Cause {
    cause("FieldValueNotFound", field, format!("Not found: {value:?}"))
}

/// A field may not be set, or not be changed.
pub(crate) fn forbidden(field: String, detail: &str) -> Cause {
    cause(
        "FieldValueForbidden",
        field,
        with_detail("Forbidden".to_owned(), detail),
    )
}

/// Too many bytes.
pub(crate) fn too_long(field: String, limit: usize) -> Cause {
    let message = format!("Too long: may not be more than {limit} bytes");
    cause("FieldValueTooLong", field, message)
}

/// A value of the wrong JSON type.
pub(crate) fn wrong_type(field: String, found: &str, expected: &str) -> Cause {
    let path = field.clone();
    let message =
        format!("Invalid value: {found:?}: {path} in body must be of type {expected}: {found:?}");
    cause("FieldValueTypeInvalid", field, message)
}

fn with_detail(mut message: String, detail: &str) -> String {
    if !detail.is_empty() {
        message.push_str(": ");
        message.push_str(detail);
    }
    message
}

/// Longest value repeated in a message, in bytes.
const SHOWN_BYTES_MAX: usize = 256;

fn shown(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > SHOWN_BYTES_MAX {
        let end = (0..=SHOWN_BYTES_MAX)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
