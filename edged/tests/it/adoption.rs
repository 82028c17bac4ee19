//! Containers outlive edged, and nothing is started twice or mistaken for another.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use causeway_edged::runtime::{ContainerState, Runtime, Whose};

use crate::harness::{
    Leftovers, container_dir, eventually, exit, find, is_alive, launch, log, pid, runtime, script,
};

/// Set for the copy of this test binary that is to be killed.
const CHILD_DIR: &str = "CAUSEWAY_TEST_CHILD_DIR";

/// Prints each word once, then waits to be stopped.
const SERVICE: &str = "trap 'exit 5' TERM; echo up; while true; do sleep 60 & wait $!; done";

/// No test of its own: [`a_container_survives_kill_9_of_edged`] runs it in a process it kills.
#[tokio::test]
async fn child_that_starts_a_container() {
    let Ok(dir) = std::env::var(CHILD_DIR) else {
        return;
    };
    let runtime = runtime(dir.as_ref());
    launch(&runtime, &script(SERVICE)).await;
    println!("\nlaunched");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_container_survives_kill_9_of_edged() {
    let dir = tempfile::tempdir().unwrap();
    let _leftovers = Leftovers(dir.path());
    let mut edged = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "adoption::child_that_starts_a_container",
            "--nocapture",
        ])
        .env(CHILD_DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(edged.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "launched"));
    edged.kill().unwrap();
    edged.wait().unwrap();

    let runtime = runtime(dir.path());
    let found = runtime.list_containers(Whose::All).await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(
        matches!(found[0].state, ContainerState::Running { .. }),
        "{found:?}"
    );
    assert_eq!((found[0].pod.as_str(), found[0].spec_hash), ("u1", 7));
    let process = pid(dir.path(), &found[0].id);
    assert!(is_alive(process));

    // Whoever does not know better starts it again: nothing happens.
    let id = launch(&runtime, &script(SERVICE)).await;
    assert_eq!(pid(dir.path(), &id), process);
    eventually("its output", || {
        (!log(dir.path(), "u1", 0).is_empty()).then_some(())
    })
    .await;
    assert_eq!(log(dir.path(), "u1", 0), ["stdout F up"]);

    // It can be stopped, and its exit code is known, though it is no child of ours.
    runtime
        .stop_container(&id, Duration::from_secs(20))
        .await
        .unwrap();
    assert_eq!(exit(&runtime, &id).await.code, 5);
    assert!(!is_alive(process));
}

#[tokio::test]
async fn an_end_that_nobody_watched_is_found_with_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let first = runtime(dir.path());
    let id = launch(&first, &script("read line < gate; exit 6")).await;
    drop(first);
    let gate = dir.path().join("run/u1/root/main/gate");
    let state = container_dir(dir.path(), &id).join("state.json");
    // The shell found no gate and went on: its end is written down without any edged.
    assert!(!gate.try_exists().unwrap());
    eventually("the end", || {
        std::fs::read_to_string(&state)
            .unwrap()
            .contains("exited")
            .then_some(())
    })
    .await;
    let second = runtime(dir.path());
    assert_eq!(exit(&second, &id).await.code, 6);
}

#[tokio::test]
async fn an_adopted_container_that_ends_is_announced() {
    let dir = tempfile::tempdir().unwrap();
    let _leftovers = Leftovers(dir.path());
    let first = runtime(dir.path());
    let id = launch(&first, &script("exec sleep 1000")).await;
    drop(first);
    let second = runtime(dir.path());
    assert!(matches!(
        find(&second, &id).await.unwrap().state,
        ContainerState::Running { .. }
    ));
    let process = rustix::process::Pid::from_raw(pid(dir.path(), &id)).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    let ended = exit(&second, &id).await;
    assert_eq!((ended.code, ended.signal), (137, Some(9)));
}

#[tokio::test]
async fn a_container_whose_shim_was_killed_is_ended_and_its_end_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let _leftovers = Leftovers(dir.path());
    let runtime = runtime(dir.path());
    let id = launch(&runtime, &script("sleep 1000 & exec sleep 1000")).await;
    let process = pid(dir.path(), &id);
    let lock = std::fs::read_to_string(container_dir(dir.path(), &id).join("lock")).unwrap();
    let shim = rustix::process::Pid::from_raw(lock.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    let ended = exit(&runtime, &id).await;
    assert_eq!(
        (ended.code, ended.reason.as_str()),
        (137, "ContainerStatusUnknown")
    );
    assert_eq!(ended.ran, None);
    eventually("its processes are gone", || {
        (!is_alive(process)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_container_ends_when_its_directory_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path());
    // It speaks, so that its shim wakes up soon.
    let chatty = "while true; do echo here; sleep 0.1; done";
    let id = launch(&runtime, &script(chatty)).await;
    let process = pid(dir.path(), &id);
    assert!(is_alive(process));
    std::fs::remove_dir_all(container_dir(dir.path(), &id)).unwrap();
    eventually("its processes are gone", || {
        (!is_alive(process)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_process_that_got_the_id_of_a_container_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path());
    let id = launch(&runtime, &script("exit 0")).await;
    exit(&runtime, &id).await;
    // As after a power cut: the file says it runs, its id belongs to someone else by now.
    let mut innocent = Command::new("sleep").arg("1000").spawn().unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let state = serde_json::json!({
        "phase": "running",
        "pid": innocent.id(),
        "start_ticks": 1,
        "boot": boot.trim(),
        "started": "2026-01-01T00:00:00Z",
    });
    let file = container_dir(dir.path(), &id).join("state.json");
    std::fs::write(file, state.to_string()).unwrap();
    let ended = exit(&runtime, &id).await;
    assert_eq!(ended.reason, "ContainerStatusUnknown");
    assert!(is_alive(i32::try_from(innocent.id()).unwrap()));
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}

#[tokio::test]
async fn a_torn_state_file_is_an_unknown_end_not_a_second_start() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(dir.path());
    let id = launch(&runtime, &script("echo once")).await;
    exit(&runtime, &id).await;
    std::fs::write(container_dir(dir.path(), &id).join("state.json"), "").unwrap();
    runtime.start_container(&id).await.unwrap();
    assert_eq!(exit(&runtime, &id).await.reason, "ContainerStatusUnknown");
    assert_eq!(log(dir.path(), "u1", 0), ["stdout F once"]);
}
