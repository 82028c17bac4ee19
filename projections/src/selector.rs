//! Label and field selectors in Kubernetes' grammar.

use serde_json::Value;

/// Text that is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// Which labels an object must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {}

impl LabelSelector {
    /// Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k`; empty text selects everything.
    ///
    /// # Errors
    /// [`SelectorError`] in the words of Kubernetes.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let _ = text;
        Ok(Self {})
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Whether the object has the labels asked for.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        let _ = object;
        true
    }
}

/// Which fields an object must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {}

impl FieldSelector {
    /// Reads `metadata.name=x,spec.nodeName!=y`; empty text selects everything.
    ///
    /// # Errors
    /// [`SelectorError`] in the words of Kubernetes.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let _ = text;
        Ok(Self {})
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Whether the object has the fields asked for.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        let _ = object;
        true
    }
}
