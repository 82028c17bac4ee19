//! Metadata: what a client may say in it, and what only the server does.

use causeway_log::WallTime;
use serde_json::{Map, Value};

use super::Context;
use crate::catalog::ServedKind;
use crate::schema::cause;
use crate::source::format_time;
use crate::status::{Cause, Status};

/// Annotations that only say how an object is served, and are never stored.
const SERVED_ONLY: [&str; 2] = [
    causeway_projections::objects::PENDING_ANNOTATION,
    "causeway.dev/rejected",
];
/// Fields of metadata that are never stored.
const NEVER_STORED: [&str; 3] = ["resourceVersion", "managedFields", "selfLink"];
/// Longest name made of `generateName`: a label, the strictest of names.
const GENERATED_MAX: usize = 63;
const SUFFIX_BYTES: usize = 5;

/// The fields of `metadata`, made if it is absent or no object.
pub(super) fn fields(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Map::new());
    }
    object["metadata"]
        .as_object_mut()
        .expect("was just made an object")
}

/// A text field of `metadata`, empty when absent.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or("")
}

/// Checks apiVersion and kind against the path; sets them where the client left them out.
pub(super) fn check_type(kind: &ServedKind, object: &mut Value) -> Result<(), Status> {
    if !object.is_object() {
        return Err(Status::bad_request(
            "the body of the request is not a JSON object",
        ));
    }
    let api_version = kind.api_version();
    let given = |field: &str| object[field].as_str().unwrap_or("").to_owned();
    let (version, name) = (given("apiVersion"), given("kind"));
    if !version.is_empty() && version != api_version {
        return Err(Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version \
             ({api_version})"
        )));
    }
    if !name.is_empty() && name != *kind.kind {
        return Err(Status::bad_request(format!(
            "{name} in version {:?} cannot be handled as a {}: the kind in the data does not match \
             the kind of the path",
            kind.version, kind.kind
        )));
    }
    object["apiVersion"] = api_version.into();
    object["kind"] = (*kind.kind).into();
    Ok(())
}

/// Checks name and namespace against the path; sets the namespace where it was left out.
pub(super) fn check_place(
    kind: &ServedKind,
    object: &mut Value,
    context: &Context,
) -> Result<(), Status> {
    if !object["metadata"].is_object() && !object["metadata"].is_null() {
        return Err(Status::bad_request(format!(
            "{0} in version {1:?} cannot be handled as a {0}: json: cannot unmarshal metadata into \
             Go struct field {0}.metadata of type v1.ObjectMeta",
            kind.kind, kind.version
        )));
    }
    let name = text(object, "name").to_owned();
    if !context.name.is_empty() && name != context.name && !name.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            context.name
        )));
    }
    let namespace = text(object, "namespace").to_owned();
    let metadata = fields(object);
    if !context.name.is_empty() {
        metadata.insert("name".to_owned(), context.name.as_str().into());
    }
    if !kind.namespaced {
        metadata.remove("namespace");
        return Ok(());
    }
    if !namespace.is_empty() && namespace != context.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    metadata.insert("namespace".to_owned(), context.namespace.as_str().into());
    Ok(())
}

/// Removes what is never stored.
pub(super) fn strip(object: &mut Value) {
    let metadata = fields(object);
    for field in NEVER_STORED {
        metadata.remove(field);
    }
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        let before = annotations.len();
        annotations.retain(|key, _| !SERVED_ONLY.contains(&key.as_str()));
        if annotations.is_empty() && before > 0 {
            metadata.remove("annotations");
        }
    }
}

/// Sets what a new object gets from the server.
pub(super) fn begin(kind: &ServedKind, object: &mut Value, context: &Context) {
    let generated = match (text(object, "name"), text(object, "generateName")) {
        ("", prefix) if !prefix.is_empty() => Some(generated_name(prefix, context.uid.as_bytes())),
        _ => None,
    };
    let metadata = fields(object);
    if let Some(name) = generated {
        metadata.insert("name".to_owned(), name.into());
    }
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        metadata.remove(field);
    }
    metadata.insert(
        "uid".to_owned(),
        context.uid.hyphenated().to_string().into(),
    );
    metadata.insert(
        "creationTimestamp".to_owned(),
        format_time(context.now).into(),
    );
    if has_generation(kind) {
        metadata.insert("generation".to_owned(), 1.into());
    }
}

/// `prefix` and five characters of Kubernetes' alphabet, which cannot spell words.
fn generated_name(prefix: &str, entropy: &[u8; 16]) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut end = prefix.len().min(GENERATED_MAX - SUFFIX_BYTES);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = prefix.get(..end).unwrap_or(prefix).to_owned();
    // The last bytes of a UUID are random in every version used here.
    for byte in entropy.iter().rev().take(SUFFIX_BYTES) {
        let letter = ALPHABET.get(usize::from(*byte) % ALPHABET.len());
        name.push(letter.map_or('x', |letter| char::from(*letter)));
    }
    name
}

/// Whether the kind counts changes of its desired state.
pub(super) fn has_generation(kind: &ServedKind) -> bool {
    kind.custom.is_some()
        || match &*kind.resource.group {
            "" => matches!(&*kind.resource.plural, "pods" | "replicationcontrollers"),
            "apps" => &*kind.resource.plural != "controllerrevisions",
            "batch" | "autoscaling" | "policy" | "apiextensions.k8s.io" => true,
            "networking.k8s.io" => true,
            "discovery.k8s.io" => true,
            _ => false,
        }
}

/// Checks the identity and version that an update names against the current object.
pub(super) fn check_version(
    kind: &ServedKind,
    current: &Value,
    object: &Value,
) -> Result<(), Status> {
    let name = text(current, "name");
    let uid = text(object, "uid");
    if !uid.is_empty() && uid != text(current, "uid") {
        return Err(uid_conflict(kind, current, uid));
    }
    let version = text(object, "resourceVersion");
    if version.is_empty() || version == "0" {
        return if unconditional_update(kind) {
            Ok(())
        } else {
            let field = "metadata.resourceVersion".to_owned();
            let cause = Cause {
                reason: "FieldValueInvalid".to_owned(),
                message: "Invalid value: 0: must be specified for an update".to_owned(),
                field,
            };
            Err(Status::invalid(
                &kind.resource.group,
                &kind.kind,
                name,
                vec![cause],
            ))
        };
    }
    if version != text(current, "resourceVersion") {
        return Err(Status::stale(&kind.resource, name));
    }
    Ok(())
}

/// 409: the name is now that of another object.
pub(super) fn uid_conflict(kind: &ServedKind, current: &Value, wanted: &str) -> Status {
    let why = format!(
        "Precondition failed: UID in precondition: {wanted}, UID in object meta: {}",
        text(current, "uid")
    );
    Status::conflict(&kind.resource, text(current, "name"), &why)
}

/// Whether an update may leave out the resourceVersion.
fn unconditional_update(kind: &ServedKind) -> bool {
    let plural = &*kind.resource.plural;
    kind.custom.is_none() && !matches!(plural, "leases" | "customresourcedefinitions")
}

/// Carries over what an update cannot change, and adds what it must not try to.
pub(super) fn carry_over(current: &Value, object: &mut Value, causes: &mut Vec<Cause>) {
    let old = &current["metadata"];
    let metadata = fields(object);
    for field in ["uid", "creationTimestamp"] {
        let kept = old[field].clone();
        match metadata.get(field) {
            Some(given) if !given.is_null() && *given != kept => {
                let path = format!("metadata.{field}");
                causes.push(cause::invalid(path, given, "field is immutable"));
            }
            _ => {}
        }
        set(metadata, field, kept);
    }
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ] {
        set(metadata, field, old[field].clone());
    }
    if old["deletionTimestamp"].is_string() {
        let had = old["finalizers"].as_array().map_or(&[][..], Vec::as_slice);
        let new: Vec<&str> = metadata
            .get("finalizers")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|finalizer| !had.contains(finalizer))
            .filter_map(Value::as_str)
            .collect();
        if !new.is_empty() {
            let shown: Vec<String> = new.iter().map(|name| format!("{name:?}")).collect();
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new \
                 finalizers []string{{{}}}",
                shown.join(", ")
            );
            causes.push(cause::forbidden("metadata.finalizers".to_owned(), &why));
        }
    }
}

/// Sets a field, or removes it for null.
pub(super) fn set(fields: &mut Map<String, Value>, name: &str, value: Value) {
    if value.is_null() {
        fields.remove(name);
    } else {
        fields.insert(name.to_owned(), value);
    }
}

/// Counts one change of the desired state.
pub(super) fn bump_generation(object: &mut Value) {
    let next = object["metadata"]["generation"]
        .as_i64()
        .unwrap_or(0)
        .saturating_add(1);
    fields(object).insert("generation".to_owned(), next.into());
}

/// A moment `seconds` after `now`.
pub(super) fn after(now: WallTime, seconds: i64) -> String {
    let millis = u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
    format_time(WallTime::from_unix_millis(
        now.unix_millis().saturating_add(millis),
    ))
}
