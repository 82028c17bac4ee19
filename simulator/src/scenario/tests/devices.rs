//! Devices in scenarios: reports are read and repeated, and expectations of twins can fail.

use std::time::Duration;

use super::parse;
use crate::scenario::fake::{Fake, state};
use crate::scenario::{Action, TwinEnds, TwinSight, run};

fn mistakes(timeline: &str, expect: &str) -> Vec<(u64, String)> {
    let text = format!("nodes: 1\ntimeline:\n  - {timeline}\nexpect:\n  - {expect}\n");
    let mistakes = parse(&text).unwrap_err();
    let mistakes = mistakes.list().to_vec().into_iter();
    mistakes
        .map(|mistake| (mistake.place.line, mistake.what))
        .collect()
}

const FINE: &str = "{ at: 1m, serves: true }";

#[test]
fn a_report_is_a_step_and_may_be_repeated() {
    let text = format!(
        "nodes: 1\ntimeline:\n  - {{ at: 1m, report: oven, node: edge-1, every: 10s, for: 30s, \
         values: {{ temperature: [18, 19.5], door: open }}, state: online }}\nexpect:\n  - {FINE}\n"
    );
    let scenario = parse(&text).unwrap();
    let reports: Vec<(u64, String)> = scenario
        .steps
        .iter()
        .map(|step| {
            let Action::Report(report) = &step.action else {
                panic!("{:?}", step.action);
            };
            assert_eq!((&*report.namespace, &*report.name), ("default", "oven"));
            assert_eq!(report.values["door"], "open");
            assert_eq!(report.state.as_deref(), Some("online"));
            (step.at.as_secs(), report.values["temperature"].clone())
        })
        .collect();
    let expected = [(60, "18"), (70, "19.5"), (80, "18"), (90, "19.5")];
    assert_eq!(reports, expected.map(|(at, value)| (at, value.to_owned())));
    assert_eq!(scenario.steps[0].label, "report oven at edge-1");
}

#[test]
fn what_is_wrong_with_a_report_is_told_with_its_line() {
    for (timeline, what) in [
        (
            "{ at: 1m, report: oven, node: edge-1 }",
            "expected `values:`",
        ),
        (
            "{ at: 1m, report: oven, values: { a: 1 } }",
            "expected `node:`",
        ),
        (
            "{ at: 1m, report: oven, node: nowhere, values: { a: 1 } }",
            "nowhere",
        ),
        (
            "{ at: 1m, report: a/b/c, node: edge-1, values: { a: 1 } }",
            "a device such as",
        ),
        (
            "{ at: 1m, report: oven, node: edge-1, values: [1] }",
            "a mapping of properties",
        ),
        (
            "{ at: 1m, report: oven, node: edge-1, values: { a: {} } }",
            "expected a value",
        ),
        (
            "{ at: 1m, report: oven, node: edge-1, values: { a: 1 }, every: 1s }",
            "both `every:` and `for:`",
        ),
        (
            "{ at: 1m, report: oven, node: edge-1, values: { a: 1 }, every: 1ms, for: 1m }",
            "at least 10ms",
        ),
        (
            "{ at: 1m, report: oven, node: edge-1, values: { a: 1 }, every: 1s, for: 30d }",
            "at most 20000 reports",
        ),
        (
            "{ at: 1m, report: oven, node: edge-1, values: { a: 1 }, valves: 2 }",
            "unknown key `valves`",
        ),
    ] {
        let found = mistakes(timeline, FINE);
        assert!(
            found
                .iter()
                .any(|(line, told)| *line == 3 && told.contains(what)),
            "{timeline}: {found:?}"
        );
    }
}

#[test]
fn what_is_wrong_with_an_expectation_of_a_twin_is_told() {
    for (twins, what) in [
        ("twins: oven", "a list of devices"),
        ("twins: [{ desired: { a: 1 } }]", "expected `device:`"),
        (
            "twins: [{ device: oven, wanted: { a: 1 } }]",
            "unknown key `wanted`",
        ),
        ("twins: [{ device: oven, equal: maybe }]", "true or false"),
        (
            "twins: [{ device: oven, readings: { a: many } }]",
            "a whole number",
        ),
    ] {
        let found = mistakes("{ at: 1s, cut: edge-1 }", &format!("{{ at: 1m, {twins} }}"));
        assert!(
            found.iter().any(|(_, told)| told.contains(what)),
            "{twins}: {found:?}"
        );
    }
}

fn sight(desired: &str, reported: &str, digest: &str) -> TwinSight {
    let one = |value: &str| [("temperature".to_owned(), value.to_owned())].into();
    TwinSight {
        desired: one(desired),
        reported: one(reported),
        state: Some("online".to_owned()),
        digest: digest.to_owned(),
    }
}

fn failure(twins: &str, cloud: Option<TwinSight>, edge: Option<TwinSight>) -> String {
    let text = format!("nodes: 1\nexpect:\n  - {{ at: 5s, twins: [{twins}] }}\n");
    let scenario = parse(&text).unwrap();
    let mut fake = Fake::new(|_: Duration| state(Vec::new()));
    fake.twin = Some(TwinEnds { cloud, edge });
    fake.readings.insert("temperature".to_owned(), 7);
    let outcome = run(&scenario, 1, &mut fake, &mut |_| {});
    outcome.verdicts[0].failure.clone().unwrap_or_default()
}

#[test]
fn a_twin_is_compared_side_by_side() {
    let here = || Some(sight("200", "180", "aa"));
    for (claim, told) in [
        ("oven", ""),
        ("{ device: oven, desired: { temperature: 200 } }", ""),
        (
            "{ device: oven, reported: { temperature: 180 }, state: online }",
            "",
        ),
        ("{ device: oven, readings: { temperature: 7 } }", ""),
        (
            "{ device: oven, readings: { temperature: 8 } }",
            "the cloud has 7 readings of temperature, not 8",
        ),
        (
            "{ device: oven, desired: { temperature: 190 } }",
            "desired temperature is `200`, not `190`",
        ),
        (
            "{ device: oven, reported: { door: open } }",
            "reported door is nothing, not `open`",
        ),
        (
            "{ device: oven, state: offline }",
            "its state is `online`, not `offline`",
        ),
        ("{ device: oven, equal: false }", "both ends have the same"),
        ("fridge", "it has no device default/fridge"),
    ] {
        let found = failure(claim, here(), here());
        assert!(
            found.contains(told) && found.is_empty() == told.is_empty(),
            "{claim}: {found}"
        );
    }
    let found = failure("oven", Some(sight("200", "180", "bb")), here());
    assert!(
        found.contains("bb at the cloud and aa at the node"),
        "{found}"
    );
    assert!(failure("oven", None, here()).contains("none at the cloud"));
    assert_eq!(failure("{ device: oven, equal: false }", None, here()), "");
}
