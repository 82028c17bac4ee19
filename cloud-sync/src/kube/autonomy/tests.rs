use std::collections::BTreeMap;

use causeway_log::NodeName;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn tolerate(current: &Value, wanted: Autonomy) -> Option<Value> {
    tolerations(Some(current), wanted).map(Value::Array)
}

fn default_ones(seconds: i64) -> Value {
    json!([
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds},
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds},
    ])
}

fn unlimited_ones() -> Value {
    json!([
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
    ])
}

#[test]
fn what_admission_gives_every_pod_loses_its_limit() {
    let armed = tolerate(&default_ones(300), Autonomy::Unlimited);
    assert_eq!(armed, Some(unlimited_ones()));
    assert_eq!(tolerate(&unlimited_ones(), Autonomy::Unlimited), None);
    let limited = tolerate(&default_ones(300), Autonomy::Seconds(7200));
    assert_eq!(limited, Some(default_ones(7200)));
    assert_eq!(tolerate(&default_ones(7200), Autonomy::Seconds(7200)), None);
}

#[test]
fn a_pod_without_tolerations_is_given_them() {
    assert_eq!(
        tolerate(&json!([]), Autonomy::Unlimited),
        Some(unlimited_ones())
    );
    assert_eq!(
        tolerations(None, Autonomy::Seconds(5)).map(Value::Array),
        Some(default_ones(5))
    );
}

#[test]
fn a_toleration_of_everything_stays_and_ours_go_before_it() {
    let all = json!([{"operator": "Exists", "tolerationSeconds": 60, "effect": "NoExecute"}]);
    let armed = tolerate(&all, Autonomy::Unlimited).expect("it is limited");
    assert_eq!(armed.as_array().map(Vec::len), Some(3));
    assert_eq!(armed[2], all[0]);
    assert_eq!(tolerate(&armed, Autonomy::Unlimited), None);
    // Daemon sets tolerate without a limit already.
    let unlimited = json!([{"operator": "Exists"}]);
    assert_eq!(tolerate(&unlimited, Autonomy::Unlimited), None);
    assert_eq!(tolerate(&unlimited, Autonomy::Seconds(60)), None);
}

fn node(annotations: Value) -> Value {
    json!({"metadata": {"labels": {"node-role.kubernetes.io/edge": ""}, "annotations": annotations}})
}

#[test]
fn nodes_and_pods_may_opt_out_or_set_a_limit() {
    assert_eq!(of_node(&json!({"metadata": {"labels": {}}})), None);
    assert_eq!(of_node(&node(json!({}))), Some(Autonomy::Unlimited));
    assert_eq!(of_node(&node(json!({AUTONOMY_ANNOTATION: "false"}))), None);
    let hour = node(json!({SECONDS_ANNOTATION: "3600"}));
    let hour = of_node(&hour).expect("it is an edge node");
    assert_eq!(hour, Autonomy::Seconds(3600));
    for hostile in ["-1", "soon", "", "1e3"] {
        let node = node(json!({SECONDS_ANNOTATION: hostile}));
        assert_eq!(of_node(&node), Some(Autonomy::Unlimited), "{hostile}");
    }
    let pod = |metadata: Value| json!({"metadata": metadata});
    assert_eq!(of_pod(&pod(json!({})), &hour), Some(hour));
    let own = pod(json!({"annotations": {SECONDS_ANNOTATION: "60"}}));
    assert_eq!(of_pod(&own, &hour), Some(Autonomy::Seconds(60)));
    let out = pod(json!({"annotations": {AUTONOMY_ANNOTATION: "false"}}));
    assert_eq!(of_pod(&out, &hour), None);
    let ending = pod(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}));
    assert_eq!(of_pod(&ending, &hour), None);
}

#[test]
fn the_patch_names_the_life_of_the_pod_and_is_this_services_own() {
    let (key, mut pod) = crate::rig::pod("till", Some("n1"), json!({}));
    pod["spec"]["tolerations"] = default_ones(300);
    let none = BTreeMap::new();
    assert_eq!(patch(&key, &pod, &none), None);
    let nodes = BTreeMap::from([(NodeName::new("n1").unwrap(), Autonomy::Unlimited)]);
    let call = patch(&key, &pod, &nodes).expect("it is not armed");
    assert_eq!(call.identity, Identity::Cloud);
    assert_eq!(call.path, "/api/v1/namespaces/default/pods/till");
    let body = call.body.unwrap();
    assert_eq!(body["metadata"]["uid"], key.uid.to_string());
    pod["spec"]["tolerations"] = body["spec"]["tolerations"].clone();
    assert_eq!(patch(&key, &pod, &nodes), None, "it does not loop");
}

fn arb_toleration() -> impl Strategy<Value = Value> {
    let keys = [
        "",
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
        "dedicated",
    ];
    let operators = ["", "Exists", "Equal"];
    let effects = ["", "NoExecute", "NoSchedule"];
    (
        prop::sample::select(keys.to_vec()),
        prop::sample::select(operators.to_vec()),
        prop::sample::select(effects.to_vec()),
        prop::option::of(0_i64..1000),
    )
        .prop_map(|(key, operator, effect, seconds)| {
            let mut one = json!({"key": key, "operator": operator, "effect": effect});
            if let (Some(seconds), "NoExecute") = (seconds, effect) {
                one["tolerationSeconds"] = json!(seconds);
            }
            one
        })
}

/// How long a pod stays when a taint appears, as the taint manager reckons: by the first toleration
/// of each taint; `Err` when it tolerates it not at all.
fn stays(tolerations: &Value, taint: &str) -> Result<Option<i64>, ()> {
    let text = |one: &Value, field: &str| one[field].as_str().unwrap_or_default().to_owned();
    let first = tolerations.as_array().into_iter().flatten().find(|one| {
        let (key, effect) = (text(one, "key"), text(one, "effect"));
        let exists = text(one, "operator") == "Exists";
        (effect.is_empty() || effect == "NoExecute")
            && (key == taint || (key.is_empty() && exists))
            && (exists || text(one, "value").is_empty())
    });
    first.map(|one| one["tolerationSeconds"].as_i64()).ok_or(())
}

proptest! {
    /// Whatever a pod tolerates, once armed it stays, is left alone from then on, and keeps every
    /// toleration that it had but for their seconds: that is all the API server allows.
    #[test]
    fn an_armed_pod_stays_and_is_left_alone(
        before in prop::collection::vec(arb_toleration(), 0..6),
        limit in prop::option::of(0_i64..1000),
    ) {
        let wanted = limit.map_or(Autonomy::Unlimited, Autonomy::Seconds);
        let before = Value::Array(before);
        let after = tolerate(&before, wanted).unwrap_or_else(|| before.clone());
        prop_assert_eq!(tolerate(&after, wanted), None);
        for taint in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            let stays = stays(&after, taint);
            prop_assert!(stays == Ok(None) || stays == Ok(limit), "{:?}", stays);
        }
        let bare = |one: &Value| {
            let mut one = one.clone();
            one.as_object_mut().unwrap().remove("tolerationSeconds");
            one
        };
        let kept: Vec<Value> = after.as_array().unwrap().iter().map(bare).collect();
        for one in before.as_array().unwrap() {
            prop_assert!(kept.contains(&bare(one)));
        }
    }
}
