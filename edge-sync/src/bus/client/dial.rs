//! From an address to the broker's welcome.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::super::mqtt::{Connect, Incoming, Packet, ProtocolError, Wire, WireError};
use crate::config::{MqttConfig, MqttUrl};

/// From dialing to the broker's welcome.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The broker closes a connection from which nothing comes for one and a half of it.
const KEEP_ALIVE_SECONDS: u16 = 30;

/// There is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("cannot be reached")]
    Io(#[source] std::io::Error),
    #[error("no answer in {CONNECT_TIMEOUT:?}")]
    Timeout,
    #[cfg(feature = "tls")]
    #[error("no TLS")]
    Tls(#[from] super::super::tls::TlsError),
    #[cfg(not(feature = "tls"))]
    #[error("this build has no TLS")]
    NoTls,
    #[error("cannot read the password")]
    Password(#[source] std::io::Error),
    #[error("the broker refuses the connection: {0}")]
    Refused(&'static str),
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// A connection, over TLS or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
pub(super) type Connection = Wire<Box<dyn Stream>>;

/// A connection on which messages can be sent, and whether the broker has kept the session of
/// `client`.
pub(super) async fn dial(
    config: &MqttConfig,
    url: &MqttUrl,
    client: String,
) -> Result<(Connection, bool), DialError> {
    let dialing = tokio::time::timeout(CONNECT_TIMEOUT, welcomed(config, url, client));
    dialing.await.unwrap_or(Err(DialError::Timeout))
}

async fn welcomed(
    config: &MqttConfig,
    url: &MqttUrl,
    client: String,
) -> Result<(Connection, bool), DialError> {
    let MqttUrl { tls, host, port } = url;
    let stream = TcpStream::connect((host.as_str(), *port)).await;
    let stream = stream.map_err(DialError::Io)?;
    stream.set_nodelay(true).map_err(DialError::Io)?;
    let stream: Box<dyn Stream> = if *tls {
        secured(config, host, stream).await?
    } else {
        Box::new(stream)
    };
    let mut wire = Wire::new(stream, config.message_bytes_max);
    let password = super::super::password(config).await;
    wire.send(&Packet::Connect(Connect {
        client,
        clean: false,
        keep_alive: KEEP_ALIVE_SECONDS,
        username: config.username.clone(),
        password: password.map_err(DialError::Password)?,
        will: None,
    }));
    wire.flush().await?;
    match wire.receive().await? {
        Incoming::Packet(Packet::ConnAck {
            session_present,
            code: 0,
        }) => Ok((wire, session_present)),
        Incoming::Packet(Packet::ConnAck { code, .. }) => Err(DialError::Refused(refusal(code))),
        Incoming::Packet(_) | Incoming::Oversized { .. } => {
            Err(WireError::from(ProtocolError::Unexpected).into())
        }
    }
}

#[cfg(feature = "tls")]
async fn secured(
    config: &MqttConfig,
    host: &str,
    stream: TcpStream,
) -> Result<Box<dyn Stream>, DialError> {
    Ok(Box::new(
        super::super::tls::connect(config, host, stream).await?,
    ))
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unused_async, reason = "as with TLS")]
async fn secured(_: &MqttConfig, _: &str, _: TcpStream) -> Result<Box<dyn Stream>, DialError> {
    Err(DialError::NoTls)
}

const fn refusal(code: u8) -> &'static str {
    match code {
        1 => "it does not speak MQTT 3.1.1",
        2 => "it does not take the client id",
        3 => "it is not available",
        4 => "user name or password is wrong",
        5 => "not authorized",
        _ => "for no reason that MQTT knows",
    }
}
