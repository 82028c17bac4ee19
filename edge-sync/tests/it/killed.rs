//! The real process, killed at any moment.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use causeway_daemon::tasks::spawn;
use causeway_kube_api::client::{CONFIGMAPS, Client, ListOptions};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::within;

struct Process {
    child: Child,
    client: Client,
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-sync"));
    command.args([
        "--node",
        "edge-1",
        "--listen",
        "off",
        "--log-level",
        "warn",
        "--dir",
    ]);
    command.arg(dir).stdout(Stdio::null());
    command
}

impl Process {
    async fn start(dir: &Path) -> Self {
        let mut child = command(dir).spawn().unwrap();
        let client = Client::unix(dir.join("edge.sock"));
        let answers = async {
            while client.get_path("/causeway/v1/status").await.is_err() {
                assert_eq!(child.try_wait().unwrap(), None, "the edge did not start");
                tokio::task::yield_now().await;
            }
        };
        within("the start", answers).await;
        Self { child, client }
    }

    async fn names(&self) -> BTreeSet<String> {
        let all = ListOptions::default();
        let list = self
            .client
            .list_all(&CONFIGMAPS, "default", &all)
            .await
            .unwrap();
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        list.items.iter().map(name).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config_map(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "default" },
        "data": { "value": "x".repeat(2000) },
    })
}

#[tokio::test]
async fn nothing_answered_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut answered = BTreeSet::new();
    for round in 0..6 {
        let mut edge = Process::start(dir.path()).await;
        let found = edge.names().await;
        let lost: Vec<_> = answered.difference(&found).collect();
        assert!(lost.is_empty(), "round {round} lost {lost:?}");
        let (count, mut counted) = watch::channel(0);
        let client = edge.client.clone();
        let writing = spawn("writer", async move {
            let mut written = Vec::new();
            for number in 0.. {
                let name = format!("r{round}-{number}");
                let object = config_map(&name);
                if client
                    .create(&CONFIGMAPS, "default", &object)
                    .await
                    .is_err()
                {
                    break;
                }
                written.push(name);
                count.send_replace(written.len());
            }
            written
        });
        // The next write is on its way while the process dies.
        within(
            "some writes",
            counted.wait_for(|count| *count >= 5 + round * 7),
        )
        .await
        .unwrap();
        edge.child.kill().unwrap();
        answered.extend(within("the end of writing", writing.join()).await.unwrap());
    }
    let edge = Process::start(dir.path()).await;
    assert!(edge.names().await.is_superset(&answered));
}

#[tokio::test]
async fn a_signal_stops_the_process_in_good_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge = Process::start(dir.path()).await;
    let pid = rustix::process::Pid::from_child(&edge.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = tokio::task::spawn_blocking(move || edge.child.wait().unwrap());
    assert_eq!(within("the end", ended).await.unwrap().code(), Some(0));
}

fn exit(dir: &Path, args: &[&str]) -> (ExitStatus, String) {
    let mut command = command(dir);
    let output = command.args(args).stderr(Stdio::piped()).output().unwrap();
    (output.status, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn mistakes_have_their_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let (status, _) = exit(dir.path(), &["--no-such-flag"]);
    assert_eq!(status.code(), Some(64));
    let file = dir.path().join("edge.toml");
    std::fs::write(&file, "nod = 1\n[api]\nlisten = \"here\"\n").unwrap();
    let (status, told) = exit(dir.path(), &["--config", file.to_str().unwrap()]);
    assert_eq!(status.code(), Some(78));
    for mistake in ["nod: is not a known key", "api.listen: "] {
        assert!(told.contains(mistake), "{mistake:?} is missing in {told}");
    }
    let (status, _) = exit(dir.path(), &["--check-config"]);
    assert_eq!(status.code(), Some(0));
    let taken = dir.path().join("taken");
    std::fs::write(&taken, "").unwrap();
    let (status, told) = exit(&taken, &[]);
    assert_eq!(status.code(), Some(1));
    assert!(told.contains("cannot use the directory"), "{told}");
}
