//! Deletes: at once, or by a mark that somebody else acts on.

use serde::Deserialize;
use serde_json::Value;

use super::meta::{self, after};
use super::{Context, DeleteOptions, Deletion, Prepared};
use crate::catalog::ServedKind;
use crate::schema::cause;
use crate::status::Status;

/// Grace period of a pod that names none, in seconds.
const GRACE_SECONDS: i64 = 30;
const POLICIES: [&str; 3] = ["Background", "Foreground", "Orphan"];

pub(super) fn prepare(
    kind: &ServedKind,
    current: &Value,
    options: &DeleteOptions,
    context: &Context,
) -> Result<Deletion, Status> {
    check_options(options)?;
    check_preconditions(kind, current, options)?;
    let metadata = &current["metadata"];
    let finalized = metadata["finalizers"].as_array().is_none_or(Vec::is_empty);
    let marked = metadata["deletionTimestamp"].is_string();
    let grace = grace_period(kind, current, options);
    if grace == 0 && finalized {
        return Ok(Deletion::Remove);
    }
    if marked {
        // A repeated delete may only bring the end nearer.
        let left = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        if options.grace_period_seconds.is_none() || grace >= left {
            return Ok(Deletion::Terminating);
        }
    }
    let mut object = current.clone();
    meta::strip(&mut object);
    if !marked && object["metadata"]["generation"].is_i64() {
        meta::bump_generation(&mut object);
    }
    let fields = meta::fields(&mut object);
    fields.insert(
        "deletionTimestamp".to_owned(),
        after(context.now, grace).into(),
    );
    fields.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    let prepared = Prepared {
        object,
        unchanged: false,
        remove: false,
        warnings: Vec::new(),
    };
    Ok(Deletion::Mark(Box::new(prepared)))
}

/// Only a pod that a node may run gets time.
fn grace_period(kind: &ServedKind, current: &Value, options: &DeleteOptions) -> i64 {
    if !kind.resource.is("", "pods") {
        return 0;
    }
    let spec = &current["spec"];
    let bound = spec["nodeName"]
        .as_str()
        .is_some_and(|node| !node.is_empty());
    let ended = matches!(
        current["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    if !bound || ended {
        return 0;
    }
    let own = || {
        spec["terminationGracePeriodSeconds"]
            .as_i64()
            .unwrap_or(GRACE_SECONDS)
    };
    match options.grace_period_seconds.unwrap_or_else(own) {
        // Kubernetes reads a negative period as the shortest one.
        seconds if seconds < 0 => 1,
        seconds => seconds,
    }
}

fn check_options(options: &DeleteOptions) -> Result<(), Status> {
    match options.propagation_policy.as_deref() {
        Some(policy) if !POLICIES.contains(&policy) => {
            let field = "propagationPolicy".to_owned();
            let cause = cause::unsupported(field, &policy.into(), &POLICIES);
            Err(Status::invalid("", "DeleteOptions", "", vec![cause]))
        }
        _ => Ok(()),
    }
}

fn check_preconditions(
    kind: &ServedKind,
    current: &Value,
    options: &DeleteOptions,
) -> Result<(), Status> {
    if let Some(uid) = &options.uid
        && uid != meta::text(current, "uid")
    {
        return Err(meta::uid_conflict(kind, current, uid));
    }
    let found = meta::text(current, "resourceVersion");
    if let Some(wanted) = &options.resource_version
        && wanted != found
    {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in \
             object meta: {found}"
        );
        return Err(Status::conflict(
            &kind.resource,
            meta::text(current, "name"),
            &why,
        ));
    }
    Ok(())
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Body {
    kind: String,
    grace_period_seconds: Option<i64>,
    preconditions: Option<Preconditions>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    dry_run: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

pub(super) fn parse(body: &[u8]) -> Result<DeleteOptions, Status> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(DeleteOptions::default());
    }
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        Status::bad_request(format!(
            "the body of the request is no DeleteOptions: {error}"
        ))
    })?;
    if !matches!(body.kind.as_str(), "" | "DeleteOptions") {
        return Err(Status::bad_request(format!(
            "{} cannot be handled as a DeleteOptions",
            body.kind
        )));
    }
    let preconditions = body.preconditions.unwrap_or_default();
    let orphan = body
        .orphan_dependents
        .map(|orphan| if orphan { "Orphan" } else { "Background" });
    Ok(DeleteOptions {
        grace_period_seconds: body.grace_period_seconds,
        uid: preconditions.uid,
        resource_version: preconditions.resource_version,
        propagation_policy: body
            .propagation_policy
            .or_else(|| orphan.map(ToOwned::to_owned)),
        dry_run: body
            .dry_run
            .is_some_and(|stages| stages.iter().any(|stage| stage == "All")),
    })
}
