//! OpenAPI documents: as much as kubectl asks for.

use serde_json::Value;

use crate::catalog::Catalog;

/// Media type of [`v2_protobuf`] as clients ask for it.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// `/openapi/v2` as JSON.
#[must_use]
pub fn v2_json(catalog: &Catalog) -> Value {
    let _ = catalog;
    Value::Null
}

/// `/openapi/v2` as protobuf.
#[must_use]
pub fn v2_protobuf(catalog: &Catalog) -> Vec<u8> {
    let _ = catalog;
    Vec::new()
}

/// `/openapi/v3`: which group versions have a document.
#[must_use]
pub fn v3_index(catalog: &Catalog) -> Value {
    let _ = catalog;
    Value::Null
}

/// `/openapi/v3/api/v1` or `/openapi/v3/apis/{group}/{version}`; `None` when nothing of it is served.
#[must_use]
pub fn v3_document(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    let _ = (catalog, group, version);
    None
}
