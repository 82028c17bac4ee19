//! The edge's end: dialing the cloud.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use causeway_log::NodeName;
use http::{StatusCode, Uri};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::{SYNC_PATH, WsTransport, config};
use crate::tcp;

/// Where a cloud listens for nodes: `ws://host:port`, optionally with a path prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncUrl {
    host: String,
    port: u16,
    prefix: String,
}

/// A text is no [`SyncUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a URL such as ws://cloud.example:10000: {what}")]
pub struct InvalidUrl {
    what: &'static str,
}

impl FromStr for SyncUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let invalid = |what| InvalidUrl { what };
        let uri: Uri = text.parse().map_err(|_| invalid("it does not parse"))?;
        match uri.scheme_str() {
            Some("ws") => {}
            Some("wss") => return Err(invalid("TLS is not spoken here")),
            Some(_) | None => return Err(invalid("it does not begin with ws://")),
        }
        if uri.query().is_some() {
            return Err(invalid("it has a query"));
        }
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| invalid("it has no host"))?;
        Ok(Self {
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: uri.port_u16().unwrap_or(80),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for SyncUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "ws://[{}]:{}{}", self.host, self.port, self.prefix)
        } else {
            write!(f, "ws://{}:{}{}", self.host, self.port, self.prefix)
        }
    }
}

/// The cloud cannot be reached, or does not want to talk.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody there, no route, no name.
    #[error("cannot connect to {url}")]
    Connect {
        /// Where.
        url: SyncUrl,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("{url} did not answer within {} s", limit.as_secs())]
    Timeout {
        /// Where.
        url: SyncUrl,
        /// How long was waited.
        limit: Duration,
    },
    /// The other side speaks HTTP but refuses.
    #[error("{url} refused this node with HTTP status {status}: {reason}")]
    Refused {
        /// Where.
        url: SyncUrl,
        /// The status.
        status: StatusCode,
        /// The beginning of the answer, as text.
        reason: String,
        /// Not before this long.
        retry_after: Option<Duration>,
    },
    /// The other side is no sync endpoint.
    #[error("{url} is no sync endpoint")]
    Handshake {
        /// Where.
        url: SyncUrl,
        /// Why.
        #[source]
        source: Box<WsError>,
    },
}

/// What is shown of an answer that refuses.
const REASON_CHARS_MAX: usize = 200;

/// Connects to the sync endpoint of `node` within `limit`, from name resolution to the end of the
/// WebSocket handshake.
///
/// # Errors
/// [`DialError`]
pub async fn dial(
    url: &SyncUrl,
    node: &NodeName,
    limit: Duration,
) -> Result<WsTransport<TcpStream>, DialError> {
    tokio::time::timeout(limit, connect(url, node))
        .await
        .unwrap_or_else(|_| {
            Err(DialError::Timeout {
                url: url.clone(),
                limit,
            })
        })
}

async fn connect(url: &SyncUrl, node: &NodeName) -> Result<WsTransport<TcpStream>, DialError> {
    let unreachable = |source| DialError::Connect {
        url: url.clone(),
        source,
    };
    let stream = TcpStream::connect((url.host.as_str(), url.port))
        .await
        .map_err(unreachable)?;
    tcp::tune(&stream).map_err(unreachable)?;
    let request = format!("{url}{SYNC_PATH}/{node}")
        .into_client_request()
        .map_err(|error| handshake_error(url, error))?;
    match tokio_tungstenite::client_async_with_config(request, stream, Some(config())).await {
        Ok((socket, _)) => Ok(WsTransport::new(socket)),
        Err(error) => Err(handshake_error(url, error)),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what else the library reports is one thing"
)]
fn handshake_error(url: &SyncUrl, error: WsError) -> DialError {
    match error {
        WsError::Io(source) => DialError::Connect {
            url: url.clone(),
            source,
        },
        WsError::Http(response) => {
            let retry_after = response
                .headers()
                .get(http::header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .map(Duration::from_secs);
            let body = response.body().as_deref().unwrap_or_default();
            let reason = String::from_utf8_lossy(body)
                .trim()
                .chars()
                .take(REASON_CHARS_MAX)
                .collect();
            DialError::Refused {
                url: url.clone(),
                status: response.status(),
                reason,
                retry_after,
            }
        }
        other => DialError::Handshake {
            url: url.clone(),
            source: Box::new(other),
        },
    }
}
