//! The language: what is read, and what is said of what cannot be.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use super::*;

mod devices;
mod examples;
mod running;

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n\
                   spec: {containers: [{name: main, image: web}]}\n";

const WINTER: &str = "
name: a long winter
seed: 7
nodes: [north, south]
manifests:
  - web.yaml
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: b}}
  - each_node: {apiVersion: v1, kind: Pod, metadata: {name: agent-$(NODE)}, spec: {nodeName: $(NODE), containers: [{name: a, image: a}]}}
timeline:
  - {at: 2h, heal: all}
  - {at: 10s, cut: north, how: to-edge, for: 1m}
  - {at: 1h, kill: [cloud, south/edged]}
  - {at: 3h, clock: south, by: -730d}
  - {at: 1m, slow: all, delay: 600ms, rate: 2kB/s, loss: 0.5%}
  - {at: 4h, delete: Pod default/web}
expect:
  - {at: 30d, node: north, runs: [web, {pod: prod/db, image: 'db:2', env: {A: 1}}]}
  - {at: 2h, converged: 5m}
  - {never: more-than-one-copy}
";

struct Given(BTreeMap<&'static str, &'static str>);

impl Files for Given {
    fn read(&self, path: &str) -> io::Result<Vec<(String, String)>> {
        match self.0.get(path) {
            Some(text) => Ok(vec![(path.to_owned(), (*text).to_owned())]),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn parse(text: &str) -> Result<Scenario, Mistakes> {
    let files = Given(BTreeMap::from([("web.yaml", POD), ("broken.yaml", "a: [")]));
    Scenario::parse("test.yaml", text, &files)
}

fn mistakes(text: &str) -> Vec<(u64, String)> {
    let mistakes = parse(text).expect_err("the file is wrong");
    let listed = mistakes.list().iter();
    listed
        .map(|mistake| (mistake.place.line, mistake.what.clone()))
        .collect()
}

#[test]
fn a_scenario_is_read_in_full() {
    let scenario = parse(WINTER).unwrap();
    assert_eq!(scenario.name, "a long winter");
    assert_eq!(scenario.seed, 7);
    let names: Vec<&str> = scenario
        .manifests
        .iter()
        .map(|manifest| manifest.object["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["web", "settings", "agent-north", "agent-south"]);
    let steps: Vec<(u64, &str)> = scenario
        .steps
        .iter()
        .map(|step| (step.at.as_secs(), step.label.as_str()))
        .collect();
    let expected = [
        (10, "cut north"),
        (60, "slow all"),
        (70, "heal north"),
        (3_600, "kill cloud, south/edged"),
        (7_200, "heal all"),
        (10_800, "clock south"),
        (14_400, "delete Pod default/web"),
    ];
    assert_eq!(
        steps, expected,
        "in the order of time, with the end of what lasts"
    );
    let Action::Clock { by_millis, .. } = &scenario.steps[5].action else {
        panic!("{:?}", scenario.steps[5])
    };
    assert_eq!(*by_millis, -730 * 86_400_000);
    let Action::Slow { road, .. } = &scenario.steps[1].action else {
        panic!("{:?}", scenario.steps[1])
    };
    assert_eq!(
        (road.bytes_per_second, road.loss_per_mille),
        (Some(2_000), 5)
    );
    let Claim::Runs(pods) = &scenario.expectations[0].what else {
        panic!("{:?}", scenario.expectations[0])
    };
    assert_eq!(
        (pods[0].namespace.as_str(), pods[1].namespace.as_str()),
        ("default", "prod")
    );
    assert_eq!(pods[1].env["A"], "1");
    assert_eq!(scenario.end, Duration::from_secs(30 * 86_400 + 10));
}

/// Expects these mistakes: line, and a part of what is said.
fn expect_mistakes(text: &str, expected: &[(u64, &str)]) {
    let found = mistakes(text);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((line, what), (expected_line, expected)) in found.iter().zip(expected) {
        assert_eq!(line, expected_line, "{what}");
        assert!(what.contains(expected), "{what}\n{expected}");
    }
}

#[test]
fn every_mistake_is_told_at_once_with_its_line_and_what_was_expected() {
    expect_mistakes(
        "\
nodes: 2
manifest: [web.yaml]
manifests: [none.yaml, broken.yaml, {apiVersion: v1, kind: Pod, metadata: {name: x}}]
timeline:
  - {at: soon, cut: edge-1}
  - {at: 1s, cut: edge-9}
  - {at: 1s, cutt: edge-1}
  - {at: 1s, cut: edge-1, heal: edge-1}
  - {at: 1s, flap: edge-1, up: 1s}
  - {at: 1s, delete: Unicorn web}
  - {at: 1s, cut: edge-1, how: gently}
expect:
  - {node: edge-1, runs: [web]}
  - {at: 1s, runs: [{pod: web, colour: red}]}
  - {at: 1s}
",
        &[
            (2, "unknown key `manifest`; expected one of name, about"),
            (
                3,
                "expected a manifest file or a directory of them at `none.yaml`",
            ),
            (3, "broken.yaml is no YAML"),
            (3, "the API refuses line 3: Pod \"x\" is invalid"),
            (5, "expected a time such as 10s, 1h30m or 30d, found `soon`"),
            (6, "expected a node: edge-1, edge-2, or all, found `edge-9`"),
            (7, "at this time, found `cutt`"),
            (8, "at this time, found cut and heal"),
            (
                9,
                "expected `down:` (how long the link is cut each time) here, found none",
            ),
            (10, "expected a built-in kind such as Pod, found `Unicorn`"),
            (
                11,
                "expected one of silent, reset, to-edge, to-cloud, found `gently`",
            ),
            (13, "expected `at:`"),
            (
                14,
                "unknown key `colour`; expected one of pod, image, env, files",
            ),
            (
                15,
                "expected one of runs, serves, connected, twins, converged, never here, found none",
            ),
        ],
    );
}

#[test]
fn mistakes_about_disks_writes_and_kinds_are_told_too() {
    expect_mistakes(
        "\
nodes: 2
timeline:
  - {at: 1s, disk: edge-1, fault: gone}
  - {at: 1s, disk: edge-1/edged, fault: full, for: 1m}
  - {at: 1s, edge-write: ConfigMap settings, node: edge-1, patch: [a]}
  - {at: 1s, edge-write: ConfigMap settings, patch: {data: {}}}
  - {at: 2s, restore: [cloud, edge-1]}
  - {at: 1s, snapshot: cloud}
  - {at: 1s, apply: {apiVersion: example.com/v1, kind: Widget, metadata: {name: w}}}
expect:
  - {at: 1s, serves: true}
",
        &[
            (
                3,
                "expected one of full, write-fails, sync-fails, read-fails, none, found `gone`",
            ),
            (4, "expected cloud or a whole node"),
            (
                5,
                "expected a mapping that is merged into the object, found a list",
            ),
            (
                6,
                "expected `node:` (whose local API is asked) here, found none",
            ),
            (
                7,
                "expected a `snapshot:` of edge-1 before this, found none",
            ),
            (
                9,
                "but line 9 is a example.com/v1 Widget; a custom kind is named by",
            ),
        ],
    );
}

#[test]
fn disks_writes_at_the_edge_and_custom_kinds_are_read() {
    let text = "
nodes: 2
timeline:
  - {at: 1s, disk: [cloud, edge-1], fault: sync-fails, for: 1m}
  - {at: 2s, edge-write: ConfigMap settings, node: all, patch: {data: {mode: night}}}
  - {at: 3s, apply: {apiVersion: example.com/v1, kind: Widget, metadata: {name: w}}, resource: widgets.example.com}
  - {at: 4s, delete: {resource: widgets.example.com, namespace: default, name: w}}
expect:
  - {at: 2m, converged: 1m}
";
    let scenario = parse(text).unwrap();
    let labels: Vec<(u64, &str)> = scenario
        .steps
        .iter()
        .map(|step| (step.at.as_secs(), step.label.as_str()))
        .collect();
    let expected = [
        (1, "disk cloud, edge-1: syncs fail"),
        (2, "edge-write ConfigMap settings at edge-1, edge-2"),
        (3, "apply Widget w"),
        (4, "delete widgets.example.com w"),
        (61, "mend disk of cloud, edge-1"),
    ];
    assert_eq!(labels, expected);
    let Action::EdgeWrite {
        nodes,
        target,
        patch,
    } = &scenario.steps[1].action
    else {
        panic!("{:?}", scenario.steps[1])
    };
    assert_eq!((nodes.len(), &*target.resource), (2, "configmaps"));
    assert_eq!(patch["data"]["mode"], "night");
    let Action::Apply(manifests) = &scenario.steps[2].action else {
        panic!("{:?}", scenario.steps[2])
    };
    assert_eq!(
        manifests[0].resource.as_deref(),
        Some("widgets.example.com")
    );
    let moments: Vec<u64> = scenario.moments().iter().map(Duration::as_secs).collect();
    assert_eq!(moments, [0, 1, 2, 3, 4, 61, 120, 180, 190]);
}

#[test]
fn of_many_nodes_the_first_can_be_taken() {
    let text = "nodes: 100\nexpect:\n  - {at: 1s, node: edge-3, serves: true}\n";
    let first = |count| Scenario::parse_first("test.yaml", text, &NoFiles, count);
    let scenario = first(3).unwrap();
    assert_eq!((scenario.nodes.len(), scenario.nodes_place.line), (3, 1));
    let mistakes = first(2).unwrap_err().to_string();
    assert!(mistakes.contains("expected a node: edge-1, edge-2, or all, found `edge-3`"));
}

#[test]
fn a_mistake_is_shown_with_its_line() {
    let mistakes = parse("nodes: 1\nexpect:\n  - {at: 1x, serves: true}\n").unwrap_err();
    assert_eq!(
        mistakes.to_string(),
        "test.yaml:3:10: expected a time such as 10s, 1h30m or 30d, found `1x`\n  \
         3 |   - {at: 1x, serves: true}\n    |          ^"
    );
}

#[test]
fn what_is_no_yaml_or_no_mapping_is_said_with_its_line() {
    assert_eq!(mistakes("nodes: 1\nexpect: [}\n")[0].0, 2);
    assert!(
        mistakes("- a\n- b\n")[0]
            .1
            .starts_with("expected a scenario")
    );
    assert!(mistakes("")[0].1.starts_with("expected a scenario"));
    assert!(
        mistakes("nodes: 1\nnodes: 2\n")[0].1.contains("dup"),
        "{:?}",
        mistakes("nodes: 1\nnodes: 2\n")
    );
    let deep = format!("nodes: {}1{}", "[".repeat(500), "]".repeat(500));
    assert!(!mistakes(&deep).is_empty());
    for nodes in ["0", "100000", "[]", "[all]", "[a, a]", "[A_B]", "{a: b}"] {
        let found = mistakes(&format!("nodes: {nodes}\nexpect:\n  - never: restart\n"));
        assert_eq!(found[0].0, 1, "{nodes}: {found:?}");
    }
}

#[test]
fn any_garbage_is_a_mistake_and_no_panic() {
    let mut rng = fastrand::Rng::with_seed(1);
    let valid = "nodes: 2\ntimeline:\n  - {at: 1s, cut: edge-1, for: 2s}\nexpect:\n  - {at: 5s, serves: true}\n";
    for _ in 0..2_000 {
        let mut bytes = valid.as_bytes().to_vec();
        for _ in 0..rng.usize(1..6) {
            let at = rng.usize(..bytes.len());
            match rng.u8(..3) {
                0 => bytes[at] = rng.u8(b' '..b'~'),
                1 => drop(bytes.drain(at..bytes.len().min(at + rng.usize(1..10)))),
                _ => bytes.insert(at, rng.u8(b'\n'..b'~')),
            }
            if bytes.is_empty() {
                break;
            }
        }
        let _ = parse(&String::from_utf8_lossy(&bytes));
    }
}
