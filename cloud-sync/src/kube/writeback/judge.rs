//! What an answer of the API server means for what was asked. Pure.
//!
//! | answer                                              | meaning                               |
//! |-----------------------------------------------------|---------------------------------------|
//! | 500 because the object is too large for etcd        | never, as 413                         |
//! | none, timeout, 408, 425, 429, 5xx otherwise         | the server's trouble: ask again       |
//! | 401, 403 "cannot impersonate"                       | our set-up's trouble: ask again       |
//! | 403 of the authorizer                               | ask again a few times, it may lag     |
//! | 404, 409 about the uid, namespace terminating       | another life: nothing to do any more  |
//! | 403 because the pod is bound to another node        | another life, as bindings never change |
//! | 409 otherwise                                       | somebody wrote meanwhile: ask again   |
//! | other 4xx, such as 400, 403 of admission, 413, 422  | never: refused, told, passed over     |

use std::time::Duration;

use causeway_kube_api::Status;

use super::call::CallError;
use crate::kube::client::is_about_impersonation;

/// The meaning of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The server cannot answer anybody just now.
    Unavailable {
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// This service lacks what it needs: credentials, or the right to impersonate nodes.
    Misconfigured,
    /// An authorizer denies it. Its view of the cluster may lag, and rights may yet be given.
    Denied,
    /// Somebody else wrote the object meanwhile.
    Conflict,
    /// The object is there already.
    Exists,
    /// The object is gone, or it is another life of the name.
    Gone,
    /// It can never succeed.
    Never,
}

impl Meaning {
    /// The name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Misconfigured => "misconfigured",
            Self::Denied => "denied",
            Self::Conflict => "conflict",
            Self::Exists => "exists",
            Self::Gone => "gone",
            Self::Never => "never",
        }
    }
}

/// Judges a failed call.
#[must_use]
pub fn judge(error: &CallError) -> Meaning {
    let (status, retry_after) = match error {
        CallError::Refused {
            status,
            retry_after,
        } => (status, *retry_after),
        CallError::NoAnswer { .. } => return Meaning::Unavailable { retry_after: None },
        CallError::Malformed { .. } => return Meaning::Never,
    };
    match status.code {
        401 => Meaning::Misconfigured,
        403 => judge_forbidden(status),
        404 => Meaning::Gone,
        409 if status.reason == "AlreadyExists" => Meaning::Exists,
        409 if is_about_uid(status) => Meaning::Gone,
        409 => Meaning::Conflict,
        422 if is_about_uid(status) => Meaning::Gone,
        500.. if is_too_large(status) => Meaning::Never,
        408 | 425 | 429 | 500.. => Meaning::Unavailable { retry_after },
        _ => Meaning::Never,
    }
}

/// Whether the store behind the API server takes no object this large. The API server passes on what
/// etcd, or its client, says: an object may have 3 MiB on its way there, and 1.5 MiB in it.
pub(super) fn is_too_large(status: &Status) -> bool {
    let message = &status.message;
    status.code == 413
        || message.contains("etcdserver: request is too large")
        || message.contains("trying to send message larger than max")
}

fn judge_forbidden(status: &Status) -> Meaning {
    let message = &status.message;
    let terminating = status.details.as_ref().is_some_and(|details| {
        let mut causes = details.causes.iter();
        causes.any(|cause| cause.reason == "NamespaceTerminating")
    });
    if terminating || is_another_life(message) {
        return Meaning::Gone;
    }
    // The authorizers' words; admission plugins use others.
    let denied = message.contains("User \"") && message.contains("\" cannot ");
    if is_about_impersonation(message) {
        Meaning::Misconfigured
    } else if denied {
        Meaning::Denied
    } else {
        Meaning::Never
    }
}

/// The words of NodeRestriction. What is sent is about pods that were bound to the node, and a pod
/// stays where it is bound.
fn is_another_life(message: &str) -> bool {
    let phrases = [
        "can only delete pods with spec.nodeName set to itself",
        "can only update pod status for pods with spec.nodeName set to itself",
        "token bound to a pod scheduled on a different node",
        UID_OF_TOKEN,
    ];
    phrases.iter().any(|phrase| message.contains(phrase))
}

/// A token is asked for a life of a pod that is over.
const UID_OF_TOKEN: &str = "the UID in the bound object reference";

/// A patch or delete of a life that is over fails as a precondition or as a change of what may not
/// change, whichever the server checks first.
fn is_about_uid(status: &Status) -> bool {
    let about = |details: &causeway_kube_api::status::Details| {
        details
            .causes
            .iter()
            .any(|cause| cause.field == "metadata.uid")
    };
    status.message.contains("UID in precondition")
        || status.message.contains(UID_OF_TOKEN)
        || status.message.contains("uid mismatch")
        || status.details.as_deref().is_some_and(about)
}
