//! The little that is asked of etcd itself: its JSON gateway on loopback.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// Bytes of an answer; ours have some hundred.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

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

fn exchange(port: u16, method: &str, path: &str, body: &str) -> Result<Value> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("etcd is away")?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = body.len();
    // HTTP/1.0: the answer ends with the connection.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: etcd\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_string(&mut answer)
        .context("etcd does not answer")?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("no answer of etcd: {answer:?}"))?;
    serde_json::from_str(body).with_context(|| format!("no JSON from etcd: {body:?}"))
}
