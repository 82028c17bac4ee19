//! Table output: the columns kubectl prints.

mod age;
mod cells;
mod jsonpath;
mod kinds;
mod pod;

#[cfg(test)]
mod tests;

use causeway_log::WallTime;
use serde_json::{Value, json};

use self::kinds::{Cell, Column};
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

impl IncludeObject {
    /// Reads the `includeObject` query parameter; `None` when it is none of Kubernetes' values.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "None" => Some(Self::None),
            "" | "Metadata" => Some(Self::Metadata),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// `columnDefinitions` of a kind. Columns of priority 1 are for `-o wide`.
#[must_use]
pub fn columns(kind: &ServedKind) -> Vec<Value> {
    match &kind.custom {
        Some(custom) => {
            let mut columns = vec![definition("Name", "string", "name", 0, "")];
            columns.extend(custom.printer_columns.iter().map(custom_definition));
            if custom.printer_columns.is_empty() {
                columns.push(definition("Age", "date", "", 0, ""));
            }
            columns
        }
        None => kinds::columns(kind)
            .iter()
            .map(Column::definition)
            .collect(),
    }
}

/// One element of `rows`: the object's cells, in the order of [`columns`].
#[must_use]
pub fn row(kind: &ServedKind, object: Value, include: IncludeObject, now: WallTime) -> Value {
    let cells: Vec<Value> = match &kind.custom {
        Some(custom) => {
            let mut cells = vec![object["metadata"]["name"].clone()];
            let values = custom.printer_columns.iter();
            cells.extend(values.map(|column| custom_cell(column, &object, now)));
            if custom.printer_columns.is_empty() {
                cells.push(Cell::Age.value(&object, now));
            }
            cells
        }
        None => {
            let columns = kinds::columns(kind).iter();
            columns
                .map(|column| column.cell.value(&object, now))
                .collect()
        }
    };
    let mut row = json!({ "cells": cells });
    match include {
        IncludeObject::None => {}
        IncludeObject::Metadata => {
            row["object"] = json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"],
            });
        }
        IncludeObject::Object => row["object"] = object,
    }
    row
}

fn definition(name: &str, kind: &str, format: &str, priority: i64, description: &str) -> Value {
    json!({
        "name": name,
        "type": kind,
        "format": format,
        "description": description,
        "priority": priority,
    })
}

fn custom_definition(column: &Value) -> Value {
    let text = |field: &str| column[field].as_str().unwrap_or("");
    let priority = column["priority"].as_i64().unwrap_or(0);
    definition(
        text("name"),
        text("type"),
        text("format"),
        priority,
        text("description"),
    )
}

fn custom_cell(column: &Value, object: &Value, now: WallTime) -> Value {
    let path = column["jsonPath"].as_str().unwrap_or("");
    let Some(found) = jsonpath::first(object, path) else {
        return Value::Null;
    };
    match (column["type"].as_str().unwrap_or(""), found) {
        ("date", Value::String(time)) => age::since_text(time, now).into(),
        ("string", Value::String(_)) | ("integer" | "number" | "boolean", _) => found.clone(),
        ("string", other) => other.to_string().into(),
        _ => Value::Null,
    }
}
