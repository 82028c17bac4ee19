//! What a Device and its DeviceModel say of properties: `devices.kubeedge.io/v1beta1`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::value::{Kind, Rule, ValueError};
use super::{PROPERTIES_MAX, Value, is_name};

/// The properties of a device with what its model says of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(BTreeMap<Arc<str>, Rule>);

/// A field of a Device is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct DeviceError {
    /// Where: a path such as `spec.properties[2].desired.value`.
    pub field: String,
    /// What is wrong there.
    pub what: String,
}

impl Rules {
    /// The rules of a device and its model, both as JSON objects of the API.
    ///
    /// A device may come before its model: until then each of its properties takes any text.
    /// Properties without a name that can be one are passed over, as are those beyond
    /// [`PROPERTIES_MAX`].
    #[must_use]
    pub fn of(device: &Json, model: Option<&Json>) -> Self {
        let mut rules = BTreeMap::new();
        let named = |object: &'_ Json| {
            let name = object["name"].as_str()?;
            is_name(name).then(|| Arc::<str>::from(name))
        };
        for property in list(model.map(|model| &model["spec"]["properties"])) {
            if let Some(name) = named(property) {
                rules.insert(name, rule(property));
            }
        }
        for property in list(Some(&device["spec"]["properties"])) {
            if let Some(name) = named(property) {
                rules.entry(name).or_default();
            }
        }
        Self(rules.into_iter().take(PROPERTIES_MAX).collect())
    }

    /// The rule of a property; `None`: the device has no such property.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Rule> {
        self.0.get(name)
    }

    /// All properties in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Rule)> {
        self.0.iter()
    }
}

/// The items of a list; none when there is no list.
fn list(value: Option<&Json>) -> &[Json] {
    value.and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

fn rule(property: &Json) -> Rule {
    let text = |field: &str| property[field].as_str().unwrap_or_default().into();
    Rule {
        kind: property["type"].as_str().and_then(Kind::parse),
        is_writable: property["accessMode"].as_str() != Some("ReadOnly"),
        minimum: text("minimum"),
        maximum: text("maximum"),
    }
}

/// What a Device wants of its properties: `spec.properties[].desired`. An empty value wants
/// nothing. What [`check`] refuses for itself, names and sizes, is passed over.
#[must_use]
pub fn wishes(device: &Json) -> BTreeMap<Arc<str>, Value> {
    let named = |property: &Json| {
        let name = property["name"].as_str().filter(|name| is_name(name))?;
        let value = wish(property)?;
        value.check_size().ok()?;
        Some((name.into(), value))
    };
    list(Some(&device["spec"]["properties"]))
        .iter()
        .filter_map(named)
        .take(PROPERTIES_MAX)
        .collect()
}

/// What is desired of one property.
fn wish(property: &Json) -> Option<Value> {
    let desired = &property["desired"];
    let value = desired["value"].as_str().filter(|text| !text.is_empty())?;
    Some(Value {
        value: value.into(),
        metadata: metadata(&desired["metadata"]),
    })
}

/// Text entries of a metadata map.
fn metadata(map: &Json) -> BTreeMap<Arc<str>, Arc<str>> {
    let entry =
        |(key, value): (&String, &Json)| Some((key.as_str().into(), value.as_str()?.into()));
    map.as_object()
        .map(|map| map.iter().filter_map(entry).collect())
        .unwrap_or_default()
}

/// Everything that is wrong with a Device, in order of its fields. Without the model only what
/// needs none is checked.
///
/// A value desired of a ReadOnly property is no mistake, and never sent: manifests have them.
#[must_use]
pub fn check(device: &Json, model: Option<&Json>) -> Vec<DeviceError> {
    let properties = list(Some(&device["spec"]["properties"]));
    let mut errors = Vec::new();
    if properties.len() > PROPERTIES_MAX {
        errors.push(DeviceError {
            field: "spec.properties".to_owned(),
            what: format!("must have at most {PROPERTIES_MAX} items"),
        });
    }
    let rules = model.map(|model| Rules::of(&Json::Null, Some(model)));
    let mut seen = BTreeSet::new();
    for (at, property) in properties.iter().take(PROPERTIES_MAX).enumerate() {
        let name = property["name"].as_str().unwrap_or_default();
        let fault = if !seen.insert(name) {
            Some(("name", format!("{name:?} is there twice")))
        } else {
            check_property(name, property, rules.as_ref())
        };
        errors.extend(fault.map(|(field, what)| DeviceError {
            field: format!("spec.properties[{at}].{field}"),
            what,
        }));
    }
    errors
}

/// The first thing that is wrong with a property: the field in it, and what.
fn check_property(
    name: &str,
    property: &Json,
    rules: Option<&Rules>,
) -> Option<(&'static str, String)> {
    if !is_name(name) {
        let what = "must be 1 to 128 characters of a-z A-Z 0-9 - _ . , : / @ #";
        return Some(("name", what.to_owned()));
    }
    let no_rule = Rule::default();
    let rule = match rules {
        None => &no_rule,
        Some(rules) => match rules.get(name) {
            Some(rule) => rule,
            None => return Some(("name", format!("the device model has no property {name:?}"))),
        },
    };
    let value = wish(property)?;
    match value.check_size().and_then(|()| rule.check(&value.value)) {
        Ok(()) => None,
        Err(error @ ValueError::Metadata) => Some(("desired.metadata", error.to_string())),
        Err(error) => Some(("desired.value", error.to_string())),
    }
}
