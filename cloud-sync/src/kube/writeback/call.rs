//! Requests to an API server as data, and who sends them.

use std::fmt::Write as _;
use std::time::Duration;

use causeway_kube_api::Status;
use causeway_log::{NodeName, Resource};
use futures_util::future::BoxFuture;
use serde_json::Value;

/// As whom a request is made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// This service itself.
    Cloud,
    /// `system:node:<name>` of the group `system:nodes`: what the node may do decides.
    Node(NodeName),
}

/// The verb of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Read.
    Get,
    /// Create.
    Post,
    /// Change a part.
    Patch,
    /// Remove.
    Delete,
}

impl Method {
    /// As HTTP writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// As Kubernetes' authorizers write it.
    #[must_use]
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "create",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// An object, or the options of a delete.
    Json,
    /// A JSON merge patch.
    MergePatch,
    /// A strategic merge patch: lists are merged by their keys.
    StrategicPatch,
    /// What a field manager wants to own: server-side apply.
    Apply,
}

impl Content {
    /// The media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::MergePatch => "application/merge-patch+json",
            Self::StrategicPatch => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Whose request it is.
    pub identity: Identity,
    /// To do what.
    pub method: Method,
    /// To what, query apart.
    pub path: String,
    /// After the `?`; empty for none.
    pub query: String,
    /// What the body is.
    pub content: Content,
    /// The body.
    pub body: Option<Value>,
    /// The resource and subresource, for messages and metrics; such as `pods/status`.
    pub resource: String,
}

/// Where an object stands on an API server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Group and plural.
    pub resource: Resource,
    /// Version of the group, such as `v1`.
    pub version: String,
    /// Namespace; empty for objects of the cluster.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Place {
    /// A place in the core group.
    #[must_use]
    pub fn core(plural: &str, namespace: &str, name: &str) -> Self {
        Self {
            resource: Resource::core(plural),
            version: "v1".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The path of the collection.
    #[must_use]
    pub fn collection(&self) -> String {
        let mut path = if self.resource.group.is_empty() {
            "/api".to_owned()
        } else {
            let mut path = "/apis".to_owned();
            push_segment(&mut path, &self.resource.group);
            path
        };
        push_segment(&mut path, &self.version);
        if !self.namespace.is_empty() {
            path.push_str("/namespaces");
            push_segment(&mut path, &self.namespace);
        }
        push_segment(&mut path, &self.resource.plural);
        path
    }

    /// The path of the object, or of a subresource of it.
    #[must_use]
    pub fn path(&self, subresource: &str) -> String {
        let mut path = self.collection();
        push_segment(&mut path, &self.name);
        if !subresource.is_empty() {
            push_segment(&mut path, subresource);
        }
        path
    }

    /// Creates `object` here.
    #[must_use]
    pub fn create(&self, identity: Identity, object: Value) -> Call {
        Call {
            method: Method::Post,
            path: self.collection(),
            body: Some(object),
            ..self.call(identity, "")
        }
    }

    /// Asks a subresource of the object for something.
    #[must_use]
    pub fn create_in(&self, subresource: &str, identity: Identity, body: Value) -> Call {
        Call {
            method: Method::Post,
            body: Some(body),
            ..self.call(identity, subresource)
        }
    }

    /// Reads the object.
    #[must_use]
    pub fn get(&self, identity: Identity) -> Call {
        self.call(identity, "")
    }

    /// Lists the collection, as a query says.
    #[must_use]
    pub fn list(&self, identity: Identity, query: String) -> Call {
        Call {
            path: self.collection(),
            query,
            ..self.call(identity, "")
        }
    }

    /// Patches the object or a subresource of it.
    #[must_use]
    pub fn patch(
        &self,
        identity: Identity,
        subresource: &str,
        content: Content,
        patch: Value,
    ) -> Call {
        Call {
            method: Method::Patch,
            content,
            body: Some(patch),
            ..self.call(identity, subresource)
        }
    }

    /// Deletes the object with these options.
    #[must_use]
    pub fn delete(&self, identity: Identity, options: Value) -> Call {
        Call {
            method: Method::Delete,
            body: Some(options),
            ..self.call(identity, "")
        }
    }

    fn call(&self, identity: Identity, subresource: &str) -> Call {
        let mut resource = self.resource.to_string();
        if !subresource.is_empty() {
            resource.push('/');
            resource.push_str(subresource);
        }
        Call {
            identity,
            method: Method::Get,
            path: self.path(subresource),
            query: String::new(),
            content: Content::Json,
            body: None,
            resource,
        }
    }
}

impl Call {
    /// The same for a field manager.
    #[must_use]
    pub fn managed_by(mut self, manager: &str) -> Self {
        let mut query = "fieldManager=".to_owned();
        escape(&mut query, manager);
        if self.content == Content::Apply {
            query.push_str("&force=true");
        }
        self.query = query;
        self
    }

    /// Path and query.
    #[must_use]
    pub fn target(&self) -> String {
        if self.query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, self.query)
        }
    }
}

/// Names come from nodes: whatever has a meaning in a path is escaped, and a segment of dots, which
/// would climb, cannot arise from them.
fn push_segment(path: &mut String, segment: &str) {
    path.push('/');
    if segment.bytes().all(|byte| byte == b'.') {
        for _ in segment.bytes() {
            path.push_str("%2E");
        }
        return;
    }
    escape(path, segment);
}

/// Escapes whatever has a meaning in a path or a query.
pub fn escape(into: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':') {
            into.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

/// A request had no success.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server answered with a failure.
    #[error("{} {}: {}", status.code, status.reason, status.message)]
    Refused {
        /// What it said.
        status: Box<Status>,
        /// When to come back, if it said so.
        retry_after: Option<Duration>,
    },
    /// No answer; the request may have been carried out.
    #[error("the API server gave no answer")]
    NoAnswer {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The request cannot be expressed in HTTP.
    #[error("the request cannot be expressed in HTTP")]
    Malformed {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Sends requests to an API server.
pub trait Api: Send + Sync + std::fmt::Debug + 'static {
    /// Sends one and gives the object it answers with; `null` when the answer has no body.
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Value, CallError>>;
}
