//! `serviceaccounts/NAME/token`: tokens for pods, asked for by their node agent.
//!
//! An edge issues none. The cluster's come down as objects, one for each source of each projected
//! volume of the node's pods; a stock kubelet is given those when it asks for the same.

use axum::body::Body;
use axum::response::Response;
use causeway_log::{Resource, WallTime};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Call, body, output};
use crate::source::{Source, format_time};
use crate::status::{Details, Status};

/// A token that is past its time offline counts for so much longer where it is mounted: better than
/// none, and asked for again soon.
const GRACE_MILLIS: u64 = 10 * 60 * 1000;
/// Who waits for a token that is on its way asks again after this, in seconds.
const RETRY_SECONDS: u32 = 2;

/// What is asked for.
struct Asked<'a> {
    account: &'a str,
    pod: &'a str,
    uid: &'a str,
    /// Empty: the API server's own.
    audience: &'a str,
}

impl<S: Source> Call<'_, S> {
    pub(super) async fn token(&self, body: Body) -> Result<Response, Status> {
        let bytes = self.server.bodies.read(self.parts, body).await?;
        let mut request = body::object(&body::media_type(self.parts), &bytes)?;
        if self.server.source.authority().is_cloud() {
            return Err(Status::failure(
                501,
                "NotImplemented",
                "this control plane issues no tokens",
            ));
        }
        let asked = self.asked(&request)?;
        self.check_mounted(&asked)?;
        let issued = self.issued(&asked).ok_or_else(|| {
            Status::service_unavailable("the token of this pod has not come from the cloud yet")
                .about(Details {
                    retry_after_seconds: RETRY_SECONDS,
                    ..Details::default()
                })
        })?;
        let expires = issued["expiresAt"].as_str().unwrap_or_default();
        let soon = self.server.config.clock.now().unix_millis() + GRACE_MILLIS;
        let soon = format_time(WallTime::from_unix_millis(soon));
        // Both are UTC to the second, so their texts stand in the order of the times.
        let expires = if expires > soon.as_str() {
            expires
        } else {
            &soon
        };
        let status = json!({ "token": issued["token"], "expirationTimestamp": expires });
        request["apiVersion"] = json!("authentication.k8s.io/v1");
        request["kind"] = json!("TokenRequest");
        request["metadata"] = json!({ "name": self.name(), "namespace": self.namespace() });
        request["status"] = status;
        Ok(output::json(StatusCode::CREATED, &request))
    }

    fn asked<'a>(&'a self, request: &'a Value) -> Result<Asked<'a>, Status> {
        let bound = &request["spec"]["boundObjectRef"];
        let text = |field: &str| bound[field].as_str().unwrap_or_default();
        if text("kind") != "Pod" || text("name").is_empty() || text("uid").is_empty() {
            return Err(self.refuse("only tokens bound to a pod of this node are here"));
        }
        let audiences = request["spec"]["audiences"].as_array();
        let audience = match audiences.map(Vec::as_slice).unwrap_or_default() {
            [] => "",
            [only] => only.as_str().unwrap_or_default(),
            _ => return Err(self.refuse("tokens here are for one audience")),
        };
        Ok(Asked {
            account: self.name(),
            pod: text("name"),
            uid: text("uid"),
            audience,
        })
    }

    /// Checks that the pod is here, runs as the account and mounts such a token: only those come.
    fn check_mounted(&self, asked: &Asked<'_>) -> Result<(), Status> {
        let (view, pods) = (self.server.source.view(), Resource::core("pods"));
        let pod = view.read(|objects| objects.get(&pods, self.namespace(), asked.pod).cloned());
        let pod = pod.filter(|pod| pod.key().uid.to_string() == asked.uid);
        let pod = pod.ok_or_else(|| self.refuse("the pod is not here, or is another by now"))?;
        let pod = pod.object();
        let account = pod["spec"]["serviceAccountName"].as_str();
        if account.filter(|name| !name.is_empty()).unwrap_or("default") != asked.account {
            return Err(self.refuse("the pod runs as another service account"));
        }
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let mounts = volumes
            .flat_map(|volume| {
                let sources = volume["projected"]["sources"].as_array();
                sources.into_iter().flatten()
            })
            .filter_map(|source| source.get("serviceAccountToken"))
            .any(|token| token["audience"].as_str().unwrap_or_default() == asked.audience);
        if mounts {
            Ok(())
        } else {
            Err(self.refuse("the pod mounts no token for this audience"))
        }
    }

    fn issued(&self, asked: &Asked<'_>) -> Option<Value> {
        let tokens = Resource::new("causeway.dev", "serviceaccounttokens");
        // Their names begin with the uid of their pod, so they stand together.
        let after = (self.namespace(), asked.uid);
        self.server.source.view().read(|objects| {
            objects
                .list(&tokens, Some(self.namespace()), Some(after))
                .take_while(|entry| entry.key().name.starts_with(asked.uid))
                .map(causeway_projections::Entry::object)
                .find(|token| {
                    let audience = token["spec"]["audience"].as_str().unwrap_or_default();
                    let text = token["token"].as_str().unwrap_or_default();
                    audience == asked.audience && !text.is_empty()
                })
        })
    }

    fn refuse(&self, why: &str) -> Status {
        Status::forbidden(&self.kind.resource, self.name(), why)
    }
}
