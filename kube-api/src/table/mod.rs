//! Table output: the columns kubectl prints.

use causeway_log::WallTime;
use serde_json::Value;

use crate::catalog::ServedKind;

/// How much of each object stands in its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

/// `columnDefinitions` of a kind.
#[must_use]
pub fn columns(kind: &ServedKind) -> Vec<Value> {
    let _ = kind;
    Vec::new()
}

/// One element of `rows`: the object's cells, in the order of [`columns`].
#[must_use]
pub fn row(kind: &ServedKind, object: Value, include: IncludeObject, now: WallTime) -> Value {
    let _ = (kind, object, include, now);
    Value::Null
}
