//! Reports of one small run that has a bit of everything.

use std::time::Duration;

use super::*;
use crate::scenario::{NoFiles, Scenario, fake, run};

const FILE: &str = "
name: a <small> \"run\" & more
nodes: [north]
timeline:
  - {at: 1h, cut: north, for: 30d}
expect:
  - {at: 10s, runs: [web]}
  - {at: 2h, runs: [{pod: web, image: 'web:2'}]}
  - {at: 30d, within: 2h, runs: [{pod: web, image: 'web:2'}]}
";

fn outcome() -> Outcome {
    let scenario = Scenario::parse("test.yaml", FILE, &NoFiles).unwrap();
    let mut system = fake::Fake::new(|now| {
        let connected = now < Duration::from_secs(3_600) || now > Duration::from_secs(2_595_600);
        let pod = if now > Duration::from_secs(2_595_700) {
            fake::pod("web", "2", "web:2", 0)
        } else {
            fake::pod(
                "web",
                "1",
                "web:1",
                u32::from(now > Duration::from_secs(7_000)),
            )
        };
        let mut state = fake::state(vec![pod]);
        state.connected = connected;
        state
    });
    run(&scenario, 1, &mut system, &mut |_| {})
}

#[test]
fn the_text_tells_what_happened_and_what_was_expected() {
    let text = text(&outcome(), 8);
    for part in [
        "▼",
        "cut north",
        "heal north",
        "north",
        "connection lost",
        "default/web runs web:1",
        "default/web started again (1)",
        "default/web replaced, runs web:2",
        "✓ line 7",
        "✗ line 8",
        "default/web runs web:1, not web:2",
        "2 passed, 1 failed",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() < 140),
        "{text}"
    );
}

#[test]
fn the_picture_is_one_file_with_everything_escaped() {
    let html = html(&outcome());
    assert!(html.contains("a &lt;small&gt; &quot;run&quot; &amp; more"));
    for forbidden in [
        "<script", "http:", "https:", "src=", "@import", "url(", "NaN", "inf",
    ] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    for tag in ["svg", "g", "table", "tr", "details", "text"] {
        let open =
            html.matches(&format!("<{tag} ")).count() + html.matches(&format!("<{tag}>")).count();
        assert_eq!(open, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn junit_has_a_case_an_expectation() {
    let xml = junit(&outcome(), "a&b.yaml");
    assert!(
        xml.contains("tests=\"3\" failures=\"1\" errors=\"0\""),
        "{xml}"
    );
    assert!(
        xml.contains("line=\"8\"") && xml.contains("a&amp;b.yaml"),
        "{xml}"
    );
    assert_eq!(xml.matches("<failure ").count(), 1);
}

#[test]
fn json_has_the_verdicts_and_the_nodes() {
    let value = json(&outcome());
    assert_eq!(value["passed"], false);
    assert_eq!(value["expectations"][1]["line"], 8);
    assert_eq!(
        value["nodes"][0]["pods"]["default/web"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert_eq!(value["nodes"][0]["connected"].as_array().unwrap().len(), 2);
}
