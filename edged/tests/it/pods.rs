//! The whole loop: what the API wants becomes processes, and what they do becomes status.

use std::path::Path;
use std::time::Duration;

use causeway_daemon::tasks::{self, Shutdown, Task};
use causeway_edged::config::{ApiAddress, EdgedConfig, RuntimeConfig};
use causeway_edged::runtime::Runtime;
use causeway_edged::{RunError, run_with};
use causeway_log::key::NodeName;
use serde_json::{Value, json};

use crate::fake_api::FakeApi;
use crate::harness::{Leftovers, eventually, is_alive, log_of, runtime, settings};

pub(crate) const SERVICE: &str = "echo up; exec sleep 1000";

pub(crate) struct Edged {
    shutdown: Shutdown,
    task: Task<Result<(), RunError>>,
}

impl Edged {
    pub(crate) fn start(api: &FakeApi, dir: &Path) -> Self {
        Self::start_with(api, dir, |_| {})
    }

    fn start_with(api: &FakeApi, dir: &Path, adjust: impl FnOnce(&mut EdgedConfig)) -> Self {
        Self::start_on(api, dir, std::sync::Arc::new(runtime(dir)), adjust)
    }

    pub(crate) fn start_on(
        api: &FakeApi,
        dir: &Path,
        runtime: std::sync::Arc<dyn Runtime>,
        adjust: impl FnOnce(&mut EdgedConfig),
    ) -> Self {
        let unused = ApiAddress::Url(String::new());
        let node = NodeName::new("edge-1").unwrap();
        let mut config = EdgedConfig::new(node, unused, dir.to_owned());
        config.runtime = RuntimeConfig::Process(settings());
        config.timing.backoff_first = Duration::from_millis(100);
        config.timing.backoff_max = Duration::from_millis(200);
        adjust(&mut config);
        let shutdown = Shutdown::new();
        let run = run_with(
            config,
            std::sync::Arc::new(api.clone()),
            runtime,
            shutdown.token(),
        );
        Self {
            task: tasks::spawn("edged", run),
            shutdown,
        }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.begin();
        self.task.join().await.unwrap().unwrap();
    }
}

pub(crate) fn pod(name: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "default", "name": name, "labels": {"app": name}},
        "spec": {
            "nodeName": "edge-1",
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {"name": "main", "image": "busybox", "command": ["/bin/sh", "-c", script]},
            ],
        },
    })
}

fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "default", "name": name},
        "data": {"word": value},
    })
}

pub(crate) fn status(api: &FakeApi, name: &str) -> Option<Value> {
    api.get("pods", "default", name)
        .map(|pod| pod["status"].clone())
}

pub(crate) fn state<'s>(status: &'s Value, which: &str) -> &'s Value {
    &status["containerStatuses"][0][which]
}

fn condition(status: &Value, kind: &str) -> bool {
    let all = status["conditions"].as_array();
    all.into_iter()
        .flatten()
        .any(|one| one["type"] == kind && one["status"] == "True")
}

pub(crate) async fn running(api: &FakeApi, name: &str) -> Value {
    api.until("running", |api| {
        status(api, name)
            .filter(|status| status["phase"] == "Running" && condition(status, "Ready"))
    })
    .await
}

/// The process of the first attempt of a pod's only container.
pub(crate) fn process(dir: &Path, api: &FakeApi, name: &str) -> i32 {
    let pod = api.get("pods", "default", name).unwrap();
    let id = pod["status"]["containerStatuses"][0]["containerID"]
        .as_str()
        .unwrap()
        .to_owned();
    let id = id.strip_prefix("process://").unwrap().to_owned();
    crate::harness::pid(dir, &causeway_edged::runtime::ContainerId(id))
}

#[tokio::test]
async fn a_pod_runs_reports_and_goes_when_it_is_deleted() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let edged = Edged::start(&api, dir.path());
    api.put("pods", pod("web", SERVICE));
    let status = running(&api, "web").await;
    assert!(
        state(&status, "state")["running"]["startedAt"].is_string(),
        "{status:#}"
    );
    assert_eq!(status["qosClass"], "BestEffort");
    assert_eq!(status["podIP"], "127.0.0.1");
    let process = process(dir.path(), &api, "web");
    let mut deleted = pod("web", SERVICE);
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    deleted["metadata"]["deletionGracePeriodSeconds"] = 1.into();
    api.put("pods", deleted);
    api.until("gone", |api| {
        api.get("pods", "default", "web").is_none().then_some(())
    })
    .await;
    assert!(!is_alive(process));
    let told = api.events();
    for reason in ["Created", "Started", "Killing"] {
        assert!(
            told.iter().any(|(told, _)| told == reason),
            "{reason} in {told:?}"
        );
    }
    edged.stop().await;
}

#[tokio::test]
async fn what_runs_is_adopted_by_the_next_edged_and_nothing_is_written_for_it() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let first = Edged::start(&api, dir.path());
    api.put("pods", pod("web", SERVICE));
    running(&api, "web").await;
    let before = process(dir.path(), &api, "web");
    first.stop().await;
    assert!(is_alive(before));
    let writes = api.writes();
    let second = Edged::start(&api, dir.path());
    // A second pod, to know that the first one has been looked at.
    api.put("pods", pod("other", SERVICE));
    running(&api, "other").await;
    assert_eq!(process(dir.path(), &api, "web"), before);
    assert_eq!(
        status(&api, "web").unwrap()["containerStatuses"][0]["restartCount"],
        0
    );
    let about_other = api.writes() - writes;
    assert!(about_other < 10, "{about_other} writes");
    second.stop().await;
}

#[tokio::test]
async fn a_container_waits_for_its_config_and_starts_when_it_appears() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let edged = Edged::start(&api, dir.path());
    let mut waiting = pod("web", "echo \"$word\"; exec sleep 1000");
    waiting["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "later"}}]);
    api.put("pods", waiting);
    let message = api
        .until("the reason", |api| {
            let status = status(api, "web")?;
            let waiting = &state(&status, "state")["waiting"];
            (waiting["reason"] == "CreateContainerConfigError").then(|| waiting["message"].clone())
        })
        .await;
    assert_eq!(message, "configmap \"later\" not found");
    api.put("configmaps", config_map("later", "sesame"));
    running(&api, "web").await;
    let uid = api.get("pods", "default", "web").unwrap()["metadata"]["uid"].clone();
    let file = format!("default_web_{}/main/0.log", uid.as_str().unwrap());
    let said = eventually("its word", || {
        Some(log_of(dir.path(), &file)).filter(|said| !said.is_empty())
    })
    .await;
    assert_eq!(said, ["stdout F sesame"]);
    edged.stop().await;
}

#[tokio::test]
async fn an_edited_config_map_reaches_the_files_of_a_running_container() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let edged = Edged::start(&api, dir.path());
    api.put("configmaps", config_map("settings", "one"));
    let mut object = pod("web", SERVICE);
    object["spec"]["volumes"] = json!([{"name": "config", "configMap": {"name": "settings"}}]);
    object["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "config", "mountPath": "/etc/app"}]);
    api.put("pods", object);
    running(&api, "web").await;
    let uid = api.get("pods", "default", "web").unwrap()["metadata"]["uid"].clone();
    let file = dir
        .path()
        .join("run")
        .join(uid.as_str().unwrap())
        .join("root/main/etc/app/word");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");
    api.put("configmaps", config_map("settings", "two"));
    eventually("the edit", || {
        (std::fs::read_to_string(&file).unwrap() == "two").then_some(())
    })
    .await;
    assert_eq!(
        status(&api, "web").unwrap()["containerStatuses"][0]["restartCount"],
        0
    );
    edged.stop().await;
}

#[tokio::test]
async fn a_container_that_keeps_failing_is_backed_off_and_says_so() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let edged = Edged::start(&api, dir.path());
    api.put("pods", pod("moody", "exit 3"));
    let status = api
        .until("a crash loop", |api| {
            let status = status(api, "moody")?;
            let restarts = status["containerStatuses"][0]["restartCount"].as_u64()?;
            let waiting = &state(&status, "state")["waiting"]["reason"];
            (restarts >= 3 && waiting == "CrashLoopBackOff").then_some(status)
        })
        .await;
    assert_eq!(state(&status, "lastState")["terminated"]["exitCode"], 3);
    assert_eq!(status["phase"], "Running");
    assert!(!condition(&status, "Ready"));
    api.until("the event", |api| {
        api.events()
            .iter()
            .any(|(reason, _)| reason == "BackOff")
            .then_some(())
    })
    .await;
    edged.stop().await;
}

#[tokio::test]
async fn a_pod_that_completes_stays_completed_even_when_its_records_are_lost() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let edged = Edged::start(&api, dir.path());
    let mut object = pod("job", "echo done");
    object["spec"]["restartPolicy"] = "OnFailure".into();
    api.put("pods", object);
    let done = |api: &FakeApi| status(api, "job").filter(|status| status["phase"] == "Succeeded");
    let status = api.until("success", done).await;
    assert_eq!(state(&status, "state")["terminated"]["reason"], "Completed");
    edged.stop().await;
    let fresh = tempfile::tempdir().unwrap();
    let _leftovers = Leftovers(fresh.path());
    let edged = Edged::start(&api, fresh.path());
    api.put("pods", pod("other", SERVICE));
    running(&api, "other").await;
    assert_eq!(done(&api), Some(status));
    edged.stop().await;
}

#[tokio::test]
async fn a_command_that_cannot_be_run_is_told_in_status_and_events() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let edged = Edged::start(&api, dir.path());
    let mut object = pod("web", "");
    object["spec"]["containers"][0]["command"] = json!(["/does/not/exist"]);
    api.put("pods", object);
    let ended = api
        .until("the failure", |api| {
            let status = status(api, "web")?;
            let last = state(&status, "lastState")["terminated"].clone();
            (last["reason"] == "StartError").then_some(last)
        })
        .await;
    assert_eq!(ended["exitCode"], 128);
    assert!(
        ended["message"]
            .as_str()
            .unwrap()
            .contains("/does/not/exist"),
        "{ended}"
    );
    api.until("the event", |api| {
        api.events()
            .iter()
            .any(|(reason, _)| reason == "Failed")
            .then_some(())
    })
    .await;
    edged.stop().await;
}

#[tokio::test]
async fn an_api_that_is_away_at_the_start_stops_nothing() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let first = Edged::start(&api, dir.path());
    api.put("pods", pod("web", SERVICE));
    running(&api, "web").await;
    let before = process(dir.path(), &api, "web");
    first.stop().await;
    api.shut(true);
    let second = Edged::start(&api, dir.path());
    assert!(is_alive(before));
    api.put("pods", pod("other", SERVICE));
    api.shut(false);
    running(&api, "other").await;
    assert!(is_alive(before));
    second.stop().await;
}

#[tokio::test]
async fn a_pod_the_api_no_longer_knows_is_stopped() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let edged = Edged::start(&api, dir.path());
    api.put("pods", pod("web", SERVICE));
    running(&api, "web").await;
    let process = process(dir.path(), &api, "web");
    api.forget("pods", "default", "web");
    eventually("its end", || (!is_alive(process)).then_some(())).await;
    edged.stop().await;
}

#[tokio::test]
async fn readiness_follows_the_probe() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let edged = Edged::start(&api, dir.path());
    let mut object = pod("web", SERVICE);
    object["spec"]["containers"][0]["readinessProbe"] = json!({
        "exec": {"command": ["/bin/sh", "-c", "test -e ready"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    });
    api.put("pods", object);
    api.until("unready", |api| {
        let unready = |status: &Value| status["phase"] == "Running" && !condition(status, "Ready");
        status(api, "web").filter(unready)
    })
    .await;
    let uid = api.get("pods", "default", "web").unwrap()["metadata"]["uid"].clone();
    let root = dir
        .path()
        .join("run")
        .join(uid.as_str().unwrap())
        .join("root/main");
    std::fs::write(root.join("ready"), "").unwrap();
    running(&api, "web").await;
    edged.stop().await;
}

#[tokio::test]
async fn the_node_registers_itself_and_says_that_pods_are_not_isolated() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let edged = Edged::start(&api, dir.path());
    let node = api
        .until("a ready node", |api| {
            let node = api.get("nodes", "", "edge-1")?;
            condition(&node["status"], "Ready").then_some(node)
        })
        .await;
    assert_eq!(
        node["metadata"]["labels"]["kubernetes.io/hostname"],
        "edge-1"
    );
    assert_eq!(
        node["metadata"]["labels"]["node-role.kubernetes.io/edge"],
        ""
    );
    let conditions = node["status"]["conditions"].as_array().unwrap();
    let isolated = conditions
        .iter()
        .find(|one| one["type"] == "causeway.dev/PodsIsolated");
    assert_eq!(isolated.unwrap()["status"], "False");
    assert!(
        node["status"]["capacity"]["memory"]
            .as_str()
            .unwrap()
            .ends_with("Ki")
    );
    edged.stop().await;
}

#[tokio::test]
async fn two_edgeds_do_not_share_a_directory() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let first = Edged::start(&api, dir.path());
    api.until("the first", |api| api.get("nodes", "", "edge-1"))
        .await;
    let second = Edged::start(&api, dir.path());
    let refused = second.task.join().await.unwrap().unwrap_err();
    assert!(matches!(refused, RunError::InUse { .. }), "{refused}");
    first.stop().await;
}

#[tokio::test]
async fn pods_end_with_edged_when_it_is_told_so() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let edged = Edged::start_with(&api, dir.path(), |config| config.stop_pods_on_exit = true);
    api.put("pods", pod("web", SERVICE));
    running(&api, "web").await;
    let process = process(dir.path(), &api, "web");
    edged.stop().await;
    assert!(!is_alive(process));
}

#[tokio::test]
async fn a_new_life_of_a_name_starts_after_the_end_of_the_old_one() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let edged = Edged::start(&api, dir.path());
    api.put("pods", pod("web", SERVICE));
    running(&api, "web").await;
    let first = process(dir.path(), &api, "web");
    api.forget("pods", "default", "web");
    api.put("pods", pod("web", SERVICE));
    running(&api, "web").await;
    let second = process(dir.path(), &api, "web");
    assert!(first != second && !is_alive(first) && is_alive(second));
    edged.stop().await;
}

#[tokio::test]
async fn a_failing_liveness_probe_restarts_the_container() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let edged = Edged::start(&api, dir.path());
    let mut object = pod("web", SERVICE);
    object["spec"]["containers"][0]["livenessProbe"] = json!({
        "exec": {"command": ["/bin/false"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    });
    api.put("pods", object);
    api.until("a restart", |api| {
        let status = status(api, "web")?;
        (status["containerStatuses"][0]["restartCount"].as_u64()? > 0).then_some(())
    })
    .await;
    let told = api.events();
    for reason in ["Unhealthy", "Killing"] {
        assert!(
            told.iter().any(|(told, _)| told == reason),
            "{reason} in {told:?}"
        );
    }
    edged.stop().await;
}
