//! The worked scenarios go as they say, and the expectations in them can fail.

use std::path::{Path, PathBuf};

use crate::report;
use crate::scenario::{Directory, Scenario, simulate};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/scenarios")
}

fn load(name: &str) -> Scenario {
    let file = directory().join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&file).unwrap();
    Scenario::parse(name, &text, &Directory(directory())).unwrap_or_else(|error| panic!("{error}"))
}

fn passes(name: &str) {
    let scenario = load(name);
    let (outcome, _) = simulate(&scenario, scenario.seed, &mut |_| {});
    assert!(outcome.passed(), "{}", report::text(&outcome, 4));
}

#[test]
fn a_month_offline_with_a_rollout() {
    passes("long-offline");
}

#[test]
fn a_flapping_satellite() {
    passes("flapping-satellite");
}

#[test]
fn a_reboot_while_cut() {
    passes("reboot-while-cut");
}

#[test]
fn a_wiped_disk() {
    passes("wiped-disk");
}

#[test]
fn a_cloud_restored_from_a_backup() {
    passes("cloud-restored");
}

#[test]
fn a_storm_of_a_thousand_nodes() {
    passes("storm");
}

#[test]
fn a_clock_two_years_wrong() {
    passes("wrong-clock");
}

#[test]
fn deleted_and_made_anew() {
    passes("delete-and-recreate");
}

#[test]
fn devices_through_three_days_without_the_cloud() {
    passes("devices");
}

#[test]
fn a_device_through_ten_seconds_without_the_cloud() {
    passes("devices-short");
}

#[test]
fn every_example_has_a_test() {
    let files = std::fs::read_dir(directory()).unwrap();
    let count = files
        .filter(|file| {
            file.as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|end| end == "yaml")
        })
        .count();
    assert_eq!(count, 10);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let scenario = load("flapping-satellite");
    let run = |seed| {
        let (outcome, system) = simulate(&scenario, seed, &mut |_| {});
        (
            system.digest(),
            system.trace().lines().join("\n"),
            report::json(&outcome),
        )
    };
    let first = run(1);
    assert!(first == run(1), "two runs of one seed differ");
    assert_ne!(first.0, run(2).0);
}

#[test]
fn what_the_cloud_refuses_is_told() {
    // Of a pod that exists, hardly more than images can be changed.
    let text = "
nodes: [ridge]
manifests: [manifests/station.yaml]
timeline:
  - at: 1m
    apply: {apiVersion: v1, kind: Pod, metadata: {name: uplink, namespace: station},
      spec: {nodeName: ridge, hostNetwork: true, containers: [{name: uplink, image: x}]}}
expect:
  - {at: 2m, serves: true}
";
    let scenario = Scenario::parse("refused", text, &Directory(directory())).unwrap();
    let (outcome, _) = simulate(&scenario, 1, &mut |_| {});
    let [(_, refusal)] = outcome.refusals.as_slice() else {
        panic!("{:?}", outcome.refusals)
    };
    assert!(refusal.contains("uplink"), "{refusal}");
    assert!(report::text(&outcome, 1).contains(refusal));
}

#[test]
fn what_is_not_so_fails() {
    // The node is cut off for ever: the rollout cannot arrive, and is not said to have.
    let text = "
nodes: [ridge]
manifests: [manifests/station.yaml]
timeline:
  - {at: 5m, cut: ridge}
  - {at: 6m, apply: manifests/station-2.yaml}
  - {at: 30m, reboot: ridge}
expect:
  - {at: 6m, within: 20m, runs: [{pod: station/sampler, image: 'example.com/sampler:2.0'}], others: true}
  - {at: 10m, converged: 10m}
  - {at: 20m, connected: true}
  - {never: restart, from: 5m}
  - {never: silence, from: 5m}
  - {never: more-than-one-copy}
";
    let scenario = Scenario::parse("bad", text, &Directory(directory())).unwrap();
    let (outcome, _) = simulate(&scenario, 1, &mut |_| {});
    assert!(outcome.broken.is_none(), "{:?}", outcome.broken);
    let failed: Vec<bool> = outcome
        .verdicts
        .iter()
        .map(|verdict| verdict.failure.is_some())
        .collect();
    assert_eq!(
        failed,
        [true, true, true, true, true, false],
        "{}",
        report::text(&outcome, 1)
    );
}

/// Runs a scenario beside the examples and expects it to go as it says.
fn goes_well(text: &str) -> crate::scenario::Outcome {
    let scenario = Scenario::parse("here", text, &Directory(directory()))
        .unwrap_or_else(|error| panic!("{error}"));
    let (outcome, _) = simulate(&scenario, 1, &mut |_| {});
    assert!(outcome.passed(), "{}", report::text(&outcome, 2));
    outcome
}

#[test]
fn a_node_whose_disk_is_full_runs_on_and_catches_up() {
    goes_well(
        "
nodes: [ridge]
manifests: [manifests/station.yaml]
timeline:
  - {at: 5m, disk: ridge, fault: full, for: 1h}
  - {at: 10m, apply: manifests/station-2.yaml}
  - {at: 2h, disk: cloud, fault: sync-fails}
  - {at: 2h1m, disk: cloud, fault: none}
expect:
  - {at: 1h4m, runs: [{pod: station/sampler, image: 'example.com/sampler:1.0'}, station/uplink]}
  - {at: 1h5m, converged: 5m}
  - {at: 2h1m, converged: 5m}
  - {never: more-than-one-copy}
",
    );
}

#[test]
fn a_node_whose_disk_cannot_be_read_runs_on_and_catches_up() {
    goes_well(
        "
nodes: [ridge]
manifests: [manifests/station.yaml]
timeline:
  - {at: 5m, disk: ridge, fault: read-fails, for: 1h}
  - {at: 6m, storm: ridge}
  - {at: 10m, apply: manifests/station-2.yaml}
  - {at: 2h, disk: cloud, fault: read-fails}
  - {at: 2h, storm: ridge}
  - {at: 2h1m, disk: cloud, fault: none}
expect:
  - {at: 1h5m, converged: 5m}
  - {at: 2h1m, converged: 5m}
  - {never: more-than-one-copy}
",
    );
}

#[test]
fn what_is_written_at_the_edge_is_asked_of_the_cloud() {
    let outcome = goes_well(
        "
nodes: [ridge]
manifests: [manifests/station.yaml]
timeline:
  - {at: 5m, cut: ridge}
  - {at: 6m, edge-write: ConfigMap station/settings, node: ridge, patch: {data: {mode: night}}}
  - {at: 7m, edge-write: ConfigMap station/nothing, node: ridge, patch: {data: {mode: night}}}
  - {at: 10m, heal: ridge}
expect:
  - {at: 10m, converged: 5m}
  - {at: 20m, runs: [station/sampler, {pod: station/uplink, files: {settings/mode: night}}]}
",
    );
    let [(_, refusal)] = outcome.refusals.as_slice() else {
        panic!("{:?}", outcome.refusals)
    };
    assert!(refusal.contains("nothing is not there"), "{refusal}");
}

#[test]
fn custom_kinds_follow_their_definition() {
    let definition = "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition,
    metadata: {name: widgets.example.com},
    spec: {group: example.com, scope: Namespaced, names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList},
      versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object,
        properties: {spec: {type: object, properties: {size: {type: integer}}}}}}}]}}";
    let widget =
        "apiVersion: example.com/v1, kind: Widget, metadata: {name: one, namespace: default}";
    let outcome = goes_well(&format!(
        "
nodes: [ridge]
manifests:
  - {definition}
  - {{resource: widgets.example.com, objects: {{{widget}, spec: {{size: 1}}}}}}
timeline:
  - {{at: 5m, apply: {{{widget}, spec: {{size: 2}}}}, resource: widgets.example.com}}
  - {{at: 6m, delete: {{resource: widgets.example.com, namespace: default, name: one}}}}
  - {{at: 7m, apply: {{apiVersion: example.com/v1, kind: Gadget, metadata: {{name: g}}}}, resource: gadgets.example.com}}
expect:
  - {{at: 10m, converged: 1m}}
"
    ));
    let refused: Vec<&str> = outcome.refusals.iter().map(|(_, why)| &**why).collect();
    assert_eq!(refused, ["no such kind"]);
}
