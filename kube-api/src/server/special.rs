//! Subresources that only some kinds have.

use axum::body::Body;
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::write::Wanted;
use super::{Call, body, output};
use crate::decide::{DeleteOptions, Subresource};
use crate::patch::Patch;
use crate::source::Source;
use crate::status::Status;

impl<S: Source> Call<'_, S> {
    pub(super) async fn special(&self, body: Body) -> Result<Response, Status> {
        let subresource = self.object.subresource.as_deref().unwrap_or_default();
        let plural = if self.kind.resource.group.is_empty() { &*self.kind.resource.plural } else { "" };
        match (plural, subresource, &self.parts.method) {
            ("pods", "binding", &Method::POST) => self.bind(body).await,
            ("pods", "eviction", &Method::POST) => self.evict(body).await,
            ("namespaces", "finalize", &Method::PUT) => self.update(body).await,
            ("pods", "log", &Method::GET) => Err(Status::failure(
                501,
                "NotImplemented",
                "logs of pods are files at their node; this server does not have them",
            )),
            ("pods", "exec" | "attach" | "portforward" | "proxy" | "ephemeralcontainers", _) => {
                let told = format!("pods/{subresource} is not served here");
                Err(Status::failure(501, "NotImplemented", told))
            }
            ("pods", "binding" | "eviction" | "log", _) | ("namespaces", "finalize", _) => {
                Err(Status::method_not_allowed())
            }
            _ => Err(Status::no_such_path()),
        }
    }

    /// Puts a pod on a node, as a scheduler does.
    async fn bind(&self, body: Body) -> Result<Response, Status> {
        let limit = self.server.config.body_bytes_max;
        let bytes = body::read(self.parts, body, limit).await?;
        let binding = body::object(&body::media_type(self.parts), &bytes)?;
        let Some(node) = binding["target"]["name"].as_str().filter(|node| !node.is_empty()) else {
            return Err(Status::bad_request("a binding needs target.name"));
        };
        let pod = self.current()?.object();
        if let Some(bound) = pod["spec"]["nodeName"].as_str().filter(|it| !it.is_empty()) {
            let why = format!("pod {} is already assigned to node {bound:?}", self.name());
            return Err(Status::conflict(&self.kind.resource, self.name(), &why));
        }
        let patch = json!({
            "metadata": {
                "resourceVersion": pod["metadata"]["resourceVersion"],
                "annotations": binding["metadata"].get("annotations").unwrap_or(&Value::Null),
            },
            "spec": { "nodeName": node },
        });
        let patch = Patch::Merge(patch);
        self.replace(Wanted::Patch(&patch), Subresource::Main).await?;
        let success = serde_json::to_value(Status::success(None)).unwrap_or_default();
        Ok(output::json(StatusCode::CREATED, &success))
    }

    /// Deletes a pod as `kubectl drain` asks for it; no disruption budget is looked at.
    async fn evict(&self, body: Body) -> Result<Response, Status> {
        let limit = self.server.config.body_bytes_max;
        let bytes = body::read(self.parts, body, limit).await?;
        let eviction = body::object(&body::media_type(self.parts), &bytes)?;
        let options = match &eviction["deleteOptions"] {
            Value::Null => DeleteOptions::default(),
            options => DeleteOptions::parse(options.to_string().as_bytes())?,
        };
        self.delete_named(self.name(), &options).await?;
        let success = serde_json::to_value(Status::success(None)).unwrap_or_default();
        Ok(output::json(StatusCode::CREATED, &success))
    }
}
