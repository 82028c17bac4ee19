//! Subresources that only some kinds have.

use axum::body::Body;
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{Call, body, output};
use crate::decide::DeleteOptions;
use crate::source::{Change, Expected, Source, Write};
use crate::status::Status;

/// 201 with a `Status` of success.
fn created() -> Response {
    let success = serde_json::to_value(Status::success(None)).unwrap_or_default();
    output::json(StatusCode::CREATED, &success)
}

impl<S: Source> Call<'_, S> {
    pub(super) async fn special(&self, body: Body) -> Result<Response, Status> {
        let subresource = self.object.subresource.as_deref().unwrap_or_default();
        let plural = if self.kind.resource.group.is_empty() {
            &*self.kind.resource.plural
        } else {
            ""
        };
        match (plural, subresource, &self.parts.method) {
            ("pods", "binding", &Method::POST) => self.bind(body).await,
            ("pods", "eviction", &Method::POST) => self.evict(body).await,
            ("namespaces", "finalize", &Method::PUT) => self.update(body).await,
            ("serviceaccounts", "token", &Method::POST) => self.token(body).await,
            ("pods", "log", &Method::GET) => Err(Status::failure(
                501,
                "NotImplemented",
                "logs of pods are files at their node; this server does not have them",
            )),
            ("pods", "exec" | "attach" | "portforward" | "proxy" | "ephemeralcontainers", _) => {
                let told = format!("pods/{subresource} is not served here");
                Err(Status::failure(501, "NotImplemented", told))
            }
            ("pods", "binding" | "eviction" | "log", _)
            | ("namespaces", "finalize", _)
            | ("serviceaccounts", "token", _) => Err(Status::method_not_allowed()),
            _ => Err(Status::no_such_path()),
        }
    }

    /// Puts a pod on a node, as a scheduler does. The only way `spec.nodeName` may change.
    async fn bind(&self, body: Body) -> Result<Response, Status> {
        let bytes = self.server.bodies.read(self.parts, body).await?;
        let binding = body::object(&body::media_type(self.parts), &bytes)?;
        let Some(node) = binding["target"]["name"]
            .as_str()
            .filter(|node| !node.is_empty())
        else {
            return Err(Status::bad_request("a binding needs target.name"));
        };
        let entry = self.current()?;
        let mut pod = entry.object();
        self.check_bindable(&pod, &binding)?;
        pod["spec"]["nodeName"] = json!(node);
        if let Some(annotations) = binding["metadata"]["annotations"].as_object() {
            let held = pod["metadata"]["annotations"]
                .as_object()
                .cloned()
                .unwrap_or_default();
            let merged: Map<String, Value> = held.into_iter().chain(annotations.clone()).collect();
            pod["metadata"]["annotations"] = Value::Object(merged);
        }
        if let Some(metadata) = pod["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        if !self.query.dry_run {
            let expected = Expected::At(entry.modified());
            let write = Write {
                key: entry.key().clone(),
                expected,
                change: Change::Put(pod),
            };
            let written = self.server.source.commit(write).await;
            written.map_err(|error| self.refused(error))?;
        }
        Ok(created())
    }

    fn check_bindable(&self, pod: &Value, binding: &Value) -> Result<(), Status> {
        let refuse = |why: &str| Err(Status::conflict(&self.kind.resource, self.name(), why));
        if let Some(bound) = pod["spec"]["nodeName"].as_str().filter(|it| !it.is_empty()) {
            return refuse(&format!(
                "pod {} is already assigned to node {bound:?}",
                self.name()
            ));
        }
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            return refuse(&format!(
                "pod {} is being deleted, cannot be assigned to a host",
                self.name()
            ));
        }
        let wanted = binding["metadata"]["uid"].as_str().unwrap_or_default();
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        if !wanted.is_empty() && wanted != uid {
            return refuse(&format!(
                "Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
            ));
        }
        Ok(())
    }

    /// Deletes a pod as `kubectl drain` asks for it; no disruption budget is looked at.
    async fn evict(&self, body: Body) -> Result<Response, Status> {
        let bytes = self.server.bodies.read(self.parts, body).await?;
        let eviction = body::object(&body::media_type(self.parts), &bytes)?;
        let options = match eviction
            .get("deleteOptions")
            .filter(|options| !options.is_null())
        {
            Some(options) => DeleteOptions::parse(options.to_string().as_bytes())?,
            None => DeleteOptions::default(),
        };
        self.delete_named(self.name(), &options).await?;
        Ok(created())
    }
}
