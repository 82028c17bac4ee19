//! What a record is about: resource, namespace, name and uid of one Kubernetes-style object.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::limits::{KEY_PART_BYTES_MAX, NODE_NAME_BYTES_MAX};

/// The name of an edge node: a Kubernetes node name (DNS-1123 subdomain, at most 253 bytes).
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Checks that `name` is a DNS-1123 subdomain.
    ///
    /// # Errors
    /// [`InvalidName`] when it is empty, too long, or has a character or shape not allowed.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let label_ok = |label: &str| {
            let bytes = label.as_bytes();
            let edge_ok = |byte: Option<&u8>| {
                byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            };
            edge_ok(bytes.first())
                && edge_ok(bytes.last())
                && bytes
                    .iter()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
        };
        if name.len() > NODE_NAME_BYTES_MAX || !name.split('.').all(label_ok) {
            return Err(InvalidName {
                what: "node name",
                bytes: name.len(),
            });
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name from outside is not acceptable. The text itself is not repeated, it may be hostile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} of {bytes} bytes")]
pub struct InvalidName {
    /// Which name.
    pub what: &'static str,
    /// How long it was.
    pub bytes: usize,
}

/// A kind of object by API group and plural name, such as `("", "configmaps")` or
/// `("apps", "deployments")`. Versions of a group share it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: Arc<str>,
    /// Plural resource name, lower case.
    pub plural: Arc<str>,
}

impl Resource {
    /// A resource of an API group.
    #[must_use]
    pub fn new(group: &str, plural: &str) -> Self {
        Self {
            group: group.into(),
            plural: plural.into(),
        }
    }

    /// A resource of the core group.
    #[must_use]
    pub fn core(plural: &str) -> Self {
        Self::new("", plural)
    }

    /// Whether this is the resource `plural` of `group`.
    #[must_use]
    pub fn is(&self, group: &str, plural: &str) -> bool {
        &*self.group == group && &*self.plural == plural
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plural)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// The uid of an object: opaque text in Kubernetes, in practice a UUID. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Uid {
    /// The object has none (yet).
    #[default]
    None,
    /// The usual case, 16 bytes.
    Uuid(Uuid),
    /// Anything else, kept as it is.
    Text(Arc<str>),
}

impl Uid {
    /// Reads a uid as it stands in `metadata.uid`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text.is_empty() {
            return Self::None;
        }
        match Uuid::try_parse(text) {
            // Only the canonical spelling may be folded to 16 bytes, or it could not be given back.
            Ok(uuid) if uuid.hyphenated().to_string() == text => Self::Uuid(uuid),
            Ok(_) | Err(_) => Self::Text(text.into()),
        }
    }

    /// Whether the object has no uid.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Uuid(uuid) => uuid.hyphenated().fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Names one object in one life: the same name with another uid is another key.
/// Cluster-scoped objects have an empty namespace. Ordered by resource, namespace, name, uid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Kind of object.
    pub resource: Resource,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// Object name.
    pub name: Arc<str>,
    /// Which life of that name.
    pub uid: Uid,
}

impl Key {
    /// Composes a key.
    ///
    /// # Errors
    /// [`InvalidName`] when a part is longer than [`KEY_PART_BYTES_MAX`], or plural or name is empty.
    pub fn new(
        resource: Resource,
        namespace: &str,
        name: &str,
        uid: Uid,
    ) -> Result<Self, InvalidName> {
        let check = |what, text: &str, may_be_empty: bool| {
            if text.len() > KEY_PART_BYTES_MAX || (text.is_empty() && !may_be_empty) {
                return Err(InvalidName {
                    what,
                    bytes: text.len(),
                });
            }
            Ok(())
        };
        check("API group", &resource.group, true)?;
        check("resource", &resource.plural, false)?;
        check("namespace", namespace, true)?;
        check("object name", name, false)?;
        if let Uid::Text(text) = &uid {
            check("uid", text, false)?;
        }
        Ok(Self {
            resource,
            namespace: namespace.into(),
            name: name.into(),
            uid,
        })
    }

    /// Whether two keys have the same name, in whatever life.
    #[must_use]
    pub fn same_name(&self, other: &Self) -> bool {
        self.resource == other.resource
            && self.namespace == other.namespace
            && self.name == other.name
    }
}

impl fmt::Display for Key {
    /// `configmaps/namespace/name` or `nodes/name`; the uid is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.resource)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}
