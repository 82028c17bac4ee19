//! Kubernetes Events that happened at an edge, as a cluster gets them. Pure.
//!
//! Clients tell of them in two dialects, `v1` and `events.k8s.io/v1`, and count repetitions in the
//! Event that they made first. A cluster keeps one object of both dialects; it gets the fields of the
//! first, with those that only the second has. Everything that is told of one Event at the edge is
//! one Event in the cluster.

use causeway_kube_api::source::format_time;
use causeway_log::{Key, NodeName, Op, Record, Resource, Uid};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What is taken over of an Event, with its name in the newer dialect; whatever else it holds is
/// dropped.
const FIELDS: [(&str, &str); 12] = [
    ("action", "action"),
    ("count", "deprecatedCount"),
    ("eventTime", "eventTime"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("involvedObject", "regarding"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("message", "note"),
    ("reason", "reason"),
    ("related", "related"),
    ("reportingComponent", "reportingController"),
    ("series", "series"),
    ("type", "type"),
];
/// What a repetition changes.
const REPEATED: [&str; 4] = ["count", "lastTimestamp", "message", "series"];
/// Longest name of an object.
const NAME_BYTES_MAX: usize = 253;
/// Of these, a dot and an identity in hexadecimal digits.
const ID_BYTES: usize = 33;
/// Longest of what an API server takes.
const BYTES_MAX: [(&str, usize); 3] = [("action", 128), ("message", 1024), ("reason", 128)];
/// Longest name of who reported.
const INSTANCE_BYTES_MAX: usize = 128;

/// See the module documentation.
#[derive(Clone, Debug, PartialEq)]
pub struct Happening {
    /// What the node says it is about; not checked.
    pub involved: Value,
    /// The namespace of the record.
    pub namespace: String,
    /// Made of what it is about and of the identity of the Event at the edge, so that whatever is
    /// told of that one, and told again, is about the same object.
    pub name: String,
    /// The object as it is created.
    pub event: Value,
}

/// What a node may tell Events of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Itself.
    Node,
    /// A pod, if it is bound to the node or was sent to it.
    Pod(Key),
}

/// Whether a record that a node was sent of an object tells that it had it.
#[must_use]
pub(crate) const fn is_object(sent: &Record) -> bool {
    matches!(sent.header.op, Op::Put | Op::Delete)
}

/// A fact is no Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEvent {
    /// It is filed under another kind.
    Kind,
    /// It cannot be read, or is about nothing.
    Malformed,
}

impl Happening {
    /// Reads a fact of `node`.
    ///
    /// # Errors
    /// [`NoEvent`]
    pub fn read(node: &NodeName, record: &Record) -> Result<Self, NoEvent> {
        let header = &record.header;
        let resource = &header.key.resource;
        if !resource.is("", "events") && !resource.is("events.k8s.io", "events") {
            return Err(NoEvent::Kind);
        }
        let fact = serde_json::from_slice(record.body.bytes());
        let fact: Map<String, Value> = fact.map_err(|_| NoEvent::Malformed)?;
        let mut event = taken(&fact);
        let involved = event.get("involvedObject").cloned().unwrap_or_default();
        let Value::Object(mut about) = involved.clone() else {
            return Err(NoEvent::Malformed);
        };
        let namespace = &*header.key.namespace;
        // The two must agree, or an API server refuses the Event.
        if text(&involved, "kind") == "Node" {
            about.remove("namespace");
        } else {
            about.insert("namespace".to_owned(), json!(namespace));
        }
        event.insert("involvedObject".to_owned(), Value::Object(about));
        let id = match &header.key.uid {
            Uid::Uuid(uid) => *uid,
            Uid::None | Uid::Text(_) => header.id.uuid(),
        };
        let name = format!("{}.{}", prefix(text(&involved, "name")), id.simple());
        event.insert(
            "metadata".to_owned(),
            json!({"name": name, "namespace": namespace}),
        );
        sign(&mut event, &fact, node);
        time(&mut event, &format_time(header.time));
        Ok(Self {
            involved,
            namespace: namespace.to_owned(),
            name,
            event: Value::Object(event),
        })
    }

    /// What it is about, if that is anything of `node`.
    #[must_use]
    pub fn subject(&self, node: &NodeName) -> Option<Subject> {
        let (kind, name) = (text(&self.involved, "kind"), text(&self.involved, "name"));
        let stands_in = text(&self.involved, "namespace");
        let is_here = stands_in.is_empty() || stands_in == self.namespace;
        match kind {
            "Node" if name == node.as_str() && self.namespace == "default" => Some(Subject::Node),
            "Pod" if is_here => {
                let uid = Uid::parse(text(&self.involved, "uid"));
                let key = Key::new(Resource::core("pods"), &self.namespace, name, uid);
                key.ok().map(Subject::Pod)
            }
            _ => None,
        }
    }

    /// Whether it is told for the first time, as far as it says.
    #[must_use]
    pub fn is_first(&self) -> bool {
        times(&self.event) <= 1
    }

    /// What it changes of the object that tells of it already; `None` when that says as much. What is
    /// told twice, or late, never counts back.
    #[must_use]
    pub fn repeats(&self, current: &Value) -> Option<Value> {
        let says = |event: &Value| (times(event), last(event));
        if says(&self.event) <= says(current) {
            return None;
        }
        let fields = REPEATED.iter();
        let told = fields.filter_map(|field| {
            let value = self.event.get(field)?;
            Some(((*field).to_owned(), value.clone()))
        });
        Some(Value::Object(told.collect()))
    }
}

/// Whether an Event of a cluster is this node's.
#[must_use]
pub(crate) fn is_of(event: &Value, node: &NodeName) -> bool {
    event.pointer("/source/host").and_then(Value::as_str) == Some(node.as_str())
}

fn taken(fact: &Map<String, Value>) -> Map<String, Value> {
    let mut event = Map::new();
    for (field, newer) in FIELDS {
        let told = |name: &str| fact.get(name).filter(|value| !value.is_null());
        if let Some(value) = told(field).or_else(|| told(newer)) {
            event.insert(field.to_owned(), value.clone());
        }
    }
    for (field, bytes_max) in BYTES_MAX {
        if let Some(Value::String(text)) = event.get_mut(field) {
            truncate(text, bytes_max);
        }
    }
    event
}

/// Who told.
fn sign(event: &mut Map<String, Value>, fact: &Map<String, Value>, node: &NodeName) {
    let sources = ["source", "deprecatedSource"].map(|name| fact.get(name));
    let component = sources
        .into_iter()
        .flatten()
        .map(|source| text(source, "component"))
        .chain(event.get("reportingComponent").and_then(Value::as_str))
        .find(|component| !component.is_empty())
        .unwrap_or("edged")
        .to_owned();
    let mut instance = node.as_str().to_owned();
    event.insert(
        "source".to_owned(),
        json!({"component": component, "host": instance}),
    );
    truncate(&mut instance, INSTANCE_BYTES_MAX);
    event.insert("apiVersion".to_owned(), json!("v1"));
    event.insert("kind".to_owned(), json!("Event"));
    event.insert("reportingComponent".to_owned(), json!(component));
    event.insert("reportingInstance".to_owned(), json!(instance));
}

/// When it happened: in the newer dialect once and with an action, in the older one from when to when.
fn time(event: &mut Map<String, Value>, happened: &str) {
    if event.contains_key("eventTime") {
        let reason = event.get("reason").cloned().unwrap_or_default();
        event.entry("action").or_insert(reason);
        return;
    }
    for field in ["firstTimestamp", "lastTimestamp"] {
        event.entry(field).or_insert_with(|| json!(happened));
    }
}

/// How often it happened.
fn times(event: &Value) -> u64 {
    let count = |count: Option<&Value>| count.and_then(Value::as_u64).unwrap_or(1);
    count(event.pointer("/series/count")).max(count(event.get("count")))
}

/// When it happened last.
fn last(event: &Value) -> Option<Timestamp> {
    let times = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime"];
    let told = times.iter().filter_map(|path| {
        let time = event.pointer(path)?.as_str()?;
        time.parse().ok()
    });
    told.max()
}

/// What an Event's name begins with. A name is a DNS subdomain; what is not is left out of this
/// decoration.
fn prefix(involved: &str) -> String {
    let prefix: String = involved
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'))
        .take(NAME_BYTES_MAX - ID_BYTES)
        .collect();
    let trimmed = prefix.trim_matches(['.', '-']).len();
    if trimmed == 0 || prefix.len() != trimmed || prefix.contains("..") {
        return "edge".to_owned();
    }
    prefix
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn truncate(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let mut cut = bytes_max;
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        text.truncate(cut);
    }
}
