//! What every test here needs.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

use causeway_edged::config::ProcessConfig;
use causeway_edged::runtime::process::ProcessRuntime;
use causeway_edged::runtime::{
    Container, ContainerConfig, ContainerId, ContainerState, Exit, RunAs, Runtime, SandboxConfig,
    SandboxId, Whose,
};

/// Longer than anything here takes on a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn settings() -> ProcessConfig {
    ProcessConfig {
        shim: vec![env!("CARGO_BIN_EXE_edged").to_owned(), "shim".to_owned()],
        ..ProcessConfig::default()
    }
}

pub(crate) fn runtime(dir: &Path) -> ProcessRuntime {
    ProcessRuntime::new(dir, settings()).unwrap()
}

pub(crate) fn sandbox(uid: &str) -> SandboxConfig {
    SandboxConfig {
        uid: uid.to_owned(),
        namespace: "default".to_owned(),
        name: "web".to_owned(),
        grace: Duration::from_secs(1),
        labels: BTreeMap::new(),
    }
}

/// A container that runs a shell script.
pub(crate) fn script(text: &str) -> ContainerConfig {
    ContainerConfig {
        name: "main".to_owned(),
        attempt: 0,
        spec_hash: 7,
        image: "busybox".to_owned(),
        command: vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()],
        args: vec![],
        env: vec![],
        working_dir: None,
        mounts: vec![],
        run_as: RunAs::default(),
    }
}

pub(crate) async fn launch(runtime: &dyn Runtime, config: &ContainerConfig) -> ContainerId {
    let sandbox = runtime.run_sandbox(&sandbox("u1")).await.unwrap();
    let id = runtime.create_container(&sandbox, config).await.unwrap();
    runtime.start_container(&id).await.unwrap();
    id
}

pub(crate) async fn find(runtime: &dyn Runtime, id: &ContainerId) -> Option<Container> {
    runtime
        .list_containers(Whose::All)
        .await
        .unwrap()
        .into_iter()
        .find(|found| found.id == *id)
}

/// Waits for the container's end as announced by the runtime.
pub(crate) async fn exit(runtime: &dyn Runtime, id: &ContainerId) -> Exit {
    let mut changes = runtime.changes();
    let ended = async {
        loop {
            changes.mark_unchanged();
            if let ContainerState::Exited(exit) = find(runtime, id).await.unwrap().state {
                return exit;
            }
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(DEADLINE, ended)
        .await
        .expect("the container ends in time")
}

/// Waits until `look` finds something. For what nobody announces: files, other processes.
pub(crate) async fn eventually<T>(what: impl Debug, mut look: impl FnMut() -> Option<T>) -> T {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let found = async {
        loop {
            looks.tick().await;
            if let Some(found) = look() {
                return found;
            }
        }
    };
    match tokio::time::timeout(DEADLINE, found).await {
        Ok(found) => found,
        Err(_) => panic!("never came: {what:?}"),
    }
}

/// What a container said, without times.
pub(crate) fn log(dir: &Path, uid: &str, attempt: u32) -> Vec<String> {
    log_of(dir, &format!("default_web_{uid}/main/{attempt}.log"))
}

pub(crate) fn log_of(dir: &Path, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("pods").join(file)).unwrap_or_default();
    text.lines()
        .map(|line| line.split_once(' ').unwrap().1.to_owned())
        .collect()
}

/// The id of the process a container runs as, from its state file.
pub(crate) fn pid(dir: &Path, id: &ContainerId) -> i32 {
    let text = std::fs::read(container_dir(dir, id).join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&text).unwrap();
    i32::try_from(state["pid"].as_i64().unwrap()).unwrap()
}

pub(crate) fn container_dir(dir: &Path, id: &ContainerId) -> PathBuf {
    let (uid, attempt) = id.0.split_once('/').unwrap();
    dir.join("run").join(uid).join("containers").join(attempt)
}

/// Whether a process runs (its remains do not count).
pub(crate) fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !matches!(stat.rsplit_once(") ").unwrap().1.as_bytes()[0], b'Z' | b'X'))
}

/// Ends what a test may have left behind.
pub(crate) struct Leftovers<'a>(pub(crate) &'a Path);

impl Drop for Leftovers<'_> {
    fn drop(&mut self) {
        let mark = self.0.to_string_lossy().into_owned();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|pid| pid.parse::<i32>().ok())
            else {
                continue;
            };
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if String::from_utf8_lossy(&environment).contains(&format!("POD_ROOT={mark}")) {
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

pub(crate) fn sandbox_id() -> SandboxId {
    SandboxId("u1".to_owned())
}
