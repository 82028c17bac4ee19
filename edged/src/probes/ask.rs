//! Asks one question.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Check, Probe};
use crate::runtime::{ContainerId, Runtime};

/// The beginning of an HTTP answer, enough for its status.
const ANSWER_BYTES: usize = 64;
/// What is shown to people of what a command said.
const OUTPUT_SHOWN: usize = 256;

/// Asks; `Err` says what is wrong, in words for an event.
///
/// # Errors
/// When the container is not well, or does not answer in time.
pub async fn ask(
    runtime: &dyn Runtime,
    container: &ContainerId,
    probe: &Probe,
    node_address: &str,
) -> Result<(), String> {
    let or_node = |host: &str| match host {
        "" => node_address.to_owned(),
        host => host.to_owned(),
    };
    match &probe.check {
        Check::Exec(command) => exec(runtime, container, command, probe.timeout).await,
        Check::Tcp { host, port } => {
            let target = (or_node(host), *port);
            in_time(probe.timeout, async {
                TcpStream::connect(target).await.map(drop)
            })
            .await
        }
        Check::Http {
            host,
            port,
            path,
            headers,
        } => {
            let host = or_node(host);
            let status = in_time(probe.timeout, get(&host, *port, path, headers)).await?;
            match status {
                200..400 => Ok(()),
                _ => Err(format!("HTTP probe failed with statuscode: {status}")),
            }
        }
        Check::Unsupported(what) => Err((*what).to_owned()),
    }
}

async fn exec(
    runtime: &dyn Runtime,
    container: &ContainerId,
    command: &[String],
    limit: Duration,
) -> Result<(), String> {
    let outcome = runtime
        .exec(container, command, limit)
        .await
        .map_err(|error| error.to_string())?;
    match outcome.code {
        Some(0) => Ok(()),
        Some(code) => {
            let said: String = outcome.output.trim().chars().take(OUTPUT_SHOWN).collect();
            Err(format!("command exited with {code}: {said}")
                .trim_end_matches([':', ' '])
                .to_owned())
        }
        None => Err(format!("command timed out after {} s", limit.as_secs())),
    }
}

async fn in_time<T>(
    limit: Duration,
    future: impl Future<Output = std::io::Result<T>>,
) -> Result<T, String> {
    match tokio::time::timeout(limit, future).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    }
}

/// The status of a GET. Redirects are success, so there is nothing to follow.
async fn get(
    host: &str,
    port: u16,
    path: &str,
    headers: &[(String, String)],
) -> std::io::Result<u16> {
    let invalid = |what| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
    if path.contains(|letter: char| letter.is_control() || letter == ' ') {
        return Err(invalid("the path is not valid"));
    }
    let mut stream = TcpStream::connect((host, port)).await?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut request = format!("GET {slash}{path} HTTP/1.1\r\nConnection: close\r\n");
    let own_host = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"));
    if !own_host {
        request.push_str(&format!("Host: {host}:{port}\r\n"));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("User-Agent: kube-probe/causeway\r\nAccept: */*\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES);
    (&mut stream)
        .take(ANSWER_BYTES as u64)
        .read_to_end(&mut answer)
        .await?;
    let line = String::from_utf8_lossy(&answer);
    let status = line
        .strip_prefix("HTTP/1.")
        .and_then(|line| line.split(' ').nth(1));
    status
        .and_then(|status| status.get(..3)?.parse().ok())
        .ok_or_else(|| invalid("the answer is not HTTP"))
}
