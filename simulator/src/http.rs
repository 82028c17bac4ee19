//! A small HTTP/1.1 client: one connection a request, JSON bodies, over TCP or a Unix socket.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

/// Longest answer that is read into memory.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Longest line of a stream.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// An endpoint that does not answer by then is taken for gone.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `host:port`.
    Tcp(String),
    /// Path of a socket.
    Unix(PathBuf),
}

/// Why there is no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody listens there.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("{endpoint} did not answer properly")]
    Exchange {
        /// Who.
        endpoint: Endpoint,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server refused.
    #[error("{endpoint} answered {status}: {message}")]
    Refused {
        /// Who.
        endpoint: Endpoint,
        /// HTTP status.
        status: StatusCode,
        /// The message of its `Status` object, or the body as text.
        message: String,
        /// The whole body.
        body: Bytes,
    },
}

impl HttpError {
    /// The status of a refusal.
    #[must_use]
    pub const fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Connect { .. } | Self::Exchange { .. } => None,
            Self::Refused { status, .. } => Some(*status),
        }
    }
}

/// Asks one server.
#[derive(Clone, Debug)]
pub struct Http {
    endpoint: Endpoint,
    token: Option<Token>,
}

/// Shown to a server, and nobody else.
#[derive(Clone)]
struct Token(Arc<str>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Lines of an answer that has no end, as they come.
#[derive(Debug)]
pub struct Lines {
    endpoint: Endpoint,
    body: Incoming,
    buffer: BytesMut,
    _driver: JoinSet<()>,
}

impl Endpoint {
    /// Reads `host:port`, `http://host:port` or `unix:/path`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        text.strip_prefix("unix:").map_or_else(
            || {
                Self::Tcp(
                    text.trim_start_matches("http://")
                        .trim_end_matches('/')
                        .to_owned(),
                )
            },
            |path| Self::Unix(path.into()),
        )
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Http {
    /// A client of the server at `endpoint`.
    #[must_use]
    pub const fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            token: None,
        }
    }

    /// The same client with a bearer token, for servers that ask for one.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self {
            token: Some(Token(token.into())),
            ..self
        }
    }

    /// A client of the server at a TCP address.
    #[must_use]
    pub fn tcp(address: impl fmt::Display) -> Self {
        Self::new(Endpoint::Tcp(address.to_string()))
    }

    /// Where it asks.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// GET, a JSON answer.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn get(&self, path: &str) -> Result<Value, HttpError> {
        self.json(Method::GET, path, None).await
    }

    /// GET, the body as it is.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn text(&self, path: &str) -> Result<String, HttpError> {
        let body = self.send(Method::GET, path, None, "").await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Any method with a JSON body, a JSON answer.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, HttpError> {
        self.json_as(method, path, body, "application/json").await
    }

    /// A patch of the given content type, a JSON answer.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn merge_patch(&self, path: &str, patch: &Value) -> Result<Value, HttpError> {
        self.json_as(
            Method::PATCH,
            path,
            Some(patch),
            "application/merge-patch+json",
        )
        .await
    }

    async fn json_as(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        content_type: &str,
    ) -> Result<Value, HttpError> {
        let body = body.map(|value| value.to_string().into());
        let answer = self.send(method, path, body, content_type).await?;
        serde_json::from_slice(&answer).map_err(|source| self.exchange(source))
    }

    /// GET of an answer that goes on, line by line.
    ///
    /// # Errors
    /// [`HttpError`]
    pub async fn lines(&self, path: &str) -> Result<Lines, HttpError> {
        let (status, body, driver) = self.open(Method::GET, path, None, "").await?;
        if !status.is_success() {
            return Err(self.refused(status, self.collect(body).await?));
        }
        let endpoint = self.endpoint.clone();
        Ok(Lines {
            endpoint,
            body,
            buffer: BytesMut::new(),
            _driver: driver,
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        content_type: &str,
    ) -> Result<Bytes, HttpError> {
        let exchange = async {
            let (status, body, _driver) = self.open(method, path, body, content_type).await?;
            let body = self.collect(body).await?;
            if status.is_success() {
                Ok(body)
            } else {
                Err(self.refused(status, body))
            }
        };
        let answered = tokio::time::timeout(ANSWER_WITHIN, exchange).await;
        answered.unwrap_or_else(|elapsed| Err(self.exchange(elapsed)))
    }

    async fn open(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        content_type: &str,
    ) -> Result<(StatusCode, Incoming, JoinSet<()>), HttpError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "causeway");
        let request = match &self.token {
            Some(Token(token)) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        };
        let request = match (&body, content_type) {
            (Some(_), kind) => request.header(header::CONTENT_TYPE, kind),
            (None, _) => request,
        };
        let request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|source| self.exchange(source))?;
        let connect = |source| HttpError::Connect {
            endpoint: self.endpoint.clone(),
            source,
        };
        let mut driver = JoinSet::new();
        let mut sender = match &self.endpoint {
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(connect)?;
                let _ = stream.set_nodelay(true);
                let (sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream))
                        .await
                        .map_err(|source| self.exchange(source))?;
                driver.spawn(async { drop(connection.await) });
                sender
            }
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(connect)?;
                let (sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream))
                        .await
                        .map_err(|source| self.exchange(source))?;
                driver.spawn(async { drop(connection.await) });
                sender
            }
        };
        let answer = sender
            .send_request(request)
            .await
            .map_err(|source| self.exchange(source))?;
        let status = answer.status();
        Ok((status, answer.into_body(), driver))
    }

    async fn collect(&self, body: Incoming) -> Result<Bytes, HttpError> {
        let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        whole
            .map(http_body_util::Collected::to_bytes)
            .map_err(|source| self.exchange(source))
    }

    fn exchange(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HttpError {
        HttpError::Exchange {
            endpoint: self.endpoint.clone(),
            source: source.into(),
        }
    }

    fn refused(&self, status: StatusCode, body: Bytes) -> HttpError {
        let message = serde_json::from_slice::<Value>(&body)
            .ok()
            .and_then(|value| value.get("message")?.as_str().map(str::to_owned))
            .unwrap_or_else(|| String::from_utf8_lossy(&body).trim().to_owned());
        HttpError::Refused {
            endpoint: self.endpoint.clone(),
            status,
            message,
            body,
        }
    }
}

impl Lines {
    /// The next line without its end; `None` when the answer is over.
    ///
    /// # Errors
    /// [`HttpError::Exchange`] when the connection broke or a line is too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(end + 1);
                line.truncate(end);
                return Ok(Some(line.freeze()));
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(self.exchange("a line has no end"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(source)) => return Err(self.exchange(source)),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Ok(Some(self.buffer.split().freeze())),
            }
        }
    }

    fn exchange(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HttpError {
        HttpError::Exchange {
            endpoint: self.endpoint.clone(),
            source: source.into(),
        }
    }
}
