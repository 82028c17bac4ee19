//! Field selectors: `metadata.name=x,spec.nodeName!=y`.

use causeway_log::Resource;
use serde_json::Value;

use super::{SelectorError, check_length};

/// Which fields an object must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: String,
    equal: bool,
    value: String,
}

/// Fields that kinds can be selected by, beside `metadata.name` and `metadata.namespace`.
const SELECTABLE: &[(&str, &str, &[&str])] = &[
    (
        "",
        "pods",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
    ),
    ("", "events", EVENT_FIELDS),
    ("events.k8s.io", "events", NEWER_EVENT_FIELDS),
    ("", "nodes", &["spec.unschedulable"]),
    ("", "namespaces", &["status.phase"]),
    ("", "secrets", &["type"]),
    ("", "services", &["spec.clusterIP", "spec.type"]),
    ("", "replicationcontrollers", &["status.replicas"]),
    ("apps", "replicasets", &["status.replicas"]),
    ("batch", "jobs", &["status.successful"]),
    (
        "certificates.k8s.io",
        "certificatesigningrequests",
        &["spec.signerName"],
    ),
];

const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// The same in the dialect of `events.k8s.io`, which has no name for `source`.
const NEWER_EVENT_FIELDS: &[&str] = &[
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingController",
    "type",
];

/// Fields that are booleans: absent means `false`, not the empty text.
const BOOLEANS: &[&str] = &["spec.unschedulable", "spec.hostNetwork"];

impl FieldSelector {
    /// Reads `metadata.name=x,spec.nodeName!=y`; `\` escapes `,`, `=` and itself in values. Empty
    /// text selects everything.
    ///
    /// # Errors
    /// [`SelectorError`] in the words of Kubernetes.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        check_length(text)?;
        let mut terms = Vec::new();
        for part in split_unescaped(text).filter(|part| !part.is_empty()) {
            let unreadable = || {
                SelectorError(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                ))
            };
            let at = part.find('=').ok_or_else(unreadable)?;
            let (before, after) = part.split_at(at);
            let after = after
                .strip_prefix("==")
                .unwrap_or_else(|| after.strip_prefix('=').unwrap_or(""));
            let (field, equal) = before
                .strip_suffix('!')
                .map_or((before, true), |field| (field, false));
            let value = unescape(after).ok_or_else(unreadable)?;
            terms.push(Term {
                field: field.trim().to_owned(),
                equal,
                value,
            });
        }
        Ok(Self { terms })
    }

    /// Whether it selects everything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Checks that objects of `resource` can be selected by these fields, or by those in `more`.
    ///
    /// # Errors
    /// [`SelectorError`] naming the first field that is not.
    pub fn check(&self, resource: &Resource, more: &[String]) -> Result<(), SelectorError> {
        let known = |field: &str| {
            matches!(field, "metadata.name" | "metadata.namespace")
                || more.iter().any(|more| more == field)
                || SELECTABLE.iter().any(|(group, plural, fields)| {
                    resource.is(group, plural) && fields.contains(&field)
                })
        };
        match self.terms.iter().find(|term| !known(&term.field)) {
            Some(term) => Err(SelectorError(format!(
                "field label not supported: {}",
                term.field
            ))),
            None => Ok(()),
        }
    }

    /// The same selector by other names of fields; those without one keep theirs.
    #[must_use]
    pub fn rename(mut self, name: impl Fn(&str) -> Option<String>) -> Self {
        for term in &mut self.terms {
            if let Some(name) = name(&term.field) {
                term.field = name;
            }
        }
        self
    }

    /// The one value that a field must have, when the selector asks for one.
    #[must_use]
    pub fn exact(&self, field: &str) -> Option<&str> {
        let term = self
            .terms
            .iter()
            .find(|term| term.equal && term.field == field)?;
        Some(&term.value)
    }

    /// Whether an object that matches once matches always: only name and namespace are asked for.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.terms
            .iter()
            .all(|term| matches!(term.field.as_str(), "metadata.name" | "metadata.namespace"))
    }

    /// Whether the object has the fields asked for. An absent field is the empty text.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        self.terms
            .iter()
            .all(|term| (field_of(object, &term.field) == term.value) == term.equal)
    }
}

fn field_of(object: &Value, field: &str) -> String {
    if field == "source" {
        let source = object["source"]["component"].as_str();
        return source
            .or_else(|| object["reportingComponent"].as_str())
            .unwrap_or("")
            .to_owned();
    }
    let mut value = Some(object);
    for part in field.split('.') {
        value = value.and_then(|value| value.get(part));
    }
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => {
            if BOOLEANS.contains(&field) {
                "false".to_owned()
            } else {
                String::new()
            }
        }
    }
}

fn split_unescaped(text: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |letter: char| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = letter == '\\';
        letter == ','
    })
}

fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next()? {
                escaped @ ('\\' | ',' | '=') => plain.push(escaped),
                _ => return None,
            },
            ',' | '=' => return None,
            _ => plain.push(letter),
        }
    }
    Some(plain)
}
