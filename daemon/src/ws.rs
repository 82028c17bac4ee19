//! Sync messages over a WebSocket: one binary message is one frame of the replication protocol.
//!
//! Both ends give a [`Transport`]: a stream and a sink of [`Bytes`]. Everything is generic over the
//! byte stream below, so TLS slips in underneath.
//!
//! Large messages are cut into small WebSocket fragments. So neither side's buffers outgrow one
//! fragment, and what an idle session keeps does not depend on what it once carried.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use causeway_log::limits::FRAME_BYTES_MAX;
use causeway_log::replication::CloseCode;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{
    CloseCode as WsCloseCode, Data, OpCode,
};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

mod accept;
mod dial;

pub use accept::{Upgrading, upgrade};
pub use dial::{DialError, InvalidUrl, SyncUrl, dial};

/// The path of the sync endpoint, before the node's name.
pub const SYNC_PATH: &str = "/sync/v1";

/// What one fragment of a message carries; bounds the buffers of an idle session.
const FRAGMENT_BYTES: usize = 4 * 1024;
/// The read buffer a session starts with; grows to a fragment when needed.
const READ_BUFFER_BYTES: usize = 512;
/// What may wait in the write buffer: a fragment, its header and control frames.
const WRITE_BUFFER_BYTES_MAX: usize = 4 * FRAGMENT_BYTES;
/// A close reason on the wire, as the protocol allows.
const CLOSE_REASON_BYTES_MAX: usize = 123;
/// Added to a [`CloseCode`] to form the code of a WebSocket close frame.
const CLOSE_CODE_BASE: u16 = 4000;

const _: () = assert!(READ_BUFFER_BYTES <= FRAGMENT_BYTES);

/// A connection to the peer that carries whole messages.
pub trait Transport:
    Stream<Item = Result<Bytes, TransportError>>
    + Sink<Bytes, Error = TransportError>
    + Send
    + Unpin
    + 'static
{
    /// Queues the closing of the connection with a reason; `SinkExt::close` carries it out.
    fn start_close(&mut self, code: CloseCode, reason: &str);

    /// Bytes of messages handed to the layer below so far: grows while a large message moves.
    fn progress(&self) -> u64;
}

/// A connection ended, or must.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The peer closed it in an orderly way.
    #[error("the peer closed the connection: {reason}")]
    Closed {
        /// The reason from the closed set, if it was one of ours.
        code: Option<CloseCode>,
        /// In the peer's words; bounded, from outside.
        reason: String,
    },
    /// A message over [`FRAME_BYTES_MAX`].
    #[error("the peer sent a message over {FRAME_BYTES_MAX} bytes")]
    TooLarge,
    /// What came is no sync connection.
    #[error("the peer broke the transport protocol")]
    Protocol(#[source] WsError),
    /// A text message.
    #[error("the peer sent a text message")]
    Text,
    /// The connection is gone.
    #[error("the connection is lost")]
    Lost(#[source] io::Error),
}

/// A WebSocket over any byte stream.
#[derive(Debug)]
pub struct WsTransport<S> {
    socket: WebSocketStream<S>,
    outgoing: Outgoing,
}

#[derive(Debug, Default)]
struct Outgoing {
    /// What is left of the message being sent.
    rest: Bytes,
    /// Whether its first fragment has been sent.
    begun: bool,
    /// Whether there is one.
    active: bool,
    closing: bool,
    progress: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WsTransport<S> {
    /// A transport over a stream on which the opening handshake is over, at the cloud's end.
    pub async fn server(stream: S) -> Self {
        Self::new(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config())).await)
    }

    /// A transport over a stream on which the opening handshake is over, at the edge's end.
    pub async fn client(stream: S) -> Self {
        Self::new(WebSocketStream::from_raw_socket(stream, Role::Client, Some(config())).await)
    }

    fn new(socket: WebSocketStream<S>) -> Self {
        Self {
            socket,
            outgoing: Outgoing::default(),
        }
    }

    /// Hands fragments down until the message is out or the layer below is full.
    fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        while self.outgoing.active {
            ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(transport_error)?;
            let fragment = self.outgoing.next_fragment();
            Pin::new(&mut self.socket)
                .start_send(Message::Frame(fragment))
                .map_err(transport_error)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Outgoing {
    fn next_fragment(&mut self) -> Frame {
        let piece = self.rest.split_to(self.rest.len().min(FRAGMENT_BYTES));
        let data = if self.begun {
            Data::Continue
        } else {
            Data::Binary
        };
        let last = self.rest.is_empty();
        self.progress += piece.len() as u64;
        (self.begun, self.active) = (!last, !last);
        if last {
            // Lets go of the message's memory.
            self.rest = Bytes::new();
        }
        Frame::message(piece, OpCode::Data(data), last)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WsTransport<S> {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let message = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(transport_error(error)))),
                Some(Ok(message)) => message,
            };
            return Poll::Ready(Some(match message {
                Message::Binary(bytes) => Ok(bytes),
                Message::Text(_) => Err(TransportError::Text),
                Message::Close(frame) => Err(closed(frame)),
                // Answered below; a raw frame is never read.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            }));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Bytes> for WsTransport<S> {
    type Error = TransportError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), TransportError>> {
        self.poll_outgoing(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Bytes) -> Result<(), TransportError> {
        debug_assert!(
            !self.outgoing.active,
            "poll_ready said that the message before is out"
        );
        self.outgoing.rest = message;
        (self.outgoing.begun, self.outgoing.active) = (false, true);
        Ok(())
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), TransportError>> {
        ready!(self.poll_outgoing(cx))?;
        Pin::new(&mut self.socket)
            .poll_flush(cx)
            .map_err(transport_error)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), TransportError>> {
        if !self.outgoing.closing {
            ready!(self.poll_outgoing(cx))?;
        }
        Pin::new(&mut self.socket)
            .poll_close(cx)
            .map_err(transport_error)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for WsTransport<S> {
    fn start_close(&mut self, code: CloseCode, reason: &str) {
        // A message cut short by the close frame is dropped by the peer, as it should.
        self.outgoing.active = false;
        self.outgoing.closing = true;
        let mut end = reason.len().min(CLOSE_REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let frame = CloseFrame {
            code: WsCloseCode::from(CLOSE_CODE_BASE + code as u16),
            reason: reason.split_at(end).0.into(),
        };
        // Refused only when the connection is closed already.
        let _ = Pin::new(&mut self.socket).start_send(Message::Close(Some(frame)));
    }

    fn progress(&self) -> u64 {
        self.outgoing.progress
    }
}

/// Two ends of a connection in memory, cloud's and edge's, with buffers of `bytes` between them.
/// For tests and for both daemons in one process.
pub async fn pair(
    bytes: usize,
) -> (
    WsTransport<tokio::io::DuplexStream>,
    WsTransport<tokio::io::DuplexStream>,
) {
    let (cloud, edge) = tokio::io::duplex(bytes);
    (
        WsTransport::server(cloud).await,
        WsTransport::client(edge).await,
    )
}

/// Waits until the peer has closed the connection too, so that it can read what was sent last.
/// Whatever it still sends is dropped.
pub async fn drain<T: Transport>(transport: &mut T) {
    while poll_fn(|cx| Pin::new(&mut *transport).poll_next(cx))
        .await
        .is_some_and(|read| read.is_ok())
    {}
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX))
}

fn closed(frame: Option<CloseFrame>) -> TransportError {
    let Some(frame) = frame else {
        return TransportError::Closed {
            code: None,
            reason: "without a reason".to_owned(),
        };
    };
    let code = close_code(u16::from(frame.code));
    TransportError::Closed {
        code,
        reason: frame.reason.as_str().to_owned(),
    }
}

fn close_code(number: u16) -> Option<CloseCode> {
    const ALL: [CloseCode; 9] = [
        CloseCode::GoingAway,
        CloseCode::Fenced,
        CloseCode::Version,
        CloseCode::Violation,
        CloseCode::TooLarge,
        CloseCode::Timeout,
        CloseCode::Storage,
        CloseCode::Overloaded,
        CloseCode::Forbidden,
    ];
    ALL.into_iter()
        .find(|code| CLOSE_CODE_BASE + *code as u16 == number)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what else the library reports is one thing"
)]
fn transport_error(error: WsError) -> TransportError {
    match error {
        WsError::Io(error) => TransportError::Lost(error),
        WsError::ConnectionClosed | WsError::AlreadyClosed => {
            TransportError::Lost(io::ErrorKind::NotConnected.into())
        }
        WsError::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => TransportError::Lost(io::ErrorKind::ConnectionReset.into()),
        WsError::Capacity(_) => TransportError::TooLarge,
        other => TransportError::Protocol(other),
    }
}
