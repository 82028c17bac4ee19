//! Bodies of Secrets and tokens without what is secret in them.

use causeway_log::Key;
use serde_json::Value;

#[cfg(test)]
mod tests;

/// What stands where something secret was.
pub const REDACTED: &str = "(redacted)";

/// Annotations in which clients keep whole manifests.
const MANIFEST_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Replaces what is secret in a body of this key: the values of a Secret's `data` and
/// `stringData`, also inside a write request, and manifests kept in annotations; the token of a
/// service account.
pub fn redact(key: &Key, body: &mut Value) {
    if key.resource.is("causeway.dev", "serviceaccounttokens") {
        redact_token(body);
        if let Some(object) = body.get_mut("object") {
            redact_token(object);
        }
        return;
    }
    if !key.resource.is("", "secrets") {
        return;
    }
    redact_secret(body);
    if let Some(object) = body.get_mut("object") {
        redact_secret(object);
    }
}

fn redact_token(object: &mut Value) {
    if let Some(token) = object.get_mut("token").filter(|token| !token.is_null()) {
        *token = REDACTED.into();
    }
}

fn redact_secret(object: &mut Value) {
    for field in ["data", "stringData"] {
        match object.get_mut(field) {
            Some(Value::Object(values)) => {
                for value in values.values_mut() {
                    *value = REDACTED.into();
                }
            }
            // Not the shape it should have; it may hold anything.
            Some(other) if !other.is_null() => *other = REDACTED.into(),
            Some(_) | None => {}
        }
    }
    let manifest = object
        .pointer_mut("/metadata/annotations")
        .and_then(|all| all.get_mut(MANIFEST_ANNOTATION));
    if let Some(manifest) = manifest {
        *manifest = REDACTED.into();
    }
}
