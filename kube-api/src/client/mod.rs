//! A small HTTP/1.1 JSON client of the Kubernetes API over TCP or a Unix socket.
//!
//! Connections are driven by whoever waits on them, so there are no background tasks: dropping a
//! request or a watch closes its connection. A watch costs one connection and a few KB. Of other
//! requests only a few are under way at once, the others wait for their turn.
//!
//! ```no_run
//! # async fn demo() -> Result<(), causeway_kube_api::client::ApiError> {
//! use causeway_kube_api::client::{Client, ListOptions, PODS};
//! let client = Client::unix("/run/causeway/edge.sock");
//! let mine = ListOptions::default().fields("spec.nodeName=edge-1");
//! let pods = client.list(&PODS, "", &mine).await?;
//! println!("{} pods at {}", pods.items.len(), pods.resource_version);
//! # Ok(()) }
//! ```

mod error;
mod limits;
mod link;
mod options;
mod reflect;
mod watch;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Semaphore;

pub use self::error::ApiError;
pub use self::options::{
    CONFIGMAPS, CUSTOM_RESOURCE_DEFINITIONS, DeleteOptions, EVENTS, Gvr, LEASES, ListOptions,
    NAMESPACES, NODES, PODS, PatchFormat, SECRETS, SERVICE_ACCOUNT_TOKENS, SERVICES,
};
pub use self::reflect::{Reflected, Reflector};
pub use self::watch::{Watch, WatchEvent};

use self::limits::{IDLE_MAX, REQUEST_TIMEOUT, REQUESTS_MAX, RESPONSE_BYTES_MAX};
use self::link::{Address, Link, SendError};
use crate::status::Status;

/// A handle to one API server. Cheap to clone; clones share idle connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    address: Address,
    user_agent: String,
    /// The whole `Authorization` header.
    authorization: Option<http::HeaderValue>,
    response_bytes_max: usize,
    request_timeout: Duration,
    idle: Mutex<Vec<Link>>,
    /// Requests under way, watches apart.
    turns: Semaphore,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.inner.address)
            .finish_non_exhaustive()
    }
}

/// One answer to a list request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectList {
    /// The objects.
    pub items: Vec<Value>,
    /// The version the list shows; a watch may start from it.
    pub resource_version: String,
    /// Where the next page starts; empty on the last one.
    pub continue_token: String,
}

impl Client {
    /// A client of the server that listens on a Unix socket.
    #[must_use]
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self::new(Address::Unix(Arc::new(path.as_ref().to_owned())))
    }

    /// A client of the server at `host:port` (plain HTTP).
    #[must_use]
    pub fn tcp(address: &str) -> Self {
        Self::new(Address::Tcp(address.into()))
    }

    fn new(address: Address) -> Self {
        Self {
            inner: Arc::new(Inner {
                address,
                user_agent: concat!("causeway/", env!("CARGO_PKG_VERSION")).to_owned(),
                authorization: None,
                response_bytes_max: RESPONSE_BYTES_MAX,
                request_timeout: REQUEST_TIMEOUT,
                idle: Mutex::new(Vec::new()),
                turns: Semaphore::new(REQUESTS_MAX),
            }),
        }
    }

    /// The same server with another bound on the size of an answer, in bytes. Shares no connections.
    #[must_use]
    pub fn with_response_bytes_max(&self, bytes: usize) -> Self {
        self.with(|inner| inner.response_bytes_max = bytes)
    }

    /// The same server, shown a bearer token. Shares no connections.
    ///
    /// # Errors
    /// When the token cannot stand in a header.
    pub fn with_token(&self, token: &str) -> Result<Self, http::header::InvalidHeaderValue> {
        let mut header = http::HeaderValue::from_str(&format!("Bearer {token}"))?;
        header.set_sensitive(true);
        Ok(self.with(|inner| inner.authorization = Some(header)))
    }

    fn with(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Inner {
            address: self.inner.address.clone(),
            user_agent: self.inner.user_agent.clone(),
            authorization: self.inner.authorization.clone(),
            response_bytes_max: self.inner.response_bytes_max,
            request_timeout: self.inner.request_timeout,
            idle: Mutex::new(Vec::new()),
            turns: Semaphore::new(REQUESTS_MAX),
        };
        change(&mut inner);
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Reads one object. `namespace` is empty for cluster-scoped kinds, here and below.
    ///
    /// # Errors
    /// [`ApiError`], like every request; 404 when there is none.
    pub async fn get(&self, gvr: &Gvr, namespace: &str, name: &str) -> Result<Value, ApiError> {
        self.json("GET", &gvr.path(namespace, Some(name), ""), None)
            .await
    }

    /// Reads one object, `None` when it does not exist.
    ///
    /// # Errors
    /// [`ApiError`] other than 404.
    pub async fn find(
        &self,
        gvr: &Gvr,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, ApiError> {
        match self.get(gvr, namespace, name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists one page of objects of a namespace, or with an empty one of all.
    ///
    /// # Errors
    /// [`ApiError`]; 410 when the continue token is too old.
    pub async fn list(
        &self,
        gvr: &Gvr,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<ObjectList, ApiError> {
        let path = gvr.path(namespace, None, "") + &options.query(None);
        let mut list = self.json("GET", &path, None).await?;
        let text = |field: &str| {
            list["metadata"][field]
                .as_str()
                .map(ToOwned::to_owned)
                .unwrap_or_default()
        };
        let (resource_version, continue_token) = (text("resourceVersion"), text("continue"));
        let items = list
            .get_mut("items")
            .and_then(Value::as_array_mut)
            .map(std::mem::take);
        Ok(ObjectList {
            items: items.unwrap_or_default(),
            resource_version,
            continue_token,
        })
    }

    /// Lists all objects, page by page.
    ///
    /// # Errors
    /// See [`Self::list`].
    pub async fn list_all(
        &self,
        gvr: &Gvr,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<ObjectList, ApiError> {
        let mut options = options.clone();
        if options.limit == 0 {
            options.limit = limits::PAGE_OBJECTS;
        }
        let mut whole = self.list(gvr, namespace, &options).await?;
        while !whole.continue_token.is_empty() {
            options.continue_token = std::mem::take(&mut whole.continue_token);
            options.resource_version.clear();
            let page = self.list(gvr, namespace, &options).await?;
            whole.items.extend(page.items);
            whole.continue_token = page.continue_token;
        }
        Ok(whole)
    }

    /// Creates an object and returns it as stored.
    ///
    /// # Errors
    /// [`ApiError`]; 409 when the name is taken.
    pub async fn create(
        &self,
        gvr: &Gvr,
        namespace: &str,
        object: &Value,
    ) -> Result<Value, ApiError> {
        self.json("POST", &gvr.path(namespace, None, ""), Some((JSON, object)))
            .await
    }

    /// Replaces the object named in `object.metadata`; conflicts when its resourceVersion is old.
    ///
    /// # Errors
    /// [`ApiError`]; 409 on conflict.
    pub async fn update(&self, gvr: &Gvr, object: &Value) -> Result<Value, ApiError> {
        self.put(gvr, object, "").await
    }

    /// Replaces only the status of the object named in `object.metadata`.
    ///
    /// # Errors
    /// [`ApiError`]; 409 on conflict.
    pub async fn update_status(&self, gvr: &Gvr, object: &Value) -> Result<Value, ApiError> {
        self.put(gvr, object, "status").await
    }

    async fn put(&self, gvr: &Gvr, object: &Value, subresource: &str) -> Result<Value, ApiError> {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("");
        let name = object["metadata"]["name"].as_str().unwrap_or("");
        self.json(
            "PUT",
            &gvr.path(namespace, Some(name), subresource),
            Some((JSON, object)),
        )
        .await
    }

    /// Patches an object.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn patch(
        &self,
        gvr: &Gvr,
        namespace: &str,
        name: &str,
        format: PatchFormat,
        patch: &Value,
    ) -> Result<Value, ApiError> {
        let path = gvr.path(namespace, Some(name), "");
        self.json("PATCH", &path, Some((format.media_type(), patch)))
            .await
    }

    /// Patches the status of an object; `patch` is relative to the whole object.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn patch_status(
        &self,
        gvr: &Gvr,
        namespace: &str,
        name: &str,
        format: PatchFormat,
        patch: &Value,
    ) -> Result<Value, ApiError> {
        let path = gvr.path(namespace, Some(name), "status");
        self.json("PATCH", &path, Some((format.media_type(), patch)))
            .await
    }

    /// Deletes an object, or marks it for deletion; returns what the server says, the object or a
    /// `Status`.
    ///
    /// # Errors
    /// [`ApiError`]; 404 when there is none, 409 when a precondition does not hold.
    pub async fn delete(
        &self,
        gvr: &Gvr,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Value, ApiError> {
        let path = gvr.path(namespace, Some(name), "");
        self.json("DELETE", &path, Some((JSON, &options.body())))
            .await
    }

    /// Reads any path, such as `/version` or `/causeway/v1/status`.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn get_path(&self, path: &str) -> Result<Value, ApiError> {
        self.json("GET", path, None).await
    }

    /// Watches objects of a namespace, or with an empty one of all. The stream ends when the server
    /// ends the watch, which it does after `timeout_seconds`; to go on, watch again from the last
    /// [`WatchEvent::resource_version`], or use a [`Reflector`].
    ///
    /// # Errors
    /// [`ApiError`] when it cannot be started; 410 when the version is too old.
    pub async fn watch(
        &self,
        gvr: &Gvr,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<Watch, ApiError> {
        Watch::start(self, &gvr.path(namespace, None, ""), options).await
    }

    /// Lists, then watches, for ever: see [`Reflector`].
    #[must_use]
    pub fn reflect(&self, gvr: Gvr, namespace: &str, options: ListOptions) -> Reflector {
        Reflector::new(self.clone(), gvr, namespace.to_owned(), options)
    }

    async fn json(
        &self,
        method: &'static str,
        path: &str,
        body: Option<(&'static str, &Value)>,
    ) -> Result<Value, ApiError> {
        let turn = self.inner.turns.acquire().await;
        let _turn = turn.expect("the semaphore is never closed");
        let timeout = self.inner.request_timeout;
        tokio::time::timeout(timeout, self.exchange(method, path, body))
            .await
            .map_err(|_| ApiError::Timeout {
                seconds: timeout.as_secs(),
            })?
    }

    async fn exchange(
        &self,
        method: &'static str,
        path: &str,
        body: Option<(&'static str, &Value)>,
    ) -> Result<Value, ApiError> {
        let request = self.request(method, path, body)?;
        let (mut link, response) = self.send(request).await?;
        let code = response.status();
        let bytes = link
            .collect(response.into_body(), self.inner.response_bytes_max)
            .await?;
        self.give_back(link);
        if !code.is_success() {
            return Err(refusal(code, &bytes));
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|source| ApiError::Decode { source })
    }

    fn request(
        &self,
        method: &'static str,
        path: &str,
        body: Option<(&'static str, &Value)>,
    ) -> Result<http::Request<Full<Bytes>>, ApiError> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, self.inner.address.host())
            .header(http::header::ACCEPT, JSON)
            .header(http::header::USER_AGENT, &self.inner.user_agent);
        if let Some(authorization) = &self.inner.authorization {
            request = request.header(http::header::AUTHORIZATION, authorization);
        }
        let bytes = match body {
            Some((media_type, value)) => {
                request = request.header(http::header::CONTENT_TYPE, media_type);
                serde_json::to_vec(value)
                    .map_err(|source| ApiError::Decode { source })?
                    .into()
            }
            None => Bytes::new(),
        };
        request
            .body(Full::new(bytes))
            .map_err(|source| ApiError::Request { source })
    }

    /// Sends on an idle connection, or on a new one when the idle ones turn out to be dead.
    async fn send(
        &self,
        mut request: http::Request<Full<Bytes>>,
    ) -> Result<(Link, http::Response<hyper::body::Incoming>), ApiError> {
        loop {
            let idle = self.inner.idle.lock().pop();
            let reused = idle.is_some();
            let mut link = match idle {
                Some(link) => link,
                None => Link::connect(&self.inner.address).await?,
            };
            // A read may be sent twice: the server may have closed an idle connection meanwhile.
            let again = (reused && request.method() == http::Method::GET).then(|| request.clone());
            match link.send(request).await {
                Ok(response) => return Ok((link, response)),
                Err(SendError::Unsent(unsent)) if reused => request = *unsent,
                Err(SendError::Unsent(_)) => {
                    let source = std::io::ErrorKind::ConnectionReset.into();
                    return Err(ApiError::Connect { source });
                }
                Err(SendError::Failed(source)) => match again {
                    Some(again) => request = again,
                    None => return Err(ApiError::Transport { source }),
                },
            }
        }
    }

    fn give_back(&self, link: Link) {
        let mut idle = self.inner.idle.lock();
        if link.is_open() && idle.len() < IDLE_MAX {
            idle.push(link);
        }
    }
}

const JSON: &str = "application/json";

/// The `Status` in an answer that is no success, or one made of what there is.
fn refusal(code: http::StatusCode, bytes: &[u8]) -> ApiError {
    let status = serde_json::from_slice(bytes).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(512)).unwrap_or(bytes));
        Status::failure(code.as_u16(), "", format!("{code}: {}", text.trim()))
    });
    ApiError::Refused {
        status: Box::new(status),
    }
}
