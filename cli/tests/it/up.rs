//! `causeway up`, as a new user runs it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use causeway_simulator::process::{Process, Program};
use causeway_simulator::wait::eventually;
use serde_json::Value;

use crate::world::{CAUSEWAY, PATIENCE, free_address, kill_all_below, processes_below};

pub(crate) fn causeway(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(CAUSEWAY)
        .args(arguments)
        .env("CAUSEWAY_DIR", dir)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub(crate) fn start(dir: &Path, more: &[&str]) -> Process {
    let mut arguments = vec!["up".to_owned(), format!("--dir={}", dir.display())];
    for listen in ["api", "sync", "edge"] {
        arguments.push(format!("--{listen}-listen={}", free_address()));
    }
    arguments.extend(more.iter().map(ToString::to_string));
    // Each start has a log of its own: what an earlier one said must not count.
    let log = dir.with_extension(format!("{}.log", free_address().port()));
    let program = Program {
        executable: CAUSEWAY.into(),
        arguments,
        environment: Vec::new(),
        log,
    };
    let mut up = Process::new(program);
    up.start().unwrap();
    up
}

/// Waits until it has told its story.
pub(crate) async fn told(up: &mut Process) {
    let told = eventually("`up` runs everything", PATIENCE, async || {
        match up.ended() {
            Ok(None) if up.log_tail(1000).contains("Ctrl-C stops everything.") => Ok(()),
            Ok(None) => Err(up.log_tail(5)),
            ended => panic!("{ended:?}: {}", up.log_tail(1000)),
        }
    });
    told.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_runs_the_example_obeys_and_resumes() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("road");
    let mut up = start(&dir, &[]);
    told(&mut up).await;

    let second = causeway(&dir, &["up"]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("is in use by process"), "{said}");

    for arguments in [
        &["link", "cut", "edge-1"][..],
        &["status"],
        &["node", "restart", "edge-1"],
        &["link", "heal", "edge-1"],
        &["digest", "edge-1", "--wait=60s"],
        &["log", "edge-1"],
        &["get", "pods", "--node=edge-1", "-n", "hello"],
    ] {
        let output = causeway(&dir, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    let status = causeway(&dir, &["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(
        status["up"]["nodes"][0]["link"]["state"], "whole",
        "{status}"
    );

    // A node that is down when it ends has pods too.
    let output = causeway(&dir, &["node", "kill", "edge-1"]);
    assert!(output.status.success(), "{output:?}");
    let ended = up.terminate(PATIENCE).await.unwrap();
    assert!(
        ended.is_some_and(|status| status.success()),
        "{ended:?}: {}",
        up.log_tail(50)
    );
    assert_eq!(
        processes_below(&dir),
        Vec::<i32>::new(),
        "nothing is left running"
    );
    assert!(!dir.join("up.json").is_file(), "nothing claims to run");

    // The same directory again: everything is there already.
    let mut up = start(&dir, &[]);
    told(&mut up).await;
    let said = up.log_tail(1000);
    assert!(said.contains("0 created, 0 changed, 7 unchanged"), "{said}");
    let _ = up.terminate(PATIENCE).await.unwrap();
    kill_all_below(scratch.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_do_not_outlive_an_up_that_is_killed() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("road");
    let mut up = start(&dir, &["--no-example"]);
    told(&mut up).await;
    let status = causeway(&dir, &["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let pids = [
        &status["up"]["cloud"]["pid"],
        &status["up"]["nodes"][0]["pid"],
    ];
    let pids = pids.map(|pid| u32::try_from(pid.as_u64().unwrap()).unwrap());
    up.kill().await.unwrap();
    let gone = eventually("the children end", PATIENCE, async || {
        let alive: Vec<_> = pids
            .iter()
            .filter(|pid| crate::world::is_alive(**pid))
            .collect();
        if alive.is_empty() {
            Ok(())
        } else {
            Err(format!("{alive:?} live"))
        }
    });
    gone.await.unwrap();
    // What it left behind does not stop the next one.
    let mut up = start(&dir, &["--no-example"]);
    told(&mut up).await;
    let _ = up.terminate(PATIENCE).await.unwrap();
    kill_all_below(scratch.path());
}

#[test]
fn an_address_in_use_is_said_so() {
    let scratch = tempfile::tempdir().unwrap();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("--api-listen={}", held.local_addr().unwrap());
    let output = causeway(&scratch.path().join("road"), &["up", &listen]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is in use"), "{said}");
}
