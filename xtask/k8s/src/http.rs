//! Small exchanges with servers on loopback.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Bytes of an answer; ours have some hundred.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Sends one request to a port of loopback; gives the JSON of the answer, whatever its status.
///
/// # Errors
/// When nobody answers with JSON.
pub(crate) fn exchange(port: u16, method: &str, path: &str, body: &str) -> Result<Value> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("nobody listens")?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = body.len();
    // HTTP/1.0: the answer ends with the connection.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_string(&mut answer)
        .context("no answer")?;
    let (_, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("no HTTP: {answer:?}"))?;
    serde_json::from_str(body).with_context(|| format!("no JSON: {body:?}"))
}
