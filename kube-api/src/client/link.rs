//! One HTTP/1.1 connection, driven by whoever waits for it: no task of its own.

use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::ApiError;
use super::limits::{CONNECT_TIMEOUT, CONNECTION_BUFFER_BYTES_MAX};

/// Where the API is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Unix(Arc<PathBuf>),
    Tcp(Arc<str>),
}

impl Address {
    /// The value of the Host header.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Unix(_) => "localhost",
            Self::Tcp(authority) => authority,
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Connection = http1::Connection<TokioIo<Box<dyn Io>>, Full<Bytes>>;

/// A connection: what sends on it and what moves its bytes.
pub(super) struct Link {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    connection: Option<Box<Connection>>,
}

/// A request did not get an answer.
pub(super) enum SendError {
    /// The connection was already dead: the request was not sent and may go elsewhere.
    Unsent(Box<http::Request<Full<Bytes>>>),
    /// It may have been sent.
    Failed(hyper::Error),
}

impl Link {
    pub(super) async fn connect(address: &Address) -> Result<Self, ApiError> {
        let unreachable = |source| ApiError::Connect { source };
        let dial = async {
            let io: Box<dyn Io> = match address {
                Address::Unix(path) => Box::new(UnixStream::connect(&**path).await?),
                Address::Tcp(authority) => {
                    let stream = TcpStream::connect(&**authority).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
            };
            Ok(io)
        };
        let io = tokio::time::timeout(CONNECT_TIMEOUT, dial)
            .await
            .map_err(|_| unreachable(std::io::ErrorKind::TimedOut.into()))?
            .map_err(unreachable)?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(CONNECTION_BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|source| ApiError::Transport { source })?;
        Ok(Self {
            sender,
            connection: Some(Box::new(connection)),
        })
    }

    /// Whether another request may be sent on it.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_some() && !self.sender.is_closed()
    }

    /// Sends one request and waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, SendError> {
        let connection = &mut self.connection;
        if let Err(source) = drive(connection, self.sender.ready()).await {
            return match source.is_closed() || source.is_canceled() {
                true => Err(SendError::Unsent(Box::new(request))),
                false => Err(SendError::Failed(source)),
            };
        }
        let answer = self.sender.try_send_request(request);
        drive(connection, answer)
            .await
            .map_err(|mut failed| match failed.take_message() {
                Some(request) => SendError::Unsent(Box::new(request)),
                None => SendError::Failed(failed.into_error()),
            })
    }

    /// The next piece of a body; `None` at its end.
    pub(super) async fn chunk(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, ApiError> {
        loop {
            match drive(&mut self.connection, body.frame()).await {
                None => return Ok(None),
                Some(Err(source)) => return Err(ApiError::Transport { source }),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    Err(_trailers) => {}
                },
            }
        }
    }

    /// The whole body, if it has at most `limit` bytes.
    pub(super) async fn collect(
        &mut self,
        mut body: Incoming,
        limit: usize,
    ) -> Result<Bytes, ApiError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.chunk(&mut body).await? {
            if whole.len() + piece.len() > limit {
                return Err(ApiError::TooLarge { limit });
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}

/// Waits for `future` while the connection makes progress.
async fn drive<F: Future>(connection: &mut Option<Box<Connection>>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Some(alive) = connection
            && Pin::new(&mut **alive).poll(context).is_ready()
        {
            // Its error, if any, is also what `future` resolves with.
            *connection = None;
        }
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(output),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
