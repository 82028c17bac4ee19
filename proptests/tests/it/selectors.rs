//! Label selectors against a model that knows nothing of parsing.

use std::collections::{BTreeMap, BTreeSet};

use causeway_projections::selector::LabelSelector;
use proptest::prelude::*;
use serde_json::json;

/// A requirement as a person would say it.
#[derive(Clone, Debug)]
enum Asks {
    Has(String),
    HasNot(String),
    Is(String, String),
    IsNot(String, String),
    OneOf(String, BTreeSet<String>),
    NoneOf(String, BTreeSet<String>),
}

impl Asks {
    fn text(&self) -> String {
        let list = |values: &BTreeSet<String>| values.iter().cloned().collect::<Vec<_>>().join(",");
        match self {
            Self::Has(key) => key.clone(),
            Self::HasNot(key) => format!("!{key}"),
            Self::Is(key, value) => format!("{key}={value}"),
            Self::IsNot(key, value) => format!("{key}!={value}"),
            Self::OneOf(key, values) => format!("{key} in ({})", list(values)),
            Self::NoneOf(key, values) => format!("{key} notin ({})", list(values)),
        }
    }

    /// As Kubernetes documents it: what is not there is unequal to everything.
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Has(key) => labels.contains_key(key),
            Self::HasNot(key) => !labels.contains_key(key),
            Self::Is(key, value) => labels.get(key) == Some(value),
            Self::IsNot(key, value) => labels.get(key) != Some(value),
            Self::OneOf(key, values) => labels.get(key).is_some_and(|found| values.contains(found)),
            Self::NoneOf(key, values) => {
                !labels.get(key).is_some_and(|found| values.contains(found))
            }
        }
    }
}

fn asks() -> impl Strategy<Value = Asks> {
    let key = "(a|b|example[.]com/c)";
    let value = "[xyz]";
    let values = || prop::collection::btree_set("[xyz]", 1..3);
    prop_oneof![
        key.prop_map(Asks::Has),
        key.prop_map(Asks::HasNot),
        (key, value).prop_map(|(key, value)| Asks::Is(key, value)),
        (key, value).prop_map(|(key, value)| Asks::IsNot(key, value)),
        (key, values()).prop_map(|(key, values)| Asks::OneOf(key, values)),
        (key, values()).prop_map(|(key, values)| Asks::NoneOf(key, values)),
    ]
}

proptest! {
    #[test]
    fn a_selector_selects_what_it_says(
        asks in prop::collection::vec(asks(), 0..4),
        labels in prop::collection::btree_map("(a|b|example[.]com/c)", "[xyz]", 0..4),
    ) {
        let text = asks.iter().map(Asks::text).collect::<Vec<_>>().join(",");
        let selector = LabelSelector::parse(&text).expect("it is well-formed");
        let object = json!({"metadata": {"labels": labels}});
        let wanted = asks.iter().all(|asks| asks.holds(&labels));
        prop_assert_eq!(selector.matches(&object), wanted, "{} on {:?}", text, labels);
    }
}
