use proptest::prelude::*;
use serde_json::json;

use causeway_log::Uid;
use causeway_projections::twin::GROUP;

use super::*;

fn node(index: usize) -> NodeName {
    NodeName::new(&format!("n{index}")).unwrap()
}

fn key(resource: Resource, namespace: &str, name: &str, life: u8) -> Key {
    Key::new(
        resource,
        namespace,
        name,
        Uid::parse(&format!("life-{life}")),
    )
    .unwrap()
}

fn core(plural: &str, namespace: &str, name: &str) -> Key {
    key(Resource::core(plural), namespace, name, 0)
}

fn put(graph: &mut Graph, key: &Key, body: &Value) -> Vec<(String, String, Step)> {
    let mut deltas = Vec::new();
    graph.put(key, body, &mut deltas);
    shown(&deltas)
}

fn shown(deltas: &[Delta]) -> Vec<(String, String, Step)> {
    deltas
        .iter()
        .map(|d| (d.node.to_string(), d.key.to_string(), d.step))
        .collect()
}

fn step(node: &str, key: &str, step: Step) -> (String, String, Step) {
    (node.to_owned(), key.to_owned(), step)
}

#[test]
fn a_bound_pod_brings_what_it_names_first() {
    let mut graph = Graph::default();
    put(&mut graph, &core("namespaces", "", "shop"), &json!({}));
    put(&mut graph, &core("configmaps", "shop", "menu"), &json!({}));
    let pod = json!({"spec": {"nodeName": "n1", "volumes": [{"configMap": {"name": "menu"}}]}});
    assert_eq!(
        put(&mut graph, &core("pods", "shop", "till"), &pod),
        [
            step("n1", "configmaps/shop/menu", Step::Put),
            step("n1", "namespaces/shop", Step::Put),
            step("n1", "pods/shop/till", Step::Put),
        ],
    );
}

#[test]
fn a_missing_reference_is_satisfied_when_it_appears() {
    let mut graph = Graph::default();
    let pod = json!({"spec": {"nodeName": "n1", "containers": [
        {"envFrom": [{"secretRef": {"name": "late"}}]}]}});
    put(&mut graph, &core("pods", "shop", "till"), &pod);
    assert_eq!(
        put(&mut graph, &core("secrets", "shop", "late"), &json!({})),
        [step("n1", "secrets/shop/late", Step::Put)],
    );
}

#[test]
fn the_last_cause_withdraws() {
    let mut graph = Graph::default();
    let pod = json!({"spec": {"nodeName": "n1", "imagePullSecrets": [{"name": "pull"}]}});
    put(&mut graph, &core("secrets", "shop", "pull"), &json!({}));
    put(&mut graph, &core("pods", "shop", "a"), &pod);
    put(&mut graph, &core("pods", "shop", "b"), &pod);
    let mut deltas = Vec::new();
    graph.remove(&core("pods", "shop", "a"), &mut deltas);
    assert_eq!(shown(&deltas), [step("n1", "pods/shop/a", Step::Withdraw)]);
    deltas.clear();
    graph.remove(&core("pods", "shop", "b"), &mut deltas);
    assert_eq!(
        shown(&deltas),
        [
            step("n1", "pods/shop/b", Step::Withdraw),
            step("n1", "secrets/shop/pull", Step::Withdraw),
        ],
    );
}

#[test]
fn a_claim_brings_its_volume() {
    let mut graph = Graph::default();
    let pod = json!({"spec": {"nodeName": "n1", "volumes": [
        {"persistentVolumeClaim": {"claimName": "data"}}]}});
    put(&mut graph, &core("pods", "shop", "db"), &pod);
    put(
        &mut graph,
        &core("persistentvolumes", "", "disk"),
        &json!({}),
    );
    assert_eq!(
        put(
            &mut graph,
            &core("persistentvolumeclaims", "shop", "data"),
            &json!({})
        ),
        [step("n1", "persistentvolumeclaims/shop/data", Step::Put)],
    );
    let bound = json!({"spec": {"volumeName": "disk"}});
    assert_eq!(
        put(
            &mut graph,
            &core("persistentvolumeclaims", "shop", "data"),
            &bound
        ),
        [
            step("n1", "persistentvolumes/disk", Step::Put),
            step("n1", "persistentvolumeclaims/shop/data", Step::Update),
        ],
    );
}

fn device(on: &str, model: &str) -> Value {
    json!({"spec": {"nodeName": on, "deviceModelRef": {"name": model}}})
}

fn devices(plural: &str, name: &str) -> Key {
    key(Resource::new(GROUP, plural), "shop", name, 0)
}

#[test]
fn a_device_brings_its_model_when_there_is_one_and_moves_with_it() {
    let mut graph = Graph::default();
    put(&mut graph, &core("namespaces", "", "shop"), &json!({}));
    let oven = devices("devices", "oven");
    assert_eq!(
        put(&mut graph, &oven, &device("n1", "heater")),
        [
            step("n1", "namespaces/shop", Step::Put),
            step("n1", "devices.devices.kubeedge.io/shop/oven", Step::Put),
        ],
    );
    let model = "devicemodels.devices.kubeedge.io/shop/heater";
    assert_eq!(
        put(&mut graph, &devices("devicemodels", "heater"), &json!({})),
        [step("n1", model, Step::Put)],
    );
    // Editing a device through a node keeps it nowhere.
    let mut deltas = Vec::new();
    graph.stick(&node(1), &oven, &mut deltas);
    let moved = put(&mut graph, &oven, &device("n2", "heater"));
    assert_eq!(
        moved,
        [
            step("n1", "namespaces/shop", Step::Withdraw),
            step("n1", model, Step::Withdraw),
            step("n2", "namespaces/shop", Step::Put),
            step("n2", model, Step::Put),
            step(
                "n1",
                "devices.devices.kubeedge.io/shop/oven",
                Step::Withdraw
            ),
            step("n2", "devices.devices.kubeedge.io/shop/oven", Step::Put),
        ],
    );
    deltas.clear();
    graph.remove(&oven, &mut deltas);
    assert!(graph.held().all(|(_, holders)| holders.is_empty()));
}

#[test]
fn the_kinds_of_devices_go_where_devices_are_and_statuses_nowhere() {
    let mut graph = Graph::default();
    let definition = key(
        Resource::new("apiextensions.k8s.io", "customresourcedefinitions"),
        "",
        "devicestatuses.devices.kubeedge.io",
        0,
    );
    let body = json!({"spec": {"group": GROUP}});
    put(&mut graph, &definition, &body);
    put(&mut graph, &devices("devices", "oven"), &device("n1", "x"));
    assert!(graph.holds(&node(1), &definition));
    let wants = json!({"metadata": {"annotations": {SUBSCRIBE_ANNOTATION: GROUP}}});
    put(&mut graph, &core("nodes", "", "n1"), &wants);
    let status = devices("devicestatuses", "oven");
    assert!(put(&mut graph, &status, &json!({})).is_empty());
    assert!(!graph.holds(&node(1), &status));
}

#[test]
fn subscriptions_follow_the_annotation_and_never_reach_built_in_groups() {
    let mut graph = Graph::default();
    put(
        &mut graph,
        &key(Resource::new("farm.io", "cows"), "x", "elsa", 0),
        &json!({}),
    );
    put(
        &mut graph,
        &key(Resource::new("apps", "deployments"), "x", "d", 0),
        &json!({}),
    );
    let wants = json!({"metadata": {"annotations": {SUBSCRIBE_ANNOTATION: "farm.io, apps"}}});
    assert_eq!(
        put(&mut graph, &core("nodes", "", "n1"), &wants),
        [
            step("n1", "cows.farm.io/x/elsa", Step::Put),
            step("n1", "nodes/n1", Step::Put)
        ],
    );
    assert_eq!(
        put(&mut graph, &core("nodes", "", "n1"), &json!({})),
        [
            step("n1", "cows.farm.io/x/elsa", Step::Withdraw),
            step("n1", "nodes/n1", Step::Update),
        ],
    );
}

#[test]
fn another_life_of_a_name_is_another_object() {
    let mut graph = Graph::default();
    let bound = json!({"spec": {"nodeName": "n1"}});
    put(
        &mut graph,
        &key(Resource::core("pods"), "x", "p", 1),
        &bound,
    );
    let second = key(Resource::core("pods"), "x", "p", 2);
    assert_eq!(
        put(&mut graph, &second, &bound),
        [
            step("n1", "pods/x/p", Step::Withdraw),
            step("n1", "pods/x/p", Step::Put)
        ],
    );
    assert!(graph.holds(&node(1), &second));
}

#[test]
fn hostile_bodies_name_nothing() {
    let mut graph = Graph::default();
    let long = "x".repeat(300);
    for spec in [
        json!(null),
        json!([]),
        json!({"nodeName": 7}),
        json!({"nodeName": "../etc"}),
        json!({"nodeName": "../etc", "deviceModelRef": {"name": "m"}}),
    ] {
        let body = json!({"spec": spec});
        assert!(put(&mut graph, &core("pods", "x", "p"), &body).is_empty());
        assert!(put(&mut graph, &devices("devices", "d"), &body).is_empty());
    }
    let body = json!({"spec": {"nodeName": "n1", "volumes": {"a": 1}, "containers": [7, null],
        "imagePullSecrets": [{"name": long}, {"name": ""}]}});
    put(&mut graph, &core("pods", "x", "p"), &body);
    assert!(graph.holds(&node(1), &core("pods", "x", "p")));
}

#[test]
fn bodies_going_down_leave_out_what_the_edge_owns() {
    let object = json!({"kind": "Pod", "status": {"phase": "Running"},
        "metadata": {"name": "p", "resourceVersion": "7", "managedFields": []}});
    let sent = down_body(&core("pods", "x", "p"), &object);
    assert_eq!(
        sent.bytes(),
        &br#"{"kind":"Pod","metadata":{"name":"p"}}"#[..]
    );
    let service = core("services", "x", "s");
    let plain = Body::from(br#"{"status":{"loadBalancer":{}}}"#.to_vec());
    assert_eq!(down_body_of(&service, &plain), plain);
}

use causeway_log::Body;

/// One step of a random history.
#[derive(Clone, Debug)]
enum Act {
    Put(Key, Value),
    Remove(usize),
    Stick(usize, usize),
}

fn any_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c"])
}

fn any_namespace() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["x", "y"])
}

fn any_device() -> impl Strategy<Value = (Resource, Value)> {
    (0..4_usize, any_name()).prop_map(|(on, model)| {
        let nodes = [Value::Null, json!("n1"), json!("n2"), json!("n3")];
        let body = json!({"spec": {"nodeName": nodes[on], "deviceModelRef": {"name": model}}});
        (Resource::new(GROUP, "devices"), body)
    })
}

fn any_definition_of_devices()
-> impl Strategy<Value = (Resource, &'static str, &'static str, Value)> {
    let names = vec![
        "devices.devices.kubeedge.io",
        "devicemodels.devices.kubeedge.io",
    ];
    prop::sample::select(names).prop_map(|name| {
        let crds = Resource::new("apiextensions.k8s.io", "customresourcedefinitions");
        (crds, "", name, json!({"spec": {"group": GROUP}}))
    })
}

fn any_object() -> impl Strategy<Value = (Key, Value)> {
    let pod = (0..4_usize, any_name(), any_name(), any_name(), any_name()).prop_map(
        |(on, map, secret, claim, volume)| {
            let node = if on == 0 {
                Value::Null
            } else {
                json!(format!("n{on}"))
            };
            let body = json!({"spec": {"nodeName": node,
                "containers": [{"env": [
                    {"valueFrom": {"configMapKeyRef": {"name": map}}},
                    {"valueFrom": {"secretKeyRef": {"name": secret}}}]}],
                "volumes": [{"persistentVolumeClaim": {"claimName": claim}},
                    {"name": volume, "ephemeral": {}}]}});
            (Resource::core("pods"), body)
        },
    );
    let claim = any_name().prop_map(|volume| {
        (
            Resource::core("persistentvolumeclaims"),
            json!({"spec": {"volumeName": volume}}),
        )
    });
    let plain = prop::sample::select(vec![
        Resource::new(GROUP, "devicemodels"),
        Resource::new(GROUP, "devicestatuses"),
        Resource::core("configmaps"),
        Resource::core("secrets"),
        Resource::core("services"),
        Resource::new("discovery.k8s.io", "endpointslices"),
        Resource::new("g.io", "things"),
        Resource::new("h.io", "things"),
    ])
    .prop_map(|resource| (resource, json!({})));
    let namespaced = (
        prop_oneof![3 => pod, 1 => claim, 2 => any_device(), 3 => plain],
        any_namespace(),
        any_name(),
    )
        .prop_map(|((resource, body), namespace, name)| (resource, namespace, name, body));
    let node = (
        1..4_usize,
        prop::sample::select(vec!["", "g.io", "g.io,h.io", GROUP]),
    )
        .prop_map(|(index, groups)| {
            let names = ["", "n1", "n2", "n3"];
            let body = json!({"metadata": {"annotations": {SUBSCRIBE_ANNOTATION: groups}}});
            (Resource::core("nodes"), "", names[index], body)
        });
    let scoped = prop_oneof![
        any_name().prop_map(|name| (Resource::core("persistentvolumes"), "", name, json!({}))),
        any_namespace().prop_map(|name| (Resource::core("namespaces"), "", name, json!({}))),
        any_definition_of_devices(),
        (any_name(), any_name()).prop_map(|(name, group)| {
            let crds = Resource::new("apiextensions.k8s.io", "customresourcedefinitions");
            let group = if group == "a" { "g.io" } else { "h.io" };
            (crds, "", name, json!({"spec": {"group": group}}))
        }),
    ];
    (
        prop_oneof![5 => namespaced, 1 => node, 2 => scoped],
        0..2_u8,
    )
        .prop_map(|((resource, namespace, name, body), life)| {
            (key(resource, namespace, name, life), body)
        })
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => any_object().prop_map(|(key, body)| Act::Put(key, body)),
        2 => any::<prop::sample::Index>().prop_map(|index| Act::Remove(index.index(1000))),
        1 => (1..4_usize, any::<prop::sample::Index>())
            .prop_map(|(node, index)| Act::Stick(node, index.index(1000))),
    ]
}

/// Who needs what, computed from the objects alone.
fn from_scratch(
    objects: &BTreeMap<Name, (Key, Value)>,
    sticky: &BTreeSet<(NodeName, Key)>,
) -> BTreeSet<(NodeName, Key)> {
    let mut needs: BTreeSet<(NodeName, Need)> = BTreeSet::new();
    for (key, body) in objects.values() {
        needs.extend(references::causes(key, body));
    }
    for (node, key) in sticky {
        if objects.values().any(|(live, _)| live == key) {
            needs.insert((node.clone(), Need::Object(Name::of(key))));
        }
    }
    let held = |needs: &BTreeSet<(NodeName, Need)>| -> BTreeSet<(NodeName, Key)> {
        let nodes: BTreeSet<NodeName> = needs.iter().map(|(node, _)| node.clone()).collect();
        let all = nodes
            .iter()
            .flat_map(|node| objects.values().map(move |object| (node, object)));
        all.filter(|(node, (key, body))| {
            let class = references::class_of(key, body);
            needs.contains(&((*node).clone(), Need::Object(Name::of(key))))
                || class.is_some_and(|class| needs.contains(&((*node).clone(), Need::Class(class))))
        })
        .map(|(node, (key, _))| (node.clone(), key.clone()))
        .collect()
    };
    for (node, key) in held(&needs) {
        let (_, body) = &objects[&Name::of(&key)];
        for followed in references::follows(&key, body) {
            needs.insert((node.clone(), Need::Object(followed)));
        }
    }
    held(&needs)
}

proptest! {
    #[test]
    fn incremental_equals_from_scratch(acts in prop::collection::vec(any_act(), 1..60)) {
        let mut graph = Graph::default();
        let mut objects: BTreeMap<Name, (Key, Value)> = BTreeMap::new();
        let mut sticky: BTreeSet<(NodeName, Key)> = BTreeSet::new();
        let mut held: BTreeSet<(NodeName, Key)> = BTreeSet::new();
        for act in acts {
            let mut deltas = Vec::new();
            let mut written = None;
            let nth = |index: usize| {
                (!objects.is_empty())
                    .then(|| objects.values().nth(index % objects.len()).unwrap().0.clone())
            };
            match act {
                Act::Put(key, body) => {
                    graph.put(&key, &body, &mut deltas);
                    if let Some((old, _)) = objects.insert(Name::of(&key), (key.clone(), body)) {
                        sticky.retain(|(_, stuck)| *stuck != old || old == key);
                    }
                    written = Some(key);
                }
                Act::Remove(index) => if let Some(key) = nth(index) {
                    graph.remove(&key, &mut deltas);
                    objects.remove(&Name::of(&key));
                    sticky.retain(|(_, stuck)| *stuck != key);
                },
                Act::Stick(at, index) => if let Some(key) = nth(index) {
                    graph.stick(&node(at), &key, &mut deltas);
                    // A Device is its node's by what it says itself.
                    if !is_device(&key.resource) {
                        sticky.insert((node(at), key));
                    }
                },
            }
            let before = held.clone();
            for delta in &deltas {
                let pair = (delta.node.clone(), delta.key.clone());
                match delta.step {
                    Step::Put => prop_assert!(held.insert(pair), "put twice: {delta:?}"),
                    Step::Update => prop_assert!(held.contains(&pair), "not held: {delta:?}"),
                    Step::Withdraw => prop_assert!(held.remove(&pair), "not held: {delta:?}"),
                }
            }
            if let Some(key) = written {
                for (at, _) in before.intersection(&held).filter(|(_, held)| *held == key) {
                    let told = deltas.iter().any(|d| d.node == *at && d.key == key);
                    prop_assert!(told, "{at} was not told of {key}");
                }
            }
            prop_assert_eq!(&held, &from_scratch(&objects, &sticky));
            let listed: BTreeSet<(NodeName, Key)> = graph.held()
                .flat_map(|(key, nodes)| nodes.iter().map(|at| (at.clone(), key.clone())))
                .collect();
            prop_assert_eq!(&held, &listed);
        }
    }
}
