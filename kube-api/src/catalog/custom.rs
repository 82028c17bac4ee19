//! Kinds made by CustomResourceDefinitions.

use std::sync::Arc;

use causeway_log::Resource;
use serde_json::Value;

use super::{CustomKind, ServedKind};

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

fn texts(value: &Value) -> Vec<Arc<str>> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(text)
        .map(Arc::from)
        .collect()
}

/// The served versions of a definition, the preferred one (storage) first; none when it is being
/// deleted or lacks what it needs.
pub(super) fn kinds(definition: &Value) -> Vec<ServedKind> {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let (Some(group), Some(plural), Some(kind)) = (
        text(&spec["group"]),
        text(&names["plural"]),
        text(&names["kind"]),
    ) else {
        return Vec::new();
    };
    let served = |version: &&Value| version["served"].as_bool().unwrap_or(false);
    let mut versions: Vec<&Value> = spec["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(served)
        .collect();
    versions.sort_by_key(|version| version["storage"].as_bool() != Some(true));
    let singular = text(&names["singular"]).map_or_else(|| kind.to_lowercase(), str::to_owned);
    let list_kind = text(&names["listKind"]).map_or_else(|| format!("{kind}List"), str::to_owned);
    let resource = Resource::new(group, plural);
    versions
        .into_iter()
        .filter_map(|version| {
            Some(ServedKind {
                resource: resource.clone(),
                version: text(&version["name"])?.into(),
                kind: kind.into(),
                list_kind: list_kind.as_str().into(),
                singular: singular.as_str().into(),
                short_names: texts(&names["shortNames"]),
                categories: texts(&names["categories"]),
                namespaced: text(&spec["scope"]) != Some("Cluster"),
                status_subresource: version["subresources"].get("status").is_some(),
                custom: Some(Arc::new(custom(version))),
            })
        })
        .collect()
}

fn custom(version: &Value) -> CustomKind {
    let schema = version["schema"].get("openAPIV3Schema");
    let fields = version["selectableFields"].as_array().into_iter().flatten();
    let columns = version["additionalPrinterColumns"].as_array();
    CustomKind {
        schema: schema.filter(|schema| schema.is_object()).cloned(),
        printer_columns: columns.cloned().unwrap_or_default(),
        selectable_fields: fields
            .filter_map(|field| text(&field["jsonPath"]))
            .map(|path| path.trim_start_matches('.').to_owned())
            .collect(),
        storage: version["storage"].as_bool().unwrap_or(false),
    }
}
