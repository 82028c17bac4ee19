//! Requests to the API server: credentials, bounds, impersonation, and what errors mean.
//!
//! Credentials are read when they are first needed and again, not more often than every few
//! seconds, after the API server refused them or could not be reached: a repaired kubeconfig, a
//! renewed certificate or another address need no restart.

use std::sync::Arc;
use std::time::Duration;

use ::kube::client::Body;
use bytes::Bytes;
use causeway_log::NodeName;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

mod error;
mod load;
mod path;
#[cfg(test)]
mod tests;

pub use error::{ApiError, Class};
pub use load::Access;
pub use path::segment;

/// Requests that say nothing else get this long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer to a request that says nothing else: an object of the largest size etcd takes,
/// with room for what JSON adds.
const RESPONSE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest description of an error that is read.
const ERROR_BYTES_MAX: usize = 64 * 1024;
/// Credentials are not read again more often.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("cloud-sync/", env!("CARGO_PKG_VERSION"));

/// How a patch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchFormat {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own, which merges lists by key.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl PatchFormat {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    content_type: &'static str,
    body: Bytes,
    timeout: Duration,
    response_bytes_max: usize,
    node: Option<NodeName>,
}

impl Call {
    /// Reads `path`, which may have a query.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into(), "", Bytes::new())
    }

    /// Creates `object` in the collection at `path`, or asks a subresource for something.
    #[must_use]
    pub fn post(path: impl Into<String>, object: &Value) -> Self {
        Self::new(Method::POST, path.into(), "application/json", text(object))
    }

    /// Replaces the object at `path`.
    #[must_use]
    pub fn put(path: impl Into<String>, object: &Value) -> Self {
        Self::new(Method::PUT, path.into(), "application/json", text(object))
    }

    /// Changes the object at `path`. Server-side apply needs its `fieldManager` in the query.
    #[must_use]
    pub fn patch(path: impl Into<String>, format: PatchFormat, patch: &Value) -> Self {
        Self::new(
            Method::PATCH,
            path.into(),
            format.content_type(),
            text(patch),
        )
    }

    /// Deletes the object at `path` with the `DeleteOptions` given.
    #[must_use]
    pub fn delete(path: impl Into<String>, options: &Value) -> Self {
        Self::new(
            Method::DELETE,
            path.into(),
            "application/json",
            text(options),
        )
    }

    fn new(method: Method, path: String, content_type: &'static str, body: Bytes) -> Self {
        Self {
            method,
            path,
            content_type,
            body,
            timeout: REQUEST_TIMEOUT,
            response_bytes_max: RESPONSE_BYTES_MAX,
            node: None,
        }
    }

    /// Gives up after so long.
    #[must_use]
    pub const fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Reads at most so much of the answer; more is an error.
    #[must_use]
    pub const fn at_most(mut self, bytes: usize) -> Self {
        self.response_bytes_max = bytes;
        self
    }

    /// Asks in the name of a node, so that Kubernetes' own rules decide what it may do.
    #[must_use]
    pub fn as_node(mut self, node: &NodeName) -> Self {
        self.node = Some(node.clone());
        self
    }

    fn request(self, words: Impersonation) -> Result<Request<Body>, http::Error> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.path)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, USER_AGENT);
        if !self.content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, self.content_type);
        }
        if let Some(node) = &self.node {
            request = request.header("Impersonate-User", format!("system:node:{node}"));
            if words == Impersonation::UserOfGroup {
                request = request.header("Impersonate-Group", "system:nodes");
            }
        }
        request.body(Body::from(self.body))
    }
}

/// How a node is impersonated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Impersonation {
    /// As a user, of the group that nodes are in: every API server understands that. The right to do
    /// so is one to be any user.
    UserOfGroup,
    /// As a node, whose group the API server knows: a right that is about nodes alone, which API
    /// servers have from 1.36 on.
    Node,
}

fn text(object: &Value) -> Bytes {
    Bytes::from(object.to_string())
}

/// The API server. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct ApiServer {
    access: Arc<Access>,
    state: Arc<Mutex<State>>,
    /// Credentials are read by one at a time.
    loading: Arc<tokio::sync::Mutex<()>>,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer")
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    client: Option<::kube::Client>,
    /// The rights are those of [`Impersonation::Node`].
    as_nodes: bool,
    /// The credentials may be of no use any more.
    suspect: bool,
    tried: Option<Instant>,
    /// Why there is no client.
    why: Option<String>,
}

impl ApiServer {
    /// The API server that `access` leads to. Nothing is read or connected yet.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self {
            access: Arc::new(access),
            state: Arc::default(),
            loading: Arc::default(),
        }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn call(&self, call: Call) -> Result<Value, ApiError> {
        self.call_for(call).await
    }

    /// Sends a request and reads the whole answer as a `T`.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn call_for<T: DeserializeOwned>(&self, call: Call) -> Result<T, ApiError> {
        self.call_sized(call).await.map(|(answer, _)| answer)
    }

    /// [`ApiServer::call_for`], and how many bytes the answer had.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn call_sized<T>(&self, call: Call) -> Result<(T, usize), ApiError>
    where
        T: DeserializeOwned,
    {
        let (timeout, bytes_max) = (call.timeout, call.response_bytes_max);
        let answered = async {
            let body = self.send(call).await?.into_body();
            let body = Limited::new(body, bytes_max).collect().await;
            let body = body.map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() {
                    let message = format!("the answer has more than {bytes_max} bytes");
                    ApiError::new(Class::Malformed, message)
                } else {
                    ApiError::caused(Class::Unreachable, "the answer broke off", error)
                }
            })?;
            let body = body.to_bytes();
            let read = serde_json::from_slice(&body).map(|answer| (answer, body.len()));
            read.map_err(|error| {
                ApiError::caused(
                    Class::Malformed,
                    "the answer is not what was asked for",
                    error,
                )
            })
        };
        let answered = tokio::time::timeout(timeout, answered).await;
        answered.unwrap_or_else(|_| Err(slow(timeout)))
    }

    /// Sends a request and returns when the answer has begun, for answers that are streams.
    ///
    /// # Errors
    /// [`ApiError`]
    pub async fn open(&self, call: Call) -> Result<Body, ApiError> {
        let timeout = call.timeout;
        let answered = tokio::time::timeout(timeout, self.send(call)).await;
        Ok(answered.unwrap_or_else(|_| Err(slow(timeout)))?.into_body())
    }

    /// Tries the other way to impersonate a node when the one that worked last is refused, and
    /// stays with the one that works.
    async fn send(&self, call: Call) -> Result<Response<Body>, ApiError> {
        let as_nodes = self.state.lock().as_nodes;
        let (words, others) = if as_nodes {
            (Impersonation::Node, Impersonation::UserOfGroup)
        } else {
            (Impersonation::UserOfGroup, Impersonation::Node)
        };
        let again = call.node.is_some().then(|| call.clone());
        let answer = self.send_in(call, words).await;
        let refused = |error: &ApiError| {
            let mut status = error.status().into_iter();
            status.any(|status| is_about_impersonation(&status.message))
        };
        match (answer, again) {
            (Err(error), Some(again)) if refused(&error) => {
                let answer = self.send_in(again, others).await;
                // A refusal may be for want of the group that the other way names.
                let is_through = match &answer {
                    Ok(_) => true,
                    Err(other) => other.status().is_some_and(|status| status.code != 403),
                };
                if !is_through {
                    return Err(error);
                }
                self.state.lock().as_nodes = !as_nodes;
                answer
            }
            (answer, _) => answer,
        }
    }

    async fn send_in(&self, call: Call, words: Impersonation) -> Result<Response<Body>, ApiError> {
        let client = self.client().await?;
        let request = call
            .request(words)
            .map_err(|error| ApiError::caused(Class::Invalid, "the request is not valid", error))?;
        let response = match client.send(request).await {
            Ok(response) => response,
            Err(error) => {
                self.state.lock().suspect = true;
                let class = if matches!(error, ::kube::Error::Auth(_)) {
                    Class::Credentials
                } else {
                    Class::Unreachable
                };
                let message = "cannot reach the API server";
                return Err(ApiError::caused(class, message, error));
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status == StatusCode::UNAUTHORIZED {
            self.state.lock().suspect = true;
        }
        let retry_after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(seconds);
        let body = Limited::new(response.into_body(), ERROR_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
        Err(ApiError::answered(status, retry_after, &body))
    }

    async fn client(&self) -> Result<::kube::Client, ApiError> {
        if let Some(ready) = self.ready() {
            return ready;
        }
        let _turn = self.loading.lock().await;
        if let Some(ready) = self.ready() {
            return ready;
        }
        let loaded = self.access.load().await;
        let mut state = self.state.lock();
        state.tried = Some(super::source::monotonic());
        state.suspect = false;
        match loaded {
            Ok(client) => {
                state.why = None;
                state.client = Some(client.clone());
                Ok(client)
            }
            Err(error) => {
                state.client = None;
                state.why = Some(causeway_daemon::telemetry::error_chain(&error).to_string());
                Err(error)
            }
        }
    }

    /// What is known without reading credentials; `None` when they are to be read.
    fn ready(&self) -> Option<Result<::kube::Client, ApiError>> {
        let state = self.state.lock();
        let recent = state
            .tried
            .is_some_and(|tried| tried.elapsed() < RELOAD_INTERVAL);
        match (&state.client, &state.why) {
            (Some(client), _) if recent || !state.suspect => Some(Ok(client.clone())),
            (None, Some(why)) if recent => {
                Some(Err(ApiError::new(Class::Credentials, why.clone())))
            }
            _ => None,
        }
    }
}

/// Whether a refusal says that one may not be somebody else, in the words of the authorizers.
#[must_use]
pub fn is_about_impersonation(message: &str) -> bool {
    message.contains("User \"") && message.contains("\" cannot impersonate")
}

fn slow(timeout: Duration) -> ApiError {
    let message = format!(
        "the API server did not answer within {} s",
        timeout.as_secs()
    );
    ApiError::new(Class::Busy, message)
}

fn seconds(value: &HeaderValue) -> Option<Duration> {
    let seconds: u32 = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.into()))
}
