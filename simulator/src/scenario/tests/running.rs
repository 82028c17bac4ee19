//! Expectations against a system that does what the test says.

use std::time::Duration;

use serde_json::{Value, json};

use super::parse;
use crate::scenario::fake::{Fake, pod, state};
use crate::scenario::{Outcome, run};
use crate::world::NodeState;

const SECOND: Duration = Duration::from_secs(1);

fn check(expect: &str, states: impl Fn(Duration) -> NodeState + 'static) -> Outcome {
    let scenario = parse(&format!("nodes: 1\nexpect:\n  - {{{expect}}}\n")).unwrap();
    run(&scenario, 1, &mut Fake::new(states), &mut |_| {})
}

fn failure(expect: &str, states: impl Fn(Duration) -> NodeState + 'static) -> String {
    let outcome = check(expect, states);
    outcome.verdicts[0].failure.clone().unwrap_or_default()
}

fn web() -> NodeState {
    state(vec![pod("web", "1", "web:1", 0)])
}

#[test]
fn exactly_the_pods_that_are_named_run() {
    assert_eq!(failure("at: 5s, runs: [web]", |_| web()), "");
    assert_eq!(
        failure("at: 5s, runs: [web, db]", |_| web()),
        "edge-1: default/db does not run; default/web runs"
    );
    assert_eq!(
        failure("at: 5s, runs: []", |_| web()),
        "edge-1: default/web runs too"
    );
    assert_eq!(failure("at: 5s, runs: [], others: true", |_| web()), "");
    let half = |_| {
        let mut state = web();
        state.pods[0].running = false;
        state
    };
    assert_eq!(
        failure("at: 5s, runs: [web]", half),
        "edge-1: not every container of default/web runs"
    );
}

#[test]
fn images_environment_and_files_are_compared() {
    let claim = |rest: &str| format!("at: 5s, runs: [{{pod: web, {rest}}}]");
    for so in [
        "image: 'web:1'",
        "env: {MODE: fast}",
        "files: {settings/mode: fast}",
    ] {
        assert_eq!(failure(&claim(so), |_| web()), "");
    }
    let not_so = [
        (
            "image: 'web:2'",
            "edge-1: default/web runs web:1, not web:2",
        ),
        (
            "env: {MODE: slow}",
            "edge-1: default/web: $MODE is `fast`, not `slow`",
        ),
        (
            "env: {NONE: slow}",
            "edge-1: default/web: $NONE is not set, not `slow`",
        ),
        (
            "files: {settings/mode: slow}",
            "edge-1: default/web: settings/mode is `fast`, not `slow`",
        ),
        (
            "files: {settings/x: slow}",
            "edge-1: default/web: settings/x is not there (settings/mode), not `slow`",
        ),
    ];
    for (rest, why) in not_so {
        assert_eq!(failure(&claim(rest), |_| web()), why);
    }
}

#[test]
fn what_may_take_a_while_is_met_when_it_becomes_so() {
    let late = |now| {
        if now < 8 * SECOND {
            state(Vec::new())
        } else {
            web()
        }
    };
    let outcome = check("at: 5s, within: 10s, runs: [web]", late);
    assert!(outcome.passed(), "{outcome:?}");
    let took = outcome.verdicts[0].took.unwrap();
    assert!((3 * SECOND..4 * SECOND).contains(&took), "{took:?}");
    assert_eq!(
        failure("at: 5s, within: 2s, runs: [web]", late),
        "edge-1: default/web does not run; nothing runs"
    );
}

#[test]
fn a_pod_that_restarts_is_disturbed_and_one_that_is_new_is_not() {
    let restarts = |now| state(vec![pod("web", "1", "web:1", u32::from(now > 5 * SECOND))]);
    assert!(failure("never: restart", restarts).contains("default/web was started again"));
    assert_eq!(failure("never: restart, from: 8s, until: 9s", restarts), "");
    let replaced = |now| {
        let uid = if now > 5 * SECOND { "2" } else { "1" };
        state(vec![pod("web", uid, "web:1", 0)])
    };
    assert!(failure("never: restart", replaced).contains("default/web is gone"));
    let comes = |now| {
        if now > 5 * SECOND {
            web()
        } else {
            state(Vec::new())
        }
    };
    assert_eq!(failure("never: restart", comes), "");
}

#[test]
fn two_lives_of_one_name_are_two_copies() {
    let both = |_| {
        state(vec![
            pod("web", "1", "web:1", 0),
            pod("web", "2", "web:1", 0),
        ])
    };
    assert!(failure("never: more-than-one-copy", both).contains("default/web runs 2 times"));
    assert_eq!(failure("never: more-than-one-copy", |_| web()), "");
}

#[test]
fn converged_means_what_the_cloud_wants_runs_and_nothing_else() {
    let scenario = parse("nodes: 1\nexpect:\n  - {at: 5s, converged: 2s}\n").unwrap();
    let object = web_object();
    let map = json!({"kind": "ConfigMap", "metadata": {"namespace": "default", "name": "settings"},
        "data": {"mode": "fast\n"}});
    let outcome = |objects, states: fn(Duration) -> NodeState| {
        let mut fake = Fake::new(states);
        fake.objects = objects;
        let outcome = run(&scenario, 1, &mut fake, &mut |_| {});
        outcome.verdicts[0].failure.clone().unwrap_or_default()
    };
    assert_eq!(outcome(vec![object.clone(), map.clone()], |_| web()), "");
    assert!(outcome(vec![], |_| web()).ends_with("is not wanted"));
    assert!(outcome(vec![object.clone()], |_| state(Vec::new())).ends_with("does not run"));
    let mut other = object.clone();
    other["spec"]["containers"][0]["image"] = json!("web:2");
    assert!(outcome(vec![other], |_| web()).ends_with("web:2 is wanted"));
    let mut changed = map;
    changed["data"]["mode"] = json!("slow\n");
    assert!(outcome(vec![object, changed], |_| web()).ends_with("is not what the cloud has"));
    let mut fake = Fake::new(|_| web());
    fake.objects = vec![web_object()];
    fake.held.keys = [("pods/web object".to_owned(), "v1".to_owned())].into();
    let other = run(&scenario, 1, &mut fake, &mut |_| {});
    assert_eq!(
        other.verdicts[0].failure.as_deref(),
        Some("edge-1: down differs: of pods/web object the cloud has v1, the node nothing")
    );
    let cut = |_| NodeState {
        connected: false,
        ..web()
    };
    assert!(outcome(vec![], cut).ends_with("is not connected"));
}

fn web_object() -> Value {
    json!({"kind": "Pod", "metadata": {"namespace": "default", "name": "web", "uid": "1"},
        "spec": {"nodeName": "edge-1", "containers": [{"name": "main", "image": "web:1"}],
            "volumes": [{"name": "settings", "configMap": {"name": "settings"}}]}})
}

#[test]
fn steps_are_done_at_their_times_and_a_broken_promise_ends_the_run() {
    let scenario = parse(
        "nodes: 1\nmanifests: [web.yaml]\ntimeline:\n  - {at: 3s, cut: edge-1, for: 4s}\nexpect:\n  - {at: 20s, serves: true}\n",
    )
    .unwrap();
    let mut fake = Fake::new(|_| web());
    let outcome = run(&scenario, 1, &mut fake, &mut |_| {});
    assert!(outcome.passed());
    let times: Vec<u64> = fake.acts.iter().map(|(at, _)| at.as_secs()).collect();
    assert_eq!(times, [0, 3, 7]);
    let mut fake = Fake::new(|_| web());
    fake.breaks = Some(10 * SECOND);
    let outcome = run(&scenario, 1, &mut fake, &mut |_| {});
    assert!(!outcome.passed());
    assert_eq!(outcome.broken.unwrap().invariant, Some("AUTO-1"));
    assert_eq!(
        outcome.verdicts[0].failure.as_deref(),
        Some("the run ended before")
    );
}
