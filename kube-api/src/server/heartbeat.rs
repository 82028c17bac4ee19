//! The heartbeat of the node agent at an edge: its Lease.
//!
//! A stock kubelet renews it every ten seconds. The session with the cloud says the same better, so
//! it is kept in memory only: no record, nothing to send, nothing to write to flash. Who asks for it
//! by name is told; lists and watches show what the cloud has of it.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::Value;

use super::Call;
use super::read::at_version;
use super::write::name_of;
use crate::decide::{self, Subresource};
use crate::patch::Patch;
use crate::server::body;
use crate::source::{Authority, Source};
use crate::status::Status;

/// Where node agents keep their heartbeats.
const NAMESPACE: &str = "kube-node-lease";

/// How long a Lease that does not say is good for.
const LEASE_SECONDS: u64 = 40;

/// The Lease as it was written last; `None`: not since this process began.
#[derive(Debug, Default)]
pub(super) struct Heartbeat(Mutex<Option<Value>>);

impl<S: Source> Call<'_, S> {
    /// Whether the request is about this node's own Lease.
    pub(super) fn is_heartbeat(&self) -> bool {
        let Authority::Edge { node } = self.server.source.authority() else {
            return false;
        };
        self.kind.is("coordination.k8s.io", "leases")
            && self.namespace() == NAMESPACE
            && match self.object.name.as_deref() {
                Some(name) => name == node.as_str(),
                // An edge has one node agent; who else it may be, the body tells.
                None => self.parts.method == Method::POST,
            }
    }

    /// A request that [`Self::is_heartbeat`].
    pub(super) async fn heartbeat(&self, body: Body) -> Result<Response, Status> {
        let method = &self.parts.method;
        if method == Method::GET {
            return match self.held() {
                Some(lease) => self.written(StatusCode::OK, lease, &[]),
                None => self.get(),
            };
        }
        if method == Method::POST {
            let lease = self.read_object(body).await?;
            return self.begin(lease);
        }
        if method == Method::DELETE {
            self.delete_options(body).await?;
            let held = self.server.heartbeat.0.lock().take();
            return match held {
                Some(_) => Ok(super::output::status(&Status::success(None))),
                None => Err(Status::not_found(&self.kind.resource, self.name())),
            };
        }
        let bytes = self.server.bodies.read(self.parts, body).await?;
        let media = body::media_type(self.parts);
        let current = match self.held() {
            Some(lease) => lease,
            None => at_version(&self.kind, self.current()?.object()),
        };
        let context = self.context();
        let prepared = if method == Method::PUT {
            let lease = body::object(&media, &bytes)?;
            decide::prepare_update(&self.kind, &current, lease, Subresource::Main, &context)?
        } else if method == Method::PATCH {
            let patch = Patch::parse(&media, &bytes, &self.kind)?;
            decide::prepare_patch(&self.kind, &current, &patch, Subresource::Main, &context)?
        } else {
            return Err(Status::method_not_allowed());
        };
        let version = current["metadata"]["resourceVersion"].as_str();
        let version = version.and_then(|version| version.parse::<u64>().ok());
        self.hold(StatusCode::OK, prepared.object, version.unwrap_or(0))
    }

    /// The first heartbeat since this process began.
    fn begin(&self, lease: Value) -> Result<Response, Status> {
        let prepared = decide::prepare_create(&self.kind, lease, &self.context())?;
        let name = name_of(&prepared.object);
        let own = matches!(
            self.server.source.authority(),
            Authority::Edge { node } if node.as_str() == name
        );
        if !own {
            let why = "the leases of other nodes are not kept here";
            return Err(Status::forbidden(&self.kind.resource, name, why));
        }
        if self.held().is_some() {
            return Err(Status::already_exists(&self.kind.resource, name));
        }
        let revision = *self.server.source.view().subscribe().borrow();
        self.hold(StatusCode::CREATED, prepared.object, revision.get())
    }

    fn held(&self) -> Option<Value> {
        self.server.heartbeat.0.lock().clone()
    }

    fn hold(&self, code: StatusCode, mut lease: Value, version: u64) -> Result<Response, Status> {
        let version = version.saturating_add(1).to_string();
        lease["metadata"]["resourceVersion"] = version.into();
        if !self.query.dry_run {
            let seconds = lease["spec"]["leaseDurationSeconds"].as_u64();
            let lasting = Duration::from_secs(seconds.unwrap_or(LEASE_SECONDS));
            self.server.source.heard(lasting);
            *self.server.heartbeat.0.lock() = Some(lease.clone());
        }
        self.written(code, lease, &[])
    }
}
