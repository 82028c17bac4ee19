//! What kubectl tells of a pod in one line.

use causeway_log::WallTime;
use serde_json::Value;

use super::age;

/// A pod in one line.
pub(super) struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    /// Seconds since the Unix epoch.
    last_restart: Option<i64>,
}

/// `1/2`: containers that are ready, of all.
pub(super) fn ready(pod: &Value, _: WallTime) -> String {
    let summary = Summary::of(pod);
    format!("{}/{}", summary.ready, summary.total)
}

/// `Running`, `CrashLoopBackOff`, `Init:0/1`, `Terminating`, …
pub(super) fn status(pod: &Value, _: WallTime) -> String {
    Summary::of(pod).reason
}

/// `3 (2m ago)`.
pub(super) fn restarts(pod: &Value, now: WallTime) -> String {
    let summary = Summary::of(pod);
    match summary.last_restart {
        Some(then) if summary.restarts > 0 => {
            let ago = age::human(age::seconds(now).saturating_sub(then));
            format!("{} ({ago} ago)", summary.restarts)
        }
        _ => summary.restarts.to_string(),
    }
}

/// `1/2`: readiness gates that are open, of all.
pub(super) fn readiness_gates(pod: &Value, _: WallTime) -> String {
    let gates = list(&pod["spec"], "readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open = gates
        .iter()
        .filter(|gate| condition(pod, gate["conditionType"].as_str().unwrap_or("")));
    format!("{}/{}", open.count(), gates.len())
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn condition(pod: &Value, name: &str) -> bool {
    let conditions = list(&pod["status"], "conditions").iter();
    conditions
        .filter(|it| it["type"] == name)
        .any(|it| it["status"] == "True")
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}

/// How a container ended, when it gives no reason of its own.
fn ending(terminated: &Value) -> String {
    match (
        text(terminated, "reason"),
        terminated["signal"].as_i64().unwrap_or(0),
    ) {
        ("", 0) => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let status = &pod["status"];
        let reason = match (text(status, "reason"), text(status, "phase")) {
            ("", "") => "Pending",
            ("", phase) => phase,
            (reason, _) => reason,
        };
        let sidecars = list(&pod["spec"], "initContainers").iter();
        let sidecars = sidecars
            .filter(|it| it["restartPolicy"] == "Always")
            .count();
        let mut summary = Self {
            ready: 0,
            total: list(&pod["spec"], "containers").len() + sidecars,
            reason: reason.to_owned(),
            restarts: 0,
            last_restart: None,
        };
        let initializing = summary.add_init_containers(pod);
        if !initializing || condition(pod, "Initialized") {
            summary.add_containers(pod);
        }
        if pod["metadata"]["deletionTimestamp"].is_string() {
            if text(status, "reason") == "NodeLost" {
                "Unknown".clone_into(&mut summary.reason);
            } else if !matches!(text(status, "phase"), "Succeeded" | "Failed") {
                "Terminating".clone_into(&mut summary.reason);
            }
        }
        summary
    }

    fn count_restarts(&mut self, container: &Value) {
        self.restarts += container["restartCount"].as_i64().unwrap_or(0);
        let finished = text(&container["lastState"]["terminated"], "finishedAt");
        self.last_restart = self.last_restart.max(age::seconds_of(finished));
    }

    /// Returns whether one of them has not done its work yet.
    fn add_init_containers(&mut self, pod: &Value) -> bool {
        let specs = list(&pod["spec"], "initContainers");
        let mut sidecars = Vec::new();
        let mut initializing = false;
        for (index, container) in list(&pod["status"], "initContainerStatuses")
            .iter()
            .enumerate()
        {
            self.count_restarts(container);
            let spec = specs.iter().find(|spec| spec["name"] == container["name"]);
            let sidecar = spec.is_some_and(|spec| spec["restartPolicy"] == "Always");
            if sidecar {
                sidecars.push(container);
            }
            let (terminated, waiting) = (
                &container["state"]["terminated"],
                text(&container["state"]["waiting"], "reason"),
            );
            if terminated["exitCode"] == 0 {
                continue;
            }
            if sidecar && container["started"] == true {
                self.ready += usize::from(container["ready"] == true);
                continue;
            }
            self.reason = match (terminated.is_object(), waiting) {
                (true, _) => format!("Init:{}", ending(terminated)),
                (false, "" | "PodInitializing") => format!("Init:{index}/{}", specs.len()),
                (false, reason) => format!("Init:{reason}"),
            };
            initializing = true;
            break;
        }
        if !initializing || condition(pod, "Initialized") {
            // What is over no longer counts.
            (self.restarts, self.last_restart) = (0, None);
            sidecars
                .into_iter()
                .for_each(|container| self.count_restarts(container));
        }
        initializing
    }

    fn add_containers(&mut self, pod: &Value) {
        let mut running = false;
        for container in list(&pod["status"], "containerStatuses").iter().rev() {
            self.count_restarts(container);
            let state = &container["state"];
            let waiting = text(&state["waiting"], "reason");
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.reason);
            } else if state["terminated"].is_object() {
                self.reason = ending(&state["terminated"]);
            } else if container["ready"] == true && state["running"].is_object() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            let reason = if condition(pod, "Ready") {
                "Running"
            } else {
                "NotReady"
            };
            reason.clone_into(&mut self.reason);
        }
    }
}
