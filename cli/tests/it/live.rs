//! `causeway sim live`: scenarios on real daemons, from outside.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use causeway_simulator::process::{Process, Program};
use serde_json::Value;

use crate::world::*;

fn live(arguments: &[&str]) -> Output {
    Command::new(CAUSEWAY)
        .args(["sim", "live"])
        .args(arguments)
        .output()
        .unwrap()
}

fn example(name: &str) -> String {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/scenarios");
    examples.join(name).to_str().unwrap().to_owned()
}

/// Runs an example and expects it to go as it says, leaving nothing behind.
fn passes(name: &str) -> Value {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("run");
    let place = format!("--dir={}", dir.display());
    let output = live(&[&example(name), "--json", &place]);
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert_eq!(output.status.code(), Some(0), "{said}\n{report:#}");
    assert_eq!(processes_below(&dir), Vec::<i32>::new());
    assert!(!dir.try_exists().unwrap(), "a run that passes is removed");
    report
}

#[test]
fn a_node_that_reboots_while_it_is_cut_off_runs_on_from_its_disk() {
    let report = passes("reboot-while-cut.yaml");
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 4, "{steps:?}");
    let live = &report["live"];
    assert!(
        !live["shortened"].as_array().unwrap().is_empty(),
        "three hours were shortened: {live}"
    );
    // The reboots were real: other processes run.
    let lives = report["nodes"][0]["pods"]["station/sampler"]
        .as_array()
        .unwrap();
    assert_eq!(lives.last().unwrap()["restarts"], 2, "{lives:?}");
}

#[test]
fn a_device_loses_no_reading_in_a_cut() {
    passes("devices-short.yaml");
}

#[test]
fn a_wiped_node_learns_anew_what_to_run() {
    passes("wiped-disk.yaml");
}

#[test]
fn what_real_daemons_cannot_do_is_refused_with_its_line() {
    let clock = live(&[&example("wrong-clock.yaml")]);
    assert_eq!(clock.status.code(), Some(78), "{clock:?}");
    let said = String::from_utf8_lossy(&clock.stderr).into_owned();
    assert!(said.contains("wrong-clock.yaml:8:"), "{said}");
    let storm = live(&[&example("storm.yaml")]);
    let said = String::from_utf8_lossy(&storm.stderr).into_owned();
    assert!(said.contains("at most 32 nodes"), "{said}");
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("something"), "").unwrap();
    let place = format!("--dir={}", scratch.path().display());
    let full = live(&[&example("reboot-while-cut.yaml"), &place]);
    assert_eq!(full.status.code(), Some(64), "{full:?}");
}

/// A file whose expectations fail, or are still open when it is interrupted.
fn scenario(dir: &Path, expect: &str) -> PathBuf {
    let file = dir.join("scenario.yaml");
    let text = format!(
        "nodes: [north]
manifests:
  - {{apiVersion: v1, kind: Pod, metadata: {{name: web, namespace: default}},
     spec: {{nodeName: north, containers: [{{name: main, image: 'web:1', command: [/web]}}]}}}}
expect:
  - {{{expect}}}
"
    );
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_run_that_fails_says_why_and_keeps_its_logs() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("run");
    let file = scenario(
        scratch.path(),
        "at: 20s, runs: [{pod: web, image: 'web:2'}]",
    );
    let place = format!("--dir={}", dir.display());
    let failed = live(&[file.to_str().unwrap(), &place]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let told = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(told.contains("default/web runs web:1, not web:2"), "{told}");
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(
        said.contains(&*dir.join("logs").to_string_lossy()),
        "{said}"
    );
    for log in ["cloud", "north-edge-sync", "north-edged"] {
        let log = dir.join("logs").join(format!("{log}.log"));
        assert!(log.metadata().unwrap().len() > 0, "{}", log.display());
    }
    assert_eq!(processes_below(&dir), Vec::<i32>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_run_ends_everything_and_reports() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("run");
    let file = scenario(scratch.path(), "at: 0s, within: 1h, runs: []");
    let mut run = Process::new(Program {
        executable: CAUSEWAY.into(),
        arguments: ["sim", "live"]
            .map(str::to_owned)
            .into_iter()
            .chain([
                file.display().to_string(),
                format!("--dir={}", dir.display()),
            ])
            .collect(),
        environment: Vec::new(),
        log: scratch.path().join("log"),
    });
    run.start().unwrap();
    let containers = dir.join("north/edged/run");
    eventually("the pod runs", async || {
        let pods = std::fs::read_dir(&containers).map_err(|error| error.to_string())?;
        match (pods.count(), processes_below(&dir).len()) {
            (1, 5..) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await;
    let status = run.terminate(PATIENCE).await.unwrap();
    assert_eq!(status.and_then(|status| status.code()), Some(1));
    let told = run.log_tail(50);
    assert!(told.contains("stopped: interrupted"), "{told}");
    assert_eq!(processes_below(&dir), Vec::<i32>::new());
}
