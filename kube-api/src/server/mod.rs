//! The REST server: paths in, [`Source`] calls and documents out.
//!
//! One handler takes every request, because a custom resource may appear at any path at any time.
//! A request is a `Target` (path), a `Query`, an `accept::Output` (what the client wants to
//! see) and, for writes, a bounded body. Everything that decides is in [`crate::decide`].

mod accept;
mod body;
mod delete;
mod discovery;
mod documents;
mod heartbeat;
mod namespace;
mod output;
mod protobuf;
mod query;
mod read;
mod route;
mod special;
#[cfg(test)]
mod tests;
mod token;
mod write;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::request::Parts;
use http::{Method, Request};
use parking_lot::RwLock;
use tokio::sync::Semaphore;

use causeway_log::Revision;
use causeway_projections::FieldSelector;

use crate::catalog::{Catalog, ServedKind, definitions};
use crate::source::{Clock, Source};
use crate::status::Status;
use crate::watch::{self, Lines};
use body::Bodies;
use heartbeat::Heartbeat;
use query::Query;
use route::{Object, Target};

pub(crate) use accept::Output;
pub(crate) use output::Form;
pub(crate) use read::at_version;

/// What `/version` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// Kubernetes API level spoken, such as `v1.32.0+causeway`.
    pub git_version: String,
    /// Commit of this program, if known.
    pub git_commit: String,
    /// When it was built, if known.
    pub build_date: String,
}

impl Default for VersionInfo {
    fn default() -> Self {
        Self {
            git_version: format!("v1.32.0+causeway-{}", env!("CARGO_PKG_VERSION")),
            git_commit: "unknown".to_owned(),
            build_date: "1970-01-01T00:00:00Z".to_owned(),
        }
    }
}

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Largest request body, in bytes; larger ones are answered 413 before they are read.
    pub body_bytes_max: usize,
    /// Most watches at a time; more are answered 429.
    pub watchers_max: usize,
    /// Wall time and randomness.
    pub clock: Arc<dyn Clock>,
    /// Whether to warn about kinds that are stored but that nothing here acts on.
    pub warn_uncontrolled: bool,
    /// What `/version` says.
    pub version: VersionInfo,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            body_bytes_max: causeway_log::limits::BODY_BYTES_MAX,
            watchers_max: 1024,
            clock: crate::source::system_clock(),
            warn_uncontrolled: false,
            version: VersionInfo::default(),
        }
    }
}

/// The whole Kubernetes REST surface over a source.
///
/// It is the *fallback* of the router: merge it with a router of own routes, which go first, that
/// has no fallback itself.
pub fn router<S: Source>(source: Arc<S>, config: ServerConfig) -> axum::Router {
    let watchers = Arc::new(Semaphore::new(config.watchers_max));
    let bodies = Bodies::new(config.body_bytes_max);
    let catalog = RwLock::new((Revision::ZERO, Catalog::builtin()));
    let server = Arc::new(Server {
        source,
        config,
        watchers,
        lines: Lines::default(),
        bodies,
        catalog,
        heartbeat: Heartbeat::default(),
    });
    axum::Router::new().fallback(handle::<S>).with_state(server)
}

/// What all requests share.
struct Server<S> {
    source: Arc<S>,
    config: ServerConfig,
    watchers: Arc<Semaphore>,
    lines: Lines,
    bodies: Bodies,
    /// The catalog, and the revision of the newest definition in it.
    catalog: RwLock<(Revision, Catalog)>,
    /// The Lease of an edge's own node.
    heartbeat: Heartbeat,
}

impl<S: Source> Server<S> {
    /// The kinds served now; recomputed when a definition changed.
    fn catalog(&self) -> Catalog {
        let latest = self
            .source
            .view()
            .read(|objects| objects.latest_change(&definitions()));
        {
            let cached = self.catalog.read();
            if cached.0 == latest {
                return cached.1.clone();
            }
        }
        let (latest, catalog) = self
            .source
            .view()
            .read(|objects| (objects.latest_change(&definitions()), Catalog::of(objects)));
        *self.catalog.write() = (latest, catalog.clone());
        catalog
    }
}

/// A request for a served kind.
struct Call<'a, S> {
    server: &'a Server<S>,
    kind: Arc<ServedKind>,
    object: Object,
    query: Query,
    /// The field selector of the query, for objects as they are stored.
    fields: FieldSelector,
    parts: &'a Parts,
}

async fn handle<S: Source>(
    State(server): State<Arc<Server<S>>>,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    match dispatch(&server, &parts, body).await {
        Ok(response) => response,
        Err(status) => {
            let (method, path) = (&parts.method, parts.uri.path());
            let Status { code, message, .. } = &status;
            // Others are the caller's fault, or a state of the store, which says so itself and once.
            if *code == 500 {
                tracing::error!(%method, path, message, "request failed");
            } else {
                tracing::debug!(%method, path, code, message, "request refused");
            }
            output::status(&status)
        }
    }
}

async fn dispatch<S: Source>(
    server: &Server<S>,
    parts: &Parts,
    body: Body,
) -> Result<Response, Status> {
    let query = Query::parse(parts.uri.query().unwrap_or_default())?;
    match Target::parse(parts.uri.path()) {
        Target::Document(path) => documents::answer(server, parts, &path),
        Target::Resource(object) => {
            let catalog = server.catalog();
            let kind = catalog.find(&object.group, &object.version, &object.plural);
            let kind = Arc::clone(kind.ok_or_else(Status::no_such_path)?);
            let misplaced = if kind.namespaced {
                object.namespace.is_none() && object.name.is_some()
            } else {
                object.namespace.is_some()
            };
            if misplaced {
                return Err(Status::no_such_path());
            }
            let fields = kind.store_fields(query.field_selector.clone());
            let call = Call {
                server,
                kind,
                object,
                query,
                fields,
                parts,
            };
            call.answer(body).await
        }
        Target::Unknown => Err(Status::no_such_path()),
    }
}

impl<S: Source> Call<'_, S> {
    async fn answer(self, body: Body) -> Result<Response, Status> {
        let method = &self.parts.method;
        let named = self.object.name.is_some();
        if let Some(subresource) = self.object.subresource.as_deref() {
            return match (subresource, method) {
                ("status", &Method::GET) if self.kind.status_subresource => self.get(),
                ("status", &Method::PUT) if self.kind.status_subresource => self.update(body).await,
                ("status", &Method::PATCH) if self.kind.status_subresource => {
                    self.patch(body).await
                }
                ("status", _) if self.kind.status_subresource => Err(Status::method_not_allowed()),
                _ => self.special(body).await,
            };
        }
        if self.is_heartbeat() && !self.query.watch {
            return self.heartbeat(body).await;
        }
        if method == Method::GET && (self.query.watch || !named) {
            self.check_complete()?;
        }
        match (method, named) {
            (&Method::GET, _) if self.query.watch => watch::start(self.watch_request()?),
            (&Method::GET, true) => self.get(),
            (&Method::GET, false) => self.list().await,
            (&Method::POST, false) => self.create(body).await,
            (&Method::PUT, true) => self.update(body).await,
            (&Method::PATCH, true) => self.patch(body).await,
            (&Method::DELETE, true) => self.delete(body).await,
            (&Method::DELETE, false) => self.delete_collection(body).await,
            _ => Err(Status::method_not_allowed()),
        }
    }

    /// Absence is an answer only where all objects are known.
    fn check_complete(&self) -> Result<(), Status> {
        match self.server.source.incomplete(&self.kind.resource) {
            Some(reason) => Err(Status::service_unavailable(reason)),
            None => Ok(()),
        }
    }

    /// The namespace in the path; empty when there is none.
    fn namespace(&self) -> &str {
        self.object.namespace.as_deref().unwrap_or_default()
    }

    /// The name in the path; empty when there is none.
    fn name(&self) -> &str {
        self.object.name.as_deref().unwrap_or_default()
    }
}
