//! The columns of each built-in kind.

use causeway_log::WallTime;
use serde_json::Value;

use self::Cell::{Age, Counted, Field, Made, Name, Number, Text};
use super::{age, cells, definition, jsonpath, pod};
use crate::catalog::ServedKind;

/// One column.
pub(super) struct Column {
    name: &'static str,
    /// Only for `-o wide`.
    wide: bool,
    pub(super) cell: Cell,
}

/// Where the content of a cell comes from.
pub(super) enum Cell {
    Name,
    Age,
    /// A field as it is.
    Field(&'static str),
    /// A text field, with what stands for an absent one.
    Text(&'static str, &'static str),
    /// A number, 0 when absent.
    Number(&'static str),
    Made(fn(&Value, WallTime) -> String),
    Counted(fn(&Value, WallTime) -> i64),
}

impl Cell {
    pub(super) fn value(&self, object: &Value, now: WallTime) -> Value {
        match self {
            Self::Name => object["metadata"]["name"].clone(),
            Self::Age => age::since(&object["metadata"]["creationTimestamp"], now).into(),
            Self::Field(path) => jsonpath::first(object, path).cloned().unwrap_or_default(),
            Self::Text(path, absent) => match jsonpath::first(object, path) {
                None => (*absent).into(),
                Some(Value::String(text)) if text.is_empty() => (*absent).into(),
                Some(Value::String(text)) => text.as_str().into(),
                Some(other) => other.to_string().into(),
            },
            Self::Number(path) => jsonpath::first(object, path)
                .and_then(Value::as_i64)
                .unwrap_or(0)
                .into(),
            Self::Made(make) => make(object, now).into(),
            Self::Counted(count) => count(object, now).into(),
        }
    }
}

impl Column {
    pub(super) fn definition(&self) -> Value {
        let kind = match self.cell {
            Number(_) | Counted(_) => "integer",
            Name | Age | Field(_) | Text(..) | Made(_) => "string",
        };
        let format = if matches!(self.cell, Name) {
            "name"
        } else {
            ""
        };
        definition(self.name, kind, format, i64::from(self.wide), "")
    }
}

const fn column(name: &'static str, cell: Cell) -> Column {
    Column {
        name,
        wide: false,
        cell,
    }
}

const fn wide(name: &'static str, cell: Cell) -> Column {
    Column {
        name,
        wide: true,
        cell,
    }
}

const NONE: &str = "<none>";
const UNSET: &str = "<unset>";

static DEFAULT: &[Column] = &[column("Name", Name), column("Age", Age)];
static CREATED: &[Column] = &[
    column("Name", Name),
    column("Created At", Field(".metadata.creationTimestamp")),
];
static PODS: &[Column] = &[
    column("Name", Name),
    column("Ready", Made(pod::ready)),
    column("Status", Made(pod::status)),
    column("Restarts", Made(pod::restarts)),
    column("Age", Age),
    wide("IP", Text(".status.podIP", NONE)),
    wide("Node", Text(".spec.nodeName", NONE)),
    wide("Nominated Node", Text(".status.nominatedNodeName", NONE)),
    wide("Readiness Gates", Made(pod::readiness_gates)),
];
static NODES: &[Column] = &[
    column("Name", Name),
    column("Status", Made(cells::node_status)),
    column("Roles", Made(cells::node_roles)),
    column("Age", Age),
    column("Version", Text(".status.nodeInfo.kubeletVersion", "")),
    wide("Internal-IP", Made(cells::internal_ip)),
    wide("External-IP", Made(cells::external_ip)),
    wide("OS-Image", Text(".status.nodeInfo.osImage", "<unknown>")),
    wide(
        "Kernel-Version",
        Text(".status.nodeInfo.kernelVersion", "<unknown>"),
    ),
    wide(
        "Container-Runtime",
        Text(".status.nodeInfo.containerRuntimeVersion", "<unknown>"),
    ),
];
static NAMESPACES: &[Column] = &[
    column("Name", Name),
    column("Status", Made(cells::phase)),
    column("Age", Age),
];
static CONFIGMAPS: &[Column] = &[
    column("Name", Name),
    column("Data", Counted(cells::data_count)),
    column("Age", Age),
];
static SECRETS: &[Column] = &[
    column("Name", Name),
    column("Type", Text(".type", "")),
    column("Data", Counted(cells::data_count)),
    column("Age", Age),
];
static SERVICE_ACCOUNTS: &[Column] = &[
    column("Name", Name),
    column("Secrets", Counted(cells::secret_count)),
    column("Age", Age),
];
static SERVICES: &[Column] = &[
    column("Name", Name),
    column("Type", Text(".spec.type", "")),
    column("Cluster-IP", Text(".spec.clusterIP", NONE)),
    column("External-IP", Made(cells::service_external)),
    column("Port(s)", Made(cells::service_ports)),
    column("Age", Age),
    wide("Selector", Made(cells::service_selector)),
];
static ENDPOINTS: &[Column] = &[
    column("Name", Name),
    column("Endpoints", Made(cells::endpoints)),
    column("Age", Age),
];
static ENDPOINT_SLICES: &[Column] = &[
    column("Name", Name),
    column("AddressType", Text(".addressType", "")),
    column("Ports", Made(cells::slice_ports)),
    column("Endpoints", Made(cells::slice_endpoints)),
    column("Age", Age),
];
static VOLUMES: &[Column] = &[
    column("Name", Name),
    column("Capacity", Text(".spec.capacity.storage", "")),
    column("Access Modes", Made(cells::access_modes)),
    column(
        "Reclaim Policy",
        Text(".spec.persistentVolumeReclaimPolicy", ""),
    ),
    column("Status", Made(cells::phase)),
    column("Claim", Made(cells::claim)),
    column("StorageClass", Text(".spec.storageClassName", "")),
    column(
        "VolumeAttributesClass",
        Text(".spec.volumeAttributesClassName", UNSET),
    ),
    column("Reason", Text(".status.reason", "")),
    column("Age", Age),
    wide("VolumeMode", Text(".spec.volumeMode", UNSET)),
];
static CLAIMS: &[Column] = &[
    column("Name", Name),
    column("Status", Made(cells::phase)),
    column("Volume", Text(".spec.volumeName", "")),
    column("Capacity", Text(".status.capacity.storage", "")),
    column("Access Modes", Made(cells::access_modes)),
    column("StorageClass", Text(".spec.storageClassName", "")),
    column(
        "VolumeAttributesClass",
        Text(".spec.volumeAttributesClassName", UNSET),
    ),
    column("Age", Age),
    wide("VolumeMode", Text(".spec.volumeMode", UNSET)),
];
static EVENTS: &[Column] = &[
    column("Last Seen", Made(cells::last_seen)),
    column("Type", Text(".type", "")),
    column("Reason", Text(".reason", "")),
    column("Object", Made(cells::event_object)),
    wide("Subobject", Text(".involvedObject.fieldPath", "")),
    wide("Source", Made(cells::event_source)),
    column("Message", Made(cells::event_message)),
    wide("First Seen", Made(cells::first_seen)),
    wide("Count", Counted(cells::event_count)),
    wide("Name", Name),
];
static LEASES: &[Column] = &[
    column("Name", Name),
    column("Holder", Text(".spec.holderIdentity", "")),
    column("Age", Age),
];
static DEPLOYMENTS: &[Column] = &[
    column("Name", Name),
    column("Ready", Made(cells::replicas_ready)),
    column("Up-to-date", Number(".status.updatedReplicas")),
    column("Available", Number(".status.availableReplicas")),
    column("Age", Age),
    wide("Containers", Made(cells::containers)),
    wide("Images", Made(cells::images)),
    wide("Selector", Made(cells::selector)),
];
static REPLICA_SETS: &[Column] = &[
    column("Name", Name),
    column("Desired", Number(".spec.replicas")),
    column("Current", Number(".status.replicas")),
    column("Ready", Number(".status.readyReplicas")),
    column("Age", Age),
    wide("Containers", Made(cells::containers)),
    wide("Images", Made(cells::images)),
    wide("Selector", Made(cells::selector)),
];
static DAEMON_SETS: &[Column] = &[
    column("Name", Name),
    column("Desired", Number(".status.desiredNumberScheduled")),
    column("Current", Number(".status.currentNumberScheduled")),
    column("Ready", Number(".status.numberReady")),
    column("Up-to-date", Number(".status.updatedNumberScheduled")),
    column("Available", Number(".status.numberAvailable")),
    column("Node Selector", Made(cells::node_selector)),
    column("Age", Age),
    wide("Containers", Made(cells::containers)),
    wide("Images", Made(cells::images)),
    wide("Selector", Made(cells::selector)),
];
static STATEFUL_SETS: &[Column] = &[
    column("Name", Name),
    column("Ready", Made(cells::replicas_ready)),
    column("Age", Age),
    wide("Containers", Made(cells::containers)),
    wide("Images", Made(cells::images)),
];
static JOBS: &[Column] = &[
    column("Name", Name),
    column("Status", Made(cells::job_status)),
    column("Completions", Made(cells::completions)),
    column("Duration", Made(cells::job_duration)),
    column("Age", Age),
    wide("Containers", Made(cells::containers)),
    wide("Images", Made(cells::images)),
    wide("Selector", Made(cells::selector)),
];
static CRON_JOBS: &[Column] = &[
    column("Name", Name),
    column("Schedule", Text(".spec.schedule", "")),
    column("Timezone", Text(".spec.timeZone", NONE)),
    column("Suspend", Made(cells::suspended)),
    column("Active", Counted(cells::active_jobs)),
    column("Last Schedule", Made(cells::last_schedule)),
    column("Age", Age),
    wide("Containers", Made(cells::containers)),
    wide("Images", Made(cells::images)),
];
static INGRESSES: &[Column] = &[
    column("Name", Name),
    column("Class", Text(".spec.ingressClassName", NONE)),
    column("Hosts", Made(cells::hosts)),
    column("Address", Text(".status.loadBalancer.ingress[0].ip", "")),
    column("Ports", Made(cells::ingress_ports)),
    column("Age", Age),
];
static NETWORK_POLICIES: &[Column] = &[
    column("Name", Name),
    column("Pod-Selector", Made(cells::pod_selector)),
    column("Age", Age),
];
static ROLE_BINDINGS: &[Column] = &[
    column("Name", Name),
    column("Role", Made(cells::role)),
    column("Age", Age),
];
static STORAGE_CLASSES: &[Column] = &[
    column("Name", Name),
    column("Provisioner", Text(".provisioner", "")),
    column("ReclaimPolicy", Text(".reclaimPolicy", "Delete")),
    column("VolumeBindingMode", Text(".volumeBindingMode", "Immediate")),
    column(
        "AllowVolumeExpansion",
        Text(".allowVolumeExpansion", "false"),
    ),
    column("Age", Age),
];
static PRIORITY_CLASSES: &[Column] = &[
    column("Name", Name),
    column("Value", Number(".value")),
    column("Global-Default", Text(".globalDefault", "false")),
    column("Age", Age),
    column(
        "PreemptionPolicy",
        Text(".preemptionPolicy", "PreemptLowerPriority"),
    ),
];
static RUNTIME_CLASSES: &[Column] = &[
    column("Name", Name),
    column("Handler", Text(".handler", "")),
    column("Age", Age),
];
static BUDGETS: &[Column] = &[
    column("Name", Name),
    column("Min Available", Text(".spec.minAvailable", "N/A")),
    column("Max Unavailable", Text(".spec.maxUnavailable", "N/A")),
    column("Allowed Disruptions", Number(".status.disruptionsAllowed")),
    column("Age", Age),
];

/// The columns of a built-in kind.
pub(super) fn columns(kind: &ServedKind) -> &'static [Column] {
    match (&*kind.resource.group, &*kind.resource.plural) {
        ("", "pods") => PODS,
        ("", "nodes") => NODES,
        ("", "namespaces") => NAMESPACES,
        ("", "configmaps") => CONFIGMAPS,
        ("", "secrets") => SECRETS,
        ("", "serviceaccounts") => SERVICE_ACCOUNTS,
        ("", "services") => SERVICES,
        ("", "endpoints") => ENDPOINTS,
        ("", "persistentvolumes") => VOLUMES,
        ("", "persistentvolumeclaims") => CLAIMS,
        ("" | "events.k8s.io", "events") => EVENTS,
        ("discovery.k8s.io", "endpointslices") => ENDPOINT_SLICES,
        ("coordination.k8s.io", "leases") => LEASES,
        ("apps", "deployments") => DEPLOYMENTS,
        ("apps", "replicasets") | ("", "replicationcontrollers") => REPLICA_SETS,
        ("apps", "daemonsets") => DAEMON_SETS,
        ("apps", "statefulsets") => STATEFUL_SETS,
        ("batch", "jobs") => JOBS,
        ("batch", "cronjobs") => CRON_JOBS,
        ("networking.k8s.io", "ingresses") => INGRESSES,
        ("networking.k8s.io", "networkpolicies") => NETWORK_POLICIES,
        ("rbac.authorization.k8s.io", "roles" | "clusterroles")
        | ("apiextensions.k8s.io", "customresourcedefinitions") => CREATED,
        ("rbac.authorization.k8s.io", _) => ROLE_BINDINGS,
        ("storage.k8s.io", "storageclasses") => STORAGE_CLASSES,
        ("scheduling.k8s.io", "priorityclasses") => PRIORITY_CLASSES,
        ("node.k8s.io", "runtimeclasses") => RUNTIME_CLASSES,
        ("policy", "poddisruptionbudgets") => BUDGETS,
        _ => DEFAULT,
    }
}
