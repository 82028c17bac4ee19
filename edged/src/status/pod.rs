//! The status of a pod.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{condition, keep_foreign, time};
use crate::plan::{ObservedContainer, ObservedPod};
use crate::pod::{DesiredContainer, DesiredPod, NodeFacts, Problem, RestartPolicy};
use crate::runtime::{ContainerState, Exit, RuntimeInfo};

/// Everything the status of a pod is made of.
#[derive(Clone, Copy, Debug)]
pub struct PodView<'a> {
    /// The object, for what the desired pod leaves out.
    pub object: &'a Value,
    /// What it should be, or why it cannot be.
    pub desired: Result<&'a DesiredPod, &'a Problem>,
    /// What it is.
    pub observed: &'a ObservedPod,
    /// Containers that wait for their next start, and how long.
    pub backing_off: &'a BTreeMap<(String, String), Duration>,
    /// What went wrong last, by container; the empty name stands for the pod.
    pub failures: &'a BTreeMap<String, (String, String)>,
    /// The status as last said.
    pub previous: &'a Value,
    /// The node.
    pub node: &'a NodeFacts,
    /// The runtime.
    pub runtime: &'a RuntimeInfo,
    /// For what is new.
    pub now: Timestamp,
}

/// Says how a pod is.
#[must_use]
pub fn status(view: &PodView<'_>) -> Value {
    let pod = match view.desired {
        Ok(pod) => pod,
        Err(problem) => return refused(view, problem),
    };
    if pod.ended && view.observed.containers.is_empty() {
        return view.previous.clone();
    }
    let init_done = pod.init.iter().all(|container| is_past(view, container));
    let list = |containers: &[DesiredContainer], is_init: bool| -> Vec<Value> {
        let waits = !is_init && !init_done;
        containers
            .iter()
            .map(|container| container_status(view, pod, container, waits))
            .collect()
    };
    let (init, containers) = (list(&pod.init, true), list(&pod.containers, false));
    let phase = match view.previous["phase"].as_str() {
        Some(last) if pod.ended => last.to_owned(),
        _ => phase(pod, &init, &containers).to_owned(),
    };
    let mut status = base(view, &phase);
    status["conditions"] = conditions(view, &phase, init_done, &containers);
    status["containerStatuses"] = Value::Array(containers);
    if !init.is_empty() {
        status["initContainerStatuses"] = Value::Array(init);
    }
    status
}

/// A pod this node cannot run as it stands.
fn refused(view: &PodView<'_>, problem: &Problem) -> Value {
    let mut status = base(view, "Failed");
    status["reason"] = problem.reason.into();
    status["message"] = problem.message.as_str().into();
    status
}

fn base(view: &PodView<'_>, phase: &str) -> Value {
    let address = &view.node.address;
    let started = view.previous["startTime"]
        .as_str()
        .map_or_else(|| time(view.now), Into::into);
    json!({
        "phase": phase,
        "startTime": started,
        "hostIP": address,
        "hostIPs": [{"ip": address}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "qosClass": qos(view.object),
    })
}

/// Whether the pod may go on after an init container.
fn is_past(view: &PodView<'_>, container: &DesiredContainer) -> bool {
    let Some(newest) = view.observed.newest(&container.name) else {
        return false;
    };
    if container.sidecar {
        newest.runs() && newest.health.started
    } else {
        newest.exit().is_some_and(|exit| exit.code == 0)
    }
}

fn container_status(
    view: &PodView<'_>,
    pod: &DesiredPod,
    container: &DesiredContainer,
    waits_for_init: bool,
) -> Value {
    let newest = view.observed.newest(&container.name);
    let (state, last) = state(view, pod, container, waits_for_init, newest);
    let runs = newest.is_some_and(ObservedContainer::runs);
    let health = newest.map(|found| found.health.clone()).unwrap_or_default();
    let completed = newest
        .and_then(ObservedContainer::exit)
        .is_some_and(|exit| exit.code == 0);
    let is_init = pod.init.iter().any(|init| init.name == container.name);
    let ready = if is_init && !container.sidecar {
        completed
    } else {
        runs && health.ready
    };
    let mut status = json!({
        "name": container.name,
        "image": container.image,
        "imageID": newest.map_or("", |found| &found.container.image),
        "ready": ready,
        "started": runs && health.started,
        "restartCount": newest.map_or(0, |found| found.container.attempt),
        "state": state,
        "lastState": last.map_or_else(|| json!({}), |found| terminated(view, found)),
    });
    if let Some(found) = newest {
        status["containerID"] = container_id(view, found).into();
    }
    status
}

/// What a container does, and the attempt whose end is worth telling besides.
fn state<'v>(
    view: &PodView<'v>,
    pod: &DesiredPod,
    container: &DesiredContainer,
    waits_for_init: bool,
    newest: Option<&'v ObservedContainer>,
) -> (Value, Option<&'v ObservedContainer>) {
    let before = newest.and_then(|newest| {
        let attempt = newest.container.attempt.checked_sub(1)?;
        let same = |found: &&ObservedContainer| {
            found.container.name == container.name && found.container.attempt == attempt
        };
        view.observed.containers.iter().find(same)
    });
    let waiting = |reason: &str, message: &str| match message {
        "" => json!({"waiting": {"reason": reason}}),
        _ => json!({"waiting": {"reason": reason, "message": message}}),
    };
    match newest.map(|found| (found, &found.container.state)) {
        Some((_, ContainerState::Running { started })) => {
            (json!({"running": {"startedAt": time(*started)}}), before)
        }
        Some((found, ContainerState::Exited(_))) => {
            let key = (pod.uid.clone(), container.name.clone());
            match view.backing_off.get(&key) {
                Some(delay) => {
                    let message = back_off(pod, &container.name, *delay);
                    (waiting("CrashLoopBackOff", &message), Some(found))
                }
                None => match (view.failures.get(&container.name), &container.config) {
                    (Some((reason, message)), _) => (waiting(reason, message), Some(found)),
                    (None, Err(problem)) if pod.restart == RestartPolicy::Always => {
                        (waiting(problem.reason, &problem.message), Some(found))
                    }
                    (None, _) => (terminated(view, found), before),
                },
            }
        }
        Some((_, ContainerState::Created)) | None => {
            let state = if let Some((reason, message)) = view
                .failures
                .get(&container.name)
                .or_else(|| view.failures.get(""))
            {
                waiting(reason, message)
            } else if let Err(problem) = &pod.volumes {
                waiting(problem.reason, &problem.message)
            } else if waits_for_init {
                waiting("PodInitializing", "")
            } else if let Err(problem) = &container.config {
                waiting(problem.reason, &problem.message)
            } else {
                waiting("ContainerCreating", "")
            };
            (state, before)
        }
    }
}

/// How Kubernetes words it.
pub(crate) fn back_off(pod: &DesiredPod, container: &str, delay: Duration) -> String {
    let seconds = delay.as_secs();
    let length = match seconds {
        0 => format!("{}ms", delay.as_millis()),
        1..60 => format!("{seconds}s"),
        _ => format!("{}m{}s", seconds / 60, seconds % 60),
    };
    let DesiredPod {
        name,
        namespace,
        uid,
        ..
    } = pod;
    format!(
        "back-off {length} restarting failed container={container} pod={name}_{namespace}({uid})"
    )
}

fn terminated(view: &PodView<'_>, found: &ObservedContainer) -> Value {
    let Some(exit) = found.exit() else {
        return json!({});
    };
    let Exit {
        code,
        signal,
        reason,
        message,
        started,
        finished,
        ran: _,
    } = exit;
    let mut state = json!({
        "exitCode": code,
        "reason": reason,
        "startedAt": time(started.unwrap_or(*finished)),
        "finishedAt": time(*finished),
        "containerID": container_id(view, found),
    });
    if let Some(signal) = signal {
        state["signal"] = (*signal).into();
    }
    if !message.is_empty() {
        state["message"] = message.as_str().into();
    }
    json!({"terminated": state})
}

fn container_id(view: &PodView<'_>, found: &ObservedContainer) -> String {
    format!("{}://{}", view.runtime.name, found.container.id)
}

/// By the rules of the kubelet.
fn phase(pod: &DesiredPod, init: &[Value], containers: &[Value]) -> &'static str {
    let has = |status: &Value, state: &str| status["state"].get(state).is_some();
    let code = |status: &Value| status["state"]["terminated"]["exitCode"].as_i64();
    for (status, container) in init.iter().zip(&pod.init) {
        if container.sidecar {
            continue;
        }
        match code(status) {
            Some(0) => {}
            Some(_) if pod.restart == RestartPolicy::Never => return "Failed",
            _ if pod.deletion.is_some() && !has(status, "running") => return "Failed",
            _ => return "Pending",
        }
    }
    let (mut running, mut stopped, mut succeeded, mut waiting) = (0, 0, 0, 0);
    for status in containers {
        let ended_before = status["lastState"].get("terminated").is_some();
        if has(status, "running") {
            running += 1;
        } else if has(status, "terminated") || ended_before {
            stopped += 1;
            succeeded += i32::from(code(status) == Some(0));
        } else {
            waiting += 1;
        }
    }
    let all_ended = if stopped == succeeded {
        "Succeeded"
    } else {
        "Failed"
    };
    match pod.restart {
        _ if running == 0 && waiting == 0 && pod.deletion.is_some() => all_ended,
        _ if waiting > 0 => "Pending",
        _ if running > 0 => "Running",
        RestartPolicy::Always => "Running",
        RestartPolicy::Never => all_ended,
        RestartPolicy::OnFailure if stopped == succeeded => "Succeeded",
        RestartPolicy::OnFailure => "Running",
    }
}

fn conditions(view: &PodView<'_>, phase: &str, init_done: bool, containers: &[Value]) -> Value {
    let unready: Vec<&str> = containers
        .iter()
        .filter(|status| status["ready"] != true)
        .filter_map(|status| status["name"].as_str())
        .collect();
    let ready = unready.is_empty() && init_done;
    let completed = || Some(("PodCompleted", String::new()));
    let initialized = match phase {
        _ if init_done => None,
        "Succeeded" => completed(),
        _ => Some((
            "ContainersNotInitialized",
            "init containers have not completed".to_owned(),
        )),
    };
    let why_unready = || match phase {
        _ if ready => None,
        "Succeeded" => completed(),
        "Failed" => Some(("PodFailed", String::new())),
        _ => {
            let message = format!("containers with unready status: [{}]", unready.join(" "));
            Some(("ContainersNotReady", message))
        }
    };
    let one = |kind, status, because| condition(view.previous, kind, status, because, view.now);
    let own = vec![
        one("PodScheduled", true, None),
        one(
            "Initialized",
            init_done || phase == "Succeeded",
            initialized,
        ),
        one("ContainersReady", ready, why_unready()),
        one("Ready", ready, why_unready()),
    ];
    keep_foreign(view.previous, own)
}

/// Guaranteed when every container limits cpu and memory to what it requests, best effort when
/// none says anything.
fn qos(pod: &Value) -> &'static str {
    let mut any = false;
    let mut all = true;
    for field in ["initContainers", "containers"] {
        for container in pod["spec"][field].as_array().into_iter().flatten() {
            let resources = &container["resources"];
            let says = |kind: &str| ["cpu", "memory"].map(|what| resources[kind].get(what));
            let (requests, limits) = (says("requests"), says("limits"));
            any |= requests.iter().chain(&limits).any(Option::is_some);
            all &= requests
                .iter()
                .zip(&limits)
                .all(|(request, limit)| limit.is_some() && (request.is_none() || request == limit));
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
