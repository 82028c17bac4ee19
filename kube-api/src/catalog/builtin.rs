//! The built-in kinds.

use std::sync::Arc;

use causeway_log::Resource;

use super::ServedKind;

/// Group and version, plural, kind, short names, flags: `n` namespaced, `s` status subresource,
/// `a` category "all".
const TABLE: &[(&str, &str, &str, &str, &str)] = &[
    ("v1", "configmaps", "ConfigMap", "cm", "n"),
    ("v1", "endpoints", "Endpoints", "ep", "n"),
    ("v1", "events", "Event", "ev", "n"),
    ("v1", "limitranges", "LimitRange", "limits", "n"),
    ("v1", "namespaces", "Namespace", "ns", "s"),
    ("v1", "nodes", "Node", "no", "s"),
    (
        "v1",
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        "pvc",
        "ns",
    ),
    ("v1", "persistentvolumes", "PersistentVolume", "pv", "s"),
    ("v1", "pods", "Pod", "po", "nsa"),
    ("v1", "podtemplates", "PodTemplate", "", "n"),
    (
        "v1",
        "replicationcontrollers",
        "ReplicationController",
        "rc",
        "nsa",
    ),
    ("v1", "resourcequotas", "ResourceQuota", "quota", "ns"),
    ("v1", "secrets", "Secret", "", "n"),
    ("v1", "serviceaccounts", "ServiceAccount", "sa", "n"),
    ("v1", "services", "Service", "svc", "nsa"),
    (
        "apps/v1",
        "controllerrevisions",
        "ControllerRevision",
        "",
        "n",
    ),
    ("apps/v1", "daemonsets", "DaemonSet", "ds", "nsa"),
    ("apps/v1", "deployments", "Deployment", "deploy", "nsa"),
    ("apps/v1", "replicasets", "ReplicaSet", "rs", "nsa"),
    ("apps/v1", "statefulsets", "StatefulSet", "sts", "nsa"),
    ("events.k8s.io/v1", "events", "Event", "ev", "n"),
    (
        "autoscaling/v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        "hpa",
        "nsa",
    ),
    ("batch/v1", "cronjobs", "CronJob", "cj", "nsa"),
    ("batch/v1", "jobs", "Job", "", "nsa"),
    (
        "networking.k8s.io/v1",
        "ingressclasses",
        "IngressClass",
        "",
        "",
    ),
    ("networking.k8s.io/v1", "ingresses", "Ingress", "ing", "ns"),
    (
        "networking.k8s.io/v1",
        "networkpolicies",
        "NetworkPolicy",
        "netpol",
        "n",
    ),
    (
        "policy/v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        "pdb",
        "ns",
    ),
    (
        "rbac.authorization.k8s.io/v1",
        "clusterrolebindings",
        "ClusterRoleBinding",
        "",
        "",
    ),
    (
        "rbac.authorization.k8s.io/v1",
        "clusterroles",
        "ClusterRole",
        "",
        "",
    ),
    (
        "rbac.authorization.k8s.io/v1",
        "rolebindings",
        "RoleBinding",
        "",
        "n",
    ),
    ("rbac.authorization.k8s.io/v1", "roles", "Role", "", "n"),
    ("storage.k8s.io/v1", "csidrivers", "CSIDriver", "", ""),
    ("storage.k8s.io/v1", "csinodes", "CSINode", "", ""),
    (
        "storage.k8s.io/v1",
        "csistoragecapacities",
        "CSIStorageCapacity",
        "",
        "n",
    ),
    (
        "storage.k8s.io/v1",
        "storageclasses",
        "StorageClass",
        "sc",
        "",
    ),
    (
        "storage.k8s.io/v1",
        "volumeattachments",
        "VolumeAttachment",
        "",
        "s",
    ),
    (
        "apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "crd,crds",
        "s",
    ),
    (
        "scheduling.k8s.io/v1",
        "priorityclasses",
        "PriorityClass",
        "pc",
        "",
    ),
    ("coordination.k8s.io/v1", "leases", "Lease", "", "n"),
    ("node.k8s.io/v1", "runtimeclasses", "RuntimeClass", "", ""),
    (
        "discovery.k8s.io/v1",
        "endpointslices",
        "EndpointSlice",
        "",
        "n",
    ),
    // Tokens that a cluster issued for the pods of a node, on their way to it.
    (
        "causeway.dev/v1",
        "serviceaccounttokens",
        "ServiceAccountToken",
        "",
        "n",
    ),
];

pub(super) fn kinds() -> impl Iterator<Item = ServedKind> {
    TABLE
        .iter()
        .map(|(group_version, plural, kind, short, flags)| {
            let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
            let category = if flags.contains('a') {
                Some("all")
            } else {
                (*kind == "CustomResourceDefinition").then_some("api-extensions")
            };
            ServedKind {
                resource: Resource::new(group, plural),
                version: version.into(),
                kind: (*kind).into(),
                list_kind: format!("{kind}List").into(),
                singular: kind.to_lowercase().into(),
                short_names: short
                    .split(',')
                    .filter(|it| !it.is_empty())
                    .map(Arc::from)
                    .collect(),
                categories: category.into_iter().map(Arc::from).collect(),
                namespaced: flags.contains('n'),
                status_subresource: flags.contains('s'),
                custom: None,
            }
        })
}

/// Kinds that only mean something when a controller acts on them.
pub(crate) fn needs_controller(resource: &Resource) -> bool {
    let Resource { group, plural } = resource;
    match &**group {
        "apps" => &**plural != "controllerrevisions",
        "batch" | "autoscaling" => true,
        "networking.k8s.io" => &**plural != "ingressclasses",
        "policy" => true,
        "" => matches!(
            &**plural,
            "replicationcontrollers" | "persistentvolumeclaims" | "resourcequotas" | "limitranges"
        ),
        _ => false,
    }
}
