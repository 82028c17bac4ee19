//! Cells that are more than a field, in kubectl's words.

use causeway_log::WallTime;
use serde_json::Value;

use super::age;

const NONE: &str = "<none>";
const UNSET: &str = "<unset>";

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("")
}

fn or_none(text: String) -> String {
    if text.is_empty() {
        NONE.to_owned()
    } else {
        text
    }
}

/// A number, which may also be written as text; 0 when absent.
fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn joined<'a>(values: impl Iterator<Item = &'a str>) -> String {
    values.collect::<Vec<_>>().join(",")
}

fn equalities(map: &Value) -> Vec<String> {
    let pairs = map.as_object().into_iter().flatten();
    pairs
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")))
        .collect()
}

/// `a=b,c in (d,e)` of a map of labels.
pub(super) fn service_selector(object: &Value, _: WallTime) -> String {
    or_none(equalities(&object["spec"]["selector"]).join(","))
}

/// The same of a label selector.
pub(super) fn selector(object: &Value, _: WallTime) -> String {
    label_selector(&object["spec"]["selector"])
}

/// The pods that a network policy is about.
pub(super) fn pod_selector(object: &Value, _: WallTime) -> String {
    label_selector(&object["spec"]["podSelector"])
}

fn label_selector(selector: &Value) -> String {
    let mut terms = equalities(&selector["matchLabels"]);
    for expression in list(selector, "matchExpressions") {
        let key = text(expression, "key");
        let values = joined(list(expression, "values").iter().filter_map(Value::as_str));
        terms.push(match text(expression, "operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    or_none(terms.join(","))
}

/// Names of the containers of a pod template.
pub(super) fn containers(object: &Value, _: WallTime) -> String {
    template_field(object, "name")
}

/// Images of the containers of a pod template.
pub(super) fn images(object: &Value, _: WallTime) -> String {
    template_field(object, "image")
}

fn template_field(object: &Value, field: &str) -> String {
    let spec = &object["spec"];
    let spec = if spec["jobTemplate"].is_object() {
        &spec["jobTemplate"]["spec"]
    } else {
        spec
    };
    let containers = list(&spec["template"]["spec"], "containers").iter();
    joined(containers.map(|container| text(container, field)))
}

/// `1/3` of a Deployment or StatefulSet.
pub(super) fn replicas_ready(object: &Value, _: WallTime) -> String {
    let ready = number(&object["status"]["readyReplicas"]);
    format!("{ready}/{}", number(&object["spec"]["replicas"]))
}

/// `key=value` pairs of a node selector.
pub(super) fn node_selector(object: &Value, _: WallTime) -> String {
    or_none(equalities(&object["spec"]["template"]["spec"]["nodeSelector"]).join(","))
}

/// Keys of a ConfigMap or Secret.
pub(super) fn data_count(object: &Value, _: WallTime) -> i64 {
    let count = |field: &str| object[field].as_object().map_or(0, serde_json::Map::len);
    i64::try_from(count("data") + count("binaryData")).unwrap_or(i64::MAX)
}

/// Secrets of a service account.
pub(super) fn secret_count(object: &Value, _: WallTime) -> i64 {
    i64::try_from(list(object, "secrets").len()).unwrap_or(i64::MAX)
}

/// `Ready`, `NotReady,SchedulingDisabled`, `Unknown`.
pub(super) fn node_status(node: &Value, _: WallTime) -> String {
    let ready = list(&node["status"], "conditions")
        .iter()
        .find(|it| it["type"] == "Ready");
    let status = match ready.map(|condition| text(condition, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if node["spec"]["unschedulable"] == true {
        return format!("{status},SchedulingDisabled");
    }
    status.to_owned()
}

/// Roles by label.
pub(super) fn node_roles(node: &Value, _: WallTime) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let roles = labels.filter_map(|(key, value)| match key.as_str() {
        "kubernetes.io/role" => value.as_str().filter(|role| !role.is_empty()),
        key => key
            .strip_prefix("node-role.kubernetes.io/")
            .filter(|role| !role.is_empty()),
    });
    or_none(joined(roles))
}

fn node_address(node: &Value, kind: &str) -> String {
    let mut addresses = list(&node["status"], "addresses").iter();
    let found = addresses.find(|address| address["type"] == kind);
    or_none(
        found
            .map(|address| text(address, "address").to_owned())
            .unwrap_or_default(),
    )
}

/// Address inside the cluster.
pub(super) fn internal_ip(node: &Value, _: WallTime) -> String {
    node_address(node, "InternalIP")
}

/// Address from outside.
pub(super) fn external_ip(node: &Value, _: WallTime) -> String {
    node_address(node, "ExternalIP")
}

/// `80/TCP,443:30443/TCP`.
pub(super) fn service_ports(service: &Value, _: WallTime) -> String {
    let ports = list(&service["spec"], "ports").iter().map(|port| {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        match number(&port["nodePort"]) {
            0 => format!("{}/{protocol}", number(&port["port"])),
            node => format!("{}:{node}/{protocol}", number(&port["port"])),
        }
    });
    or_none(ports.collect::<Vec<_>>().join(","))
}

/// How a service is reached from outside.
pub(super) fn service_external(service: &Value, _: WallTime) -> String {
    let spec = &service["spec"];
    let external = joined(list(spec, "externalIPs").iter().filter_map(Value::as_str));
    match text(spec, "type") {
        "ExternalName" => or_none(text(spec, "externalName").to_owned()),
        "LoadBalancer" => {
            let ingress = list(&service["status"]["loadBalancer"], "ingress").iter();
            let points = ingress.map(|point| match text(point, "ip") {
                "" => text(point, "hostname"),
                ip => ip,
            });
            let points = joined(points.chain((!external.is_empty()).then_some(&*external)));
            if points.is_empty() {
                "<pending>".to_owned()
            } else {
                points
            }
        }
        _ => or_none(external),
    }
}

/// `10.0.0.1:80,10.0.0.2:80 + 3 more...`.
pub(super) fn endpoints(object: &Value, _: WallTime) -> String {
    const SHOWN_MAX: usize = 3;
    let mut found = Vec::new();
    for subset in list(object, "subsets") {
        let ports = list(subset, "ports");
        for address in list(subset, "addresses") {
            let ip = text(address, "ip");
            if ports.is_empty() {
                found.push(ip.to_owned());
            }
            found.extend(
                ports
                    .iter()
                    .map(|port| format!("{ip}:{}", number(&port["port"]))),
            );
        }
    }
    let more = found.len().saturating_sub(SHOWN_MAX);
    found.truncate(SHOWN_MAX);
    let shown = or_none(found.join(","));
    if more > 0 {
        format!("{shown} + {more} more...")
    } else {
        shown
    }
}

/// Ports of an EndpointSlice.
pub(super) fn slice_ports(object: &Value, _: WallTime) -> String {
    let ports = list(object, "ports")
        .iter()
        .map(|port| number(&port["port"]).to_string());
    let ports = ports.collect::<Vec<_>>().join(",");
    if ports.is_empty() {
        UNSET.to_owned()
    } else {
        ports
    }
}

/// Addresses of an EndpointSlice.
pub(super) fn slice_endpoints(object: &Value, _: WallTime) -> String {
    let addresses = list(object, "endpoints")
        .iter()
        .flat_map(|endpoint| list(endpoint, "addresses"))
        .filter_map(Value::as_str);
    let addresses = joined(addresses);
    if addresses.is_empty() {
        UNSET.to_owned()
    } else {
        addresses
    }
}

/// `RWO,ROX`.
pub(super) fn access_modes(object: &Value, _: WallTime) -> String {
    let short = |mode: &str| match mode {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "",
    };
    let modes = list(&object["spec"], "accessModes")
        .iter()
        .filter_map(Value::as_str)
        .map(short);
    joined(modes)
}

/// `namespace/name` of the claim of a volume.
pub(super) fn claim(volume: &Value, _: WallTime) -> String {
    let claim = &volume["spec"]["claimRef"];
    match text(claim, "name") {
        "" => String::new(),
        name => format!("{}/{name}", text(claim, "namespace")),
    }
}

/// `Terminating`, or the phase.
pub(super) fn phase(object: &Value, _: WallTime) -> String {
    if object["metadata"]["deletionTimestamp"].is_string() {
        return "Terminating".to_owned();
    }
    text(&object["status"], "phase").to_owned()
}

/// `1/3` of a Job.
pub(super) fn completions(job: &Value, _: WallTime) -> String {
    let succeeded = number(&job["status"]["succeeded"]);
    match (
        job["spec"]["completions"].as_i64(),
        number(&job["spec"]["parallelism"]),
    ) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

/// `Running`, `Complete`, `Failed`, `Suspended`.
pub(super) fn job_status(job: &Value, _: WallTime) -> String {
    let has = |name: &str| {
        let mut conditions = list(&job["status"], "conditions").iter();
        conditions.any(|it| it["type"] == name && it["status"] == "True")
    };
    let terminating = job["metadata"]["deletionTimestamp"].is_string();
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if terminating => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
    .to_owned()
}

/// How long a Job took or has taken.
pub(super) fn job_duration(job: &Value, now: WallTime) -> String {
    let status = &job["status"];
    let Some(start) = age::seconds_of(text(status, "startTime")) else {
        return String::new();
    };
    let end = age::seconds_of(text(status, "completionTime"));
    age::human(
        end.unwrap_or_else(|| age::seconds(now))
            .saturating_sub(start),
    )
}

/// When a CronJob last ran.
pub(super) fn last_schedule(job: &Value, now: WallTime) -> String {
    let time = &job["status"]["lastScheduleTime"];
    if time.is_null() {
        NONE.to_owned()
    } else {
        age::since(time, now)
    }
}

/// Running jobs of a CronJob.
pub(super) fn active_jobs(job: &Value, _: WallTime) -> i64 {
    i64::try_from(list(&job["status"], "active").len()).unwrap_or(i64::MAX)
}

/// `True` or `False`.
pub(super) fn suspended(job: &Value, _: WallTime) -> String {
    if job["spec"]["suspend"] == true {
        "True"
    } else {
        "False"
    }
    .to_owned()
}

/// `pod/web-0`.
pub(super) fn event_object(event: &Value, _: WallTime) -> String {
    let object = [&event["involvedObject"], &event["regarding"]]
        .into_iter()
        .find(|it| it.is_object());
    let object = object.unwrap_or(&Value::Null);
    match text(object, "name") {
        "" => text(object, "kind").to_lowercase(),
        name => format!("{}/{name}", text(object, "kind").to_lowercase()),
    }
}

/// `component, host`.
pub(super) fn event_source(event: &Value, _: WallTime) -> String {
    let source = [&event["source"], &event["deprecatedSource"]]
        .into_iter()
        .find(|it| it.is_object());
    let source = source.unwrap_or(&Value::Null);
    let component = match text(source, "component") {
        "" => match text(event, "reportingComponent") {
            "" => text(event, "reportingController"),
            component => component,
        },
        component => component,
    };
    match text(source, "host") {
        "" => component.to_owned(),
        host => format!("{component}, {host}"),
    }
}

/// The message of an event.
pub(super) fn event_message(event: &Value, _: WallTime) -> String {
    let message = [text(event, "message"), text(event, "note")].join("");
    message.trim().to_owned()
}

/// When an event was seen last.
pub(super) fn last_seen(event: &Value, now: WallTime) -> String {
    seen(
        event,
        &[
            "/series/lastObservedTime",
            "/lastTimestamp",
            "/deprecatedLastTimestamp",
        ],
        now,
    )
}

/// When an event was seen first.
pub(super) fn first_seen(event: &Value, now: WallTime) -> String {
    seen(
        event,
        &["/firstTimestamp", "/deprecatedFirstTimestamp"],
        now,
    )
}

fn seen(event: &Value, fields: &[&str], now: WallTime) -> String {
    let times = fields
        .iter()
        .chain(&["/eventTime", "/metadata/creationTimestamp"]);
    let time = times
        .filter_map(|field| event.pointer(field))
        .find(|time| time.is_string());
    time.map_or_else(|| "<unknown>".to_owned(), |time| age::since(time, now))
}

/// How often an event was seen.
pub(super) fn event_count(event: &Value, _: WallTime) -> i64 {
    let counts = ["/series/count", "/count", "/deprecatedCount"];
    counts
        .iter()
        .filter_map(|field| event.pointer(field)?.as_i64())
        .find(|it| *it > 0)
        .unwrap_or(1)
}

/// `ClusterRole/view`.
pub(super) fn role(binding: &Value, _: WallTime) -> String {
    format!(
        "{}/{}",
        text(&binding["roleRef"], "kind"),
        text(&binding["roleRef"], "name")
    )
}

/// Hosts of an Ingress.
pub(super) fn hosts(ingress: &Value, _: WallTime) -> String {
    let hosts = list(&ingress["spec"], "rules")
        .iter()
        .map(|rule| text(rule, "host"));
    let hosts = joined(hosts.filter(|host| !host.is_empty()));
    if hosts.is_empty() {
        "*".to_owned()
    } else {
        hosts
    }
}

/// Ports of an Ingress.
pub(super) fn ingress_ports(ingress: &Value, _: WallTime) -> String {
    if list(&ingress["spec"], "tls").is_empty() {
        "80"
    } else {
        "80, 443"
    }
    .to_owned()
}
