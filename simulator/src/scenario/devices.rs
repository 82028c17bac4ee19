//! Devices in scenarios: `report:` in a timeline, `twins:` among what is expected.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_log::NodeName;
use serde_json::Value;

use super::fields::{Fields, Notes};
use super::model::{Action, Claim, Report, TwinClaim};
use super::system::System;
use super::targets::split_name;
use super::tree::{At, Tree};

/// Reports that one entry may stand for.
const REPEATS_MAX: u64 = 20_000;
/// The shortest time between two of them.
const EVERY_MIN: Duration = Duration::from_millis(10);

/// A device as one end of its node's streams has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TwinSight {
    /// What is desired, by property.
    pub desired: BTreeMap<String, String>,
    /// What is reported, by property.
    pub reported: BTreeMap<String, String>,
    /// How it is, when it said so.
    pub state: Option<String>,
    /// What both ends compare.
    pub digest: String,
}

/// A device at the cloud and at its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TwinEnds {
    /// As the cloud has it; none: it has no such device of this node.
    pub cloud: Option<TwinSight>,
    /// As the node has it.
    pub edge: Option<TwinSight>,
}

/// The resource of a Device or DeviceModel.
pub(super) fn resource_of(object: &Value) -> Option<&'static str> {
    if object["apiVersion"] != "devices.kubeedge.io/v1beta1" {
        return None;
    }
    match object["kind"].as_str()? {
        "Device" => Some("devices.devices.kubeedge.io"),
        "DeviceModel" => Some("devicemodels.devices.kubeedge.io"),
        _ => None,
    }
}

/// The reports that an entry stands for, each with its delay after the first.
pub(super) fn reports(
    subject: &At<Tree>,
    nodes: Vec<NodeName>,
    fields: &mut Fields<'_>,
    notes: &mut Notes,
) -> Option<Vec<(Duration, Action)>> {
    let (namespace, name) = device(subject, notes)?;
    let values = fields
        .take("values")
        .map(|tree| series(tree, notes))
        .unwrap_or_default();
    let state = fields
        .take("state")
        .and_then(|tree| notes.text(tree, "a state such as online"));
    if values.is_empty() && state.is_none() {
        let what = "expected `values:` (such as { temperature: 21 }) or `state:` here, found none";
        notes.at(fields.place, what);
        return None;
    }
    let every = fields.take("every");
    let lasts = fields.take("for");
    let count = match (every, lasts) {
        (None, None) => (1, Duration::ZERO),
        (Some(every), Some(lasts)) => repeats(every, lasts, notes)?,
        (Some(_), None) | (None, Some(_)) => {
            let what = "expected both `every:` and `for:` of reports that are repeated, or neither";
            notes.at(fields.place, what);
            return None;
        }
    };
    let (count, every) = count;
    let report = |number: usize| {
        let value = |(property, values): (&String, &Vec<String>)| {
            let value = values.get(number % values.len().max(1))?;
            Some((property.clone(), value.clone()))
        };
        Action::Report(Report {
            nodes: nodes.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
            values: values.iter().filter_map(value).collect(),
            state: state.clone(),
        })
    };
    let at = |number| every.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
    Some(
        (0..count)
            .map(|number| (at(number), report(number)))
            .collect(),
    )
}

/// How many reports there are, and how far apart.
fn repeats(every: &At<Tree>, lasts: &At<Tree>, notes: &mut Notes) -> Option<(usize, Duration)> {
    let (pause, lasts) = (notes.span(every)?, notes.span(lasts)?);
    if pause < EVERY_MIN {
        notes.expected(every, "a time of at least 10ms");
        return None;
    }
    let count = 1 + lasts.as_millis() / pause.as_millis();
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    if count > REPEATS_MAX {
        notes.expected(
            every,
            &format!("at most {REPEATS_MAX} reports in this time"),
        );
        return None;
    }
    Some((usize::try_from(count).unwrap_or(usize::MAX), pause))
}

/// Values by property: a text each, or a list that is gone through again and again.
fn series(tree: &At<Tree>, notes: &mut Notes) -> BTreeMap<String, Vec<String>> {
    let Tree::Map(fields) = &tree.value else {
        notes.expected(tree, "a mapping of properties to values");
        return BTreeMap::new();
    };
    let mut series = BTreeMap::new();
    for (key, value) in fields {
        let one = std::slice::from_ref(value);
        let items = value.value.as_list().unwrap_or(one);
        let values = items.iter().map(|item| notes.text(item, "a value"));
        let values: Option<Vec<String>> = values.collect();
        match values {
            Some(values) if values.is_empty() => notes.expected(value, "a value"),
            Some(values) => drop(series.insert(key.value.clone(), values)),
            None => {}
        }
    }
    series
}

/// `default/thermostat`.
fn device(tree: &At<Tree>, notes: &mut Notes) -> Option<(String, String)> {
    let text = notes.text(tree, "a device such as default/thermostat")?;
    let (namespace, name) = split_name(&text);
    if name.is_empty() || namespace.is_empty() || name.contains('/') {
        notes.expected(tree, "a device such as default/thermostat");
        return None;
    }
    Some((namespace.to_owned(), name.to_owned()))
}

/// Reads what is expected of devices.
pub(super) fn claims(tree: &At<Tree>, notes: &mut Notes) -> Vec<Claim> {
    let items = notes.list(tree, "a list of devices");
    let read: Vec<Option<TwinClaim>> = items.iter().map(|item| claim(item, notes)).collect();
    read.into_iter().flatten().map(Claim::Twin).collect()
}

fn claim(tree: &At<Tree>, notes: &mut Notes) -> Option<TwinClaim> {
    let expected = "a device such as default/thermostat, or a mapping with device, desired, …";
    if let Tree::Text(_) = &tree.value {
        let (namespace, name) = device(tree, notes)?;
        return Some(TwinClaim {
            namespace,
            name,
            equal: true,
            ..TwinClaim::default()
        });
    }
    let mut fields = notes.fields(tree, expected)?;
    let named = fields.need("device", "such as default/thermostat", notes);
    let mut texts = |name| {
        let tree = fields.take(name);
        tree.map(|tree| strings(tree, notes)).unwrap_or_default()
    };
    let (desired, reported) = (texts("desired"), texts("reported"));
    let state = fields
        .take("state")
        .and_then(|tree| notes.text(tree, "a state such as online"));
    let equal = fields.take("equal").and_then(|tree| notes.truth(tree));
    let readings = fields
        .take("readings")
        .map(|tree| counts(tree, notes))
        .unwrap_or_default();
    let known = "one of device, desired, reported, state, equal, readings";
    fields.finish(known, notes);
    let (namespace, name) = device(named?, notes)?;
    Some(TwinClaim {
        namespace,
        name,
        desired,
        reported,
        state,
        equal: equal.unwrap_or(true),
        readings,
    })
}

fn strings(tree: &At<Tree>, notes: &mut Notes) -> BTreeMap<String, String> {
    let Tree::Map(fields) = &tree.value else {
        notes.expected(tree, "a mapping of properties to values");
        return BTreeMap::new();
    };
    fields
        .iter()
        .filter_map(|(key, value)| Some((key.value.clone(), notes.text(value, "a value")?)))
        .collect()
}

fn counts(tree: &At<Tree>, notes: &mut Notes) -> BTreeMap<String, u64> {
    let Tree::Map(fields) = &tree.value else {
        notes.expected(
            tree,
            "a mapping of properties to how many readings the cloud has",
        );
        return BTreeMap::new();
    };
    let mut counts = BTreeMap::new();
    for (key, value) in fields {
        if let Some(count) = notes.number(value, 0, u64::from(u32::MAX)) {
            counts.insert(key.value.clone(), count);
        }
    }
    counts
}

/// Whether a device of a node is as claimed.
pub(super) fn check(
    system: &mut dyn System,
    node: &NodeName,
    claim: &TwinClaim,
) -> Result<(), String> {
    let TwinClaim {
        namespace,
        name,
        desired,
        reported,
        state,
        equal,
        readings,
    } = claim;
    let device = format!("{namespace}/{name}");
    let TwinEnds { cloud, edge } = system.twin(node, namespace, name);
    let Some(edge) = edge else {
        return Err(format!("it has no device {device}"));
    };
    if let Some(what) = differs("desired", desired, &edge.desired) {
        return Err(format!("{device}: {what}"));
    }
    if let Some(what) = differs("reported", reported, &edge.reported) {
        return Err(format!("{device}: {what}"));
    }
    if state.is_some() && *state != edge.state {
        let (wanted, found) = (shown(state.as_ref()), shown(edge.state.as_ref()));
        return Err(format!("{device}: its state is {found}, not {wanted}"));
    }
    let same = cloud
        .as_ref()
        .is_some_and(|cloud| cloud.digest == edge.digest);
    match (same, equal) {
        (true, true) | (false, false) => {}
        (false, true) => {
            let there = cloud.map_or_else(|| "none".to_owned(), |cloud| cloud.digest);
            let here = edge.digest;
            return Err(format!(
                "{device}: the digest is {there} at the cloud and {here} at the node"
            ));
        }
        (true, false) => return Err(format!("{device}: both ends have the same")),
    }
    for (property, wanted) in readings {
        let found = system.readings(node, namespace, name, property);
        if found != Some(*wanted) {
            let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
            return Err(format!(
                "{device}: the cloud has {found} readings of {property}, not {wanted}"
            ));
        }
    }
    Ok(())
}

fn differs(
    side: &str,
    wanted: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> Option<String> {
    let properties: BTreeSet<&String> = wanted.keys().collect();
    properties.into_iter().find_map(|property| {
        let (wanted, found) = (wanted.get(property), found.get(property));
        (wanted != found).then(|| {
            let (wanted, found) = (shown(wanted), shown(found));
            format!("{side} {property} is {found}, not {wanted}")
        })
    })
}

fn shown(value: Option<&String>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| format!("`{value}`"))
}

impl TwinClaim {
    /// For people.
    pub(super) fn label(&self) -> String {
        let mut label = format!("{}/{}", self.namespace, self.name);
        for (side, values) in [("desired", &self.desired), ("reported", &self.reported)] {
            for (property, value) in values {
                label.push_str(&format!(" {side} {property} {value}"));
            }
        }
        for (property, count) in &self.readings {
            label.push_str(&format!(" {count} readings of {property}"));
        }
        if self.equal {
            label.push_str(" equal at both ends");
        }
        label
    }
}
