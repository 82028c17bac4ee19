//! The little that is asked of etcd itself: its JSON gateway on loopback.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::http::exchange;

/// Whether it serves.
pub(crate) fn healthy(port: u16) -> Result<()> {
    let answer = exchange(port, "GET", "/health", "")?;
    if answer["health"] == "true" {
        Ok(())
    } else {
        bail!("etcd says {answer}")
    }
}

/// Forgets every revision but the newest: watches from before get 410 Gone.
pub(crate) fn compact(port: u16) -> Result<()> {
    // The answer to any read names the revision the store is at.
    let read = json!({"key": "AA==", "limit": "1", "keys_only": true});
    let answer = exchange(port, "POST", "/v3/kv/range", &read.to_string())?;
    let revision = answer.pointer("/header/revision").and_then(Value::as_str);
    let revision = revision.with_context(|| format!("etcd names no revision: {answer}"))?;
    let body = json!({"revision": revision, "physical": true}).to_string();
    let answer = exchange(port, "POST", "/v3/kv/compaction", &body)?;
    let already = answer["message"]
        .as_str()
        .is_some_and(|text| text.contains("has been compacted"));
    if answer.get("header").is_some() || already {
        Ok(())
    } else {
        bail!("etcd does not compact: {answer}")
    }
}
