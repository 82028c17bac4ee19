//! `causeway sim` from outside: what it prints, writes and ends with.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::world::*;

const GOOD: &str = "
name: a small one
nodes: [north]
manifests:
  - {apiVersion: v1, kind: Pod, metadata: {name: web, namespace: default},
     spec: {nodeName: north, containers: [{name: main, image: 'web:1', command: [/web]}]}}
timeline:
  - {at: 1m, cut: north, for: 1h}
expect:
  - {at: 30m, node: north, connected: false, runs: [{pod: web, image: 'web:1'}]}
  - {at: 1h1m, converged: 5m}
";

fn sim(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(CAUSEWAY);
    command.arg("sim").args(arguments).current_dir(dir);
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_scenario_is_checked_reported_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("good.yaml"), GOOD).unwrap();
    let bad = GOOD.replace("image: 'web:1'}]}\n  - {at", "image: 'web:2'}]}\n  - {at");
    std::fs::write(dir.path().join("bad.yaml"), bad).unwrap();

    let arguments = ["check", "good.yaml", "--html=out.html", "--junit=out.xml"];
    let good = sim(dir.path(), &arguments);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert!(
        stdout(&good).contains("3 passed, 0 failed"),
        "{}",
        stdout(&good)
    );
    let html = std::fs::read_to_string(dir.path().join("out.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("default/web"));
    let xml = std::fs::read_to_string(dir.path().join("out.xml")).unwrap();
    assert!(xml.contains("tests=\"3\" failures=\"0\""), "{xml}");

    let bad = sim(dir.path(), &["check", "bad.yaml"]);
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    assert!(
        stdout(&bad).contains("default/web runs web:1, not web:2"),
        "{}",
        stdout(&bad)
    );

    let one = sim(dir.path(), &["check", "good.yaml", "--json", "--seed=9"]);
    let two = sim(dir.path(), &["check", "good.yaml", "--json", "--seed=9"]);
    assert_eq!(
        one.stdout, two.stdout,
        "two processes, one seed, the same bytes"
    );
    let one: Value = serde_json::from_slice(&one.stdout).unwrap();
    assert_eq!(one["passed"], true);

    let trace = sim(dir.path(), &["trace", "good.yaml"]);
    let lines = stdout(&trace);
    assert!(lines.lines().count() > 10);
    assert!(
        lines.lines().all(|line| line.split('\t').count() >= 4),
        "{lines}"
    );
}

#[test]
fn mistakes_are_told_with_their_lines_and_a_code() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = GOOD
        .replace("cut: north", "cut: south")
        .replace("converged", "convergent");
    std::fs::write(dir.path().join("wrong.yaml"), wrong).unwrap();
    let wrong = sim(dir.path(), &["check", "wrong.yaml"]);
    assert_eq!(wrong.status.code(), Some(78), "{wrong:?}");
    assert!(
        stderr(&wrong).contains("wrong.yaml:8:19: expected a node"),
        "{}",
        stderr(&wrong)
    );
    assert!(
        stderr(&wrong).contains("unknown key `convergent`"),
        "{}",
        stderr(&wrong)
    );
    let none = sim(dir.path(), &["check", "none.yaml"]);
    assert_eq!(none.status.code(), Some(1));
    let seeds = sim(dir.path(), &["sweep", "--seeds=9..3"]);
    assert_eq!(seeds.status.code(), Some(64), "{seeds:?}");
}

#[test]
fn worlds_that_nobody_wrote_are_run_by_their_seeds() {
    let dir = tempfile::tempdir().unwrap();
    // Whether a world holds is for the sweep of the simulator's own tests to say.
    let one = sim(dir.path(), &["run", "5"]);
    assert!(stdout(&one).starts_with("seed 5: "), "{one:?}");
    assert_eq!(one.stdout, sim(dir.path(), &["run", "5"]).stdout);
    let some = sim(dir.path(), &["sweep", "--seeds=0..4", "--jobs=2"]);
    let told = stdout(&some);
    match some.status.code() {
        Some(0) => assert!(told.starts_with("4 seeds passed"), "{told}"),
        Some(1) => assert!(told.starts_with("FAILED seed ") && told.lines().count() == 1),
        _ => panic!("{some:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exported_history_is_replayed_and_holds_no_secret() {
    let mut world = World::start().await;
    let cloud = world.cloud.http();
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"},
        "stringData": {"word": "open-sesame"}});
    create(&cloud, secrets, &secret).await;
    let mut pod = pod("web", "edge-1", "while true; do sleep 1; done", &[]);
    pod["spec"]["containers"][0]["env"] = json!([{"name": "WORD",
        "valueFrom": {"secretKeyRef": {"name": "key", "key": "word"}}}]);
    create(&cloud, PODS, &pod).await;
    let local = world.edge().http();
    let path = format!("{PODS}/web");
    seen(&local, &path, "it runs", |pod| {
        pod["status"]["phase"] == "Running"
    })
    .await;
    world.converged().await;

    let file = world.scratch().join("edge-1.ndjson");
    let export = world.causeway(&["log", "edge-1", "--export", file.to_str().unwrap()]);
    assert_eq!(export.status.code(), Some(0), "{export:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.lines().count() > 3, "{text}");
    assert!(
        !text.contains("open-sesame") && !text.contains("b3Blbi1zZXNhbWU"),
        "{text}"
    );

    let replay = sim(world.scratch(), &["replay", "edge-1.ndjson", "--decisions"]);
    assert_eq!(replay.status.code(), Some(0), "{replay:?}");
    let told = stdout(&replay);
    assert!(told.contains("→ default/web: start "), "{told}");
    assert!(told.contains("in the end   default/web runs"), "{told}");
    let again = sim(world.scratch(), &["replay", "out.html"]);
    assert_eq!(again.status.code(), Some(1), "no such file: {again:?}");
    std::fs::write(world.scratch().join("no.ndjson"), "{}\n").unwrap();
    let wrong = sim(world.scratch(), &["replay", "no.ndjson"]);
    assert_eq!(wrong.status.code(), Some(78), "{wrong:?}");
}
