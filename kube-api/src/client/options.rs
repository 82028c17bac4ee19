//! What is asked for: resources and list, patch and delete options.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A served resource: API group, version and plural name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gvr {
    group: Cow<'static, str>,
    version: Cow<'static, str>,
    plural: Cow<'static, str>,
}

impl Gvr {
    /// A resource of the core group, version `v1`.
    #[must_use]
    pub const fn core(plural: &'static str) -> Self {
        Self::of("", "v1", plural)
    }

    /// A resource known at compile time.
    #[must_use]
    pub const fn of(group: &'static str, version: &'static str, plural: &'static str) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            plural: Cow::Borrowed(plural),
        }
    }

    /// A resource found at run time.
    #[must_use]
    pub fn new(group: String, version: String, plural: String) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            plural: plural.into(),
        }
    }

    /// The path of the collection, of one namespace or (with an empty one) of all, or of one object.
    pub(super) fn path(&self, namespace: &str, name: Option<&str>, subresource: &str) -> String {
        let mut path = String::with_capacity(64);
        if self.group.is_empty() {
            path.push_str("/api/");
        } else {
            path.push_str("/apis/");
            escape(&mut path, &self.group);
            path.push('/');
        }
        escape(&mut path, &self.version);
        if !namespace.is_empty() {
            path.push_str("/namespaces/");
            escape(&mut path, namespace);
        }
        for part in [self.plural.as_ref(), name.unwrap_or(""), subresource] {
            if !part.is_empty() {
                path.push('/');
                escape(&mut path, part);
            }
        }
        path
    }
}

/// Pods.
pub const PODS: Gvr = Gvr::core("pods");
/// Nodes.
pub const NODES: Gvr = Gvr::core("nodes");
/// Namespaces.
pub const NAMESPACES: Gvr = Gvr::core("namespaces");
/// ConfigMaps.
pub const CONFIGMAPS: Gvr = Gvr::core("configmaps");
/// Secrets.
pub const SECRETS: Gvr = Gvr::core("secrets");
/// Services.
pub const SERVICES: Gvr = Gvr::core("services");
/// Events of the core group.
pub const EVENTS: Gvr = Gvr::core("events");
/// Leases.
pub const LEASES: Gvr = Gvr::of("coordination.k8s.io", "v1", "leases");
/// Tokens that a cluster issued for the pods of a node.
pub const SERVICE_ACCOUNT_TOKENS: Gvr = Gvr::of("causeway.dev", "v1", "serviceaccounttokens");
/// CustomResourceDefinitions.
pub const CUSTOM_RESOURCE_DEFINITIONS: Gvr =
    Gvr::of("apiextensions.k8s.io", "v1", "customresourcedefinitions");

/// Which objects to list or watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Label selector, empty for all.
    pub label_selector: String,
    /// Field selector, empty for all.
    pub field_selector: String,
    /// Watch: start after this version, empty for "now, with what exists first". List: at least.
    pub resource_version: String,
    /// List: objects in one answer, 0 for all.
    pub limit: u32,
    /// List: where the previous page ended, from its `metadata.continue`.
    pub continue_token: String,
    /// Watch: seconds until the server ends it, 0 for the client's default.
    pub timeout_seconds: u32,
}

impl ListOptions {
    /// Objects with these labels, such as `app=web,tier in (a,b)`.
    #[must_use]
    pub fn labels(mut self, selector: &str) -> Self {
        selector.clone_into(&mut self.label_selector);
        self
    }

    /// Objects with these field values, such as `spec.nodeName=edge-1`.
    #[must_use]
    pub fn fields(mut self, selector: &str) -> Self {
        selector.clone_into(&mut self.field_selector);
        self
    }

    pub(super) fn query(&self, watch_seconds: Option<u32>) -> String {
        let mut query = Query::default();
        query.add("labelSelector", &self.label_selector);
        query.add("fieldSelector", &self.field_selector);
        query.add("resourceVersion", &self.resource_version);
        match watch_seconds {
            Some(seconds) => {
                query.add("watch", "true");
                query.add("allowWatchBookmarks", "true");
                query.add("timeoutSeconds", &seconds.to_string());
            }
            None => {
                if self.limit > 0 {
                    query.add("limit", &self.limit.to_string());
                }
                query.add("continue", &self.continue_token);
            }
        }
        query.0
    }
}

/// The language of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchFormat {
    /// RFC 7386.
    Merge,
    /// RFC 6902.
    Json,
    /// Kubernetes' own, for built-in kinds.
    Strategic,
}

impl PatchFormat {
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Json => "application/json-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds a pod gets to end; `None` for its own period, 0 removes it at once.
    pub grace_period_seconds: Option<i64>,
    /// Delete only this life of the name.
    pub uid: Option<String>,
    /// Delete only this version.
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    pub(super) fn body(&self) -> serde_json::Value {
        let mut body = serde_json::json!({"kind": "DeleteOptions", "apiVersion": "v1"});
        if let Some(seconds) = self.grace_period_seconds {
            body["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(uid) = &self.uid {
            body["preconditions"]["uid"] = uid.as_str().into();
        }
        if let Some(version) = &self.resource_version {
            body["preconditions"]["resourceVersion"] = version.as_str().into();
        }
        body
    }
}

/// A query string, percent-encoded.
#[derive(Default)]
struct Query(String);

impl Query {
    fn add(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(name);
        self.0.push('=');
        escape(&mut self.0, value);
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn escape(into: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            write!(into, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
}
