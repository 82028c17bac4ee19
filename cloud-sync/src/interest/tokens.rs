//! Service-account tokens that a pod mounts, and the objects in which they reach its node.
//!
//! Such an object exists in this store only, never at an API server. Its name is made of the pod's
//! life and the place of the token among the pod's volumes, so whoever sees the pod knows it.

use std::sync::LazyLock;

use causeway_log::limits::KEY_PART_BYTES_MAX;
use causeway_log::{Key, Resource};
use serde_json::Value;

#[cfg(test)]
mod tests;

/// Most tokens of one pod; whatever it mounts beyond is not served.
const TOKENS_MAX: usize = 32;
/// Longest audience that is asked for.
const AUDIENCE_BYTES_MAX: usize = 512;
/// The life of a token that says nothing else, in seconds: Kubernetes' default.
const EXPIRATION_SECONDS: i64 = 3600;

/// The resource of token objects.
#[must_use]
pub fn tokens() -> Resource {
    static TOKENS: LazyLock<Resource> =
        LazyLock::new(|| Resource::new("causeway.dev", "serviceaccounttokens"));
    TOKENS.clone()
}

/// One token that a pod mounts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenSource {
    /// Name of the object that holds the token.
    pub name: String,
    /// The volume that projects it.
    pub volume: String,
    /// Its place among the sources of the volume.
    pub source: usize,
    /// The account.
    pub service_account: String,
    /// For whom the token is; empty for the API server.
    pub audience: String,
    /// How long it is to live.
    pub expiration_seconds: i64,
}

/// The tokens that a pod mounts.
#[must_use]
pub fn token_sources(key: &Key, pod: &Value) -> Vec<TokenSource> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let Some(spec) = pod.get("spec") else {
        return Vec::new();
    };
    let account = text(spec.get("serviceAccountName")).filter(|name| !name.is_empty());
    let account = account.unwrap_or_else(|| "default".to_owned());
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned();
    let mut found = Vec::new();
    for volume in list(spec.get("volumes")).unwrap_or_default() {
        let sources = list(volume.get("projected").and_then(|p| p.get("sources")));
        let volume = text(volume.get("name")).unwrap_or_default();
        for (source, wanted) in sources.unwrap_or_default().iter().enumerate() {
            let Some(token) = wanted.get("serviceAccountToken").filter(|t| t.is_object()) else {
                continue;
            };
            let name = format!("{}.{volume}.{source}", key.uid);
            let audience = text(token.get("audience")).unwrap_or_default();
            let fits = name.len() <= KEY_PART_BYTES_MAX
                && account.len() <= KEY_PART_BYTES_MAX
                && audience.len() <= AUDIENCE_BYTES_MAX;
            if !fits || volume.is_empty() || found.len() >= TOKENS_MAX {
                continue;
            }
            found.push(TokenSource {
                name,
                volume: volume.clone(),
                source,
                service_account: account.clone(),
                audience,
                expiration_seconds: token
                    .get("expirationSeconds")
                    .and_then(Value::as_i64)
                    .unwrap_or(EXPIRATION_SECONDS),
            });
        }
    }
    found
}
