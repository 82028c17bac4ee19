//! Which groups, versions and resources there are: the legacy documents and the aggregated one.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::catalog::{Catalog, ServedKind};

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

/// A subresource as discovery tells it.
struct Subresource {
    name: &'static str,
    group: &'static str,
    version: &'static str,
    kind: String,
    verbs: &'static [&'static str],
}

fn subresources(kind: &ServedKind) -> Vec<Subresource> {
    let mut found = Vec::new();
    let mut add = |name, group, version, kind: &str, verbs| {
        found.push(Subresource {
            name,
            group,
            version,
            kind: kind.to_owned(),
            verbs,
        });
    };
    if kind.is("", "pods") {
        add("binding", "", "v1", "Binding", &["create"][..]);
        add("eviction", "policy", "v1", "Eviction", &["create"]);
    }
    if kind.is("", "serviceaccounts") {
        let group = "authentication.k8s.io";
        add("token", group, "v1", "TokenRequest", &["create"]);
    }
    if kind.is("", "namespaces") {
        add("finalize", "", "v1", "Namespace", &["update"]);
    }
    if kind.status_subresource {
        add("status", "", "", &kind.kind, &["get", "patch", "update"]);
    }
    found
}

/// `/api`
pub(super) fn core_versions(host: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": host }],
    })
}

/// `/apis`
pub(super) fn group_list(catalog: &Catalog) -> Value {
    let groups: Vec<Value> = catalog
        .groups()
        .iter()
        .map(|(name, versions)| group_entry(name, versions))
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/{group}`
pub(super) fn group(catalog: &Catalog, name: &str) -> Option<Value> {
    let groups = catalog.groups();
    let (name, versions) = groups.iter().find(|(known, _)| &**known == name)?;
    let mut group = group_entry(name, versions);
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    Some(group)
}

fn group_entry(name: &str, versions: &[Arc<str>]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(
            |version| json!({ "groupVersion": format!("{name}/{version}"), "version": &**version }),
        )
        .collect();
    json!({ "name": name, "preferredVersion": versions.first(), "versions": versions })
}

/// `/api/v1` and `/apis/{group}/{version}`
pub(super) fn resource_list(catalog: &Catalog, group: &str, version: &str) -> Option<Value> {
    let kinds: Vec<_> = catalog
        .kinds()
        .filter(|kind| &*kind.resource.group == group && &*kind.version == version)
        .collect();
    let first = kinds.first()?;
    let group_version = first.api_version();
    let resources: Vec<Value> = kinds
        .iter()
        .flat_map(|kind| resource_entries(kind))
        .collect();
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }))
}

fn resource_entries(kind: &ServedKind) -> Vec<Value> {
    let plural = &*kind.resource.plural;
    let mut main = json!({
        "name": plural,
        "singularName": &*kind.singular,
        "namespaced": kind.namespaced,
        "kind": &*kind.kind,
        "verbs": VERBS,
    });
    if !kind.short_names.is_empty() {
        main["shortNames"] = texts(&kind.short_names);
    }
    if !kind.categories.is_empty() {
        main["categories"] = texts(&kind.categories);
    }
    let mut entries = vec![main];
    for sub in subresources(kind) {
        let mut entry = json!({
            "name": format!("{plural}/{}", sub.name),
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": sub.kind,
            "verbs": sub.verbs,
        });
        if !sub.group.is_empty() {
            entry["group"] = json!(sub.group);
            entry["version"] = json!(sub.version);
        }
        entries.push(entry);
    }
    entries
}

fn texts(texts: &[Arc<str>]) -> Value {
    texts.iter().map(|text| Value::from(&**text)).collect()
}

/// The aggregated document: of the core group, or of all others. `api_version` is a version of
/// `apidiscovery.k8s.io`.
pub(super) fn aggregated(catalog: &Catalog, core: bool, api_version: &str) -> Value {
    let groups = if core {
        vec![(Arc::from(""), vec![Arc::from("v1")])]
    } else {
        catalog.groups()
    };
    let items: Vec<Value> = groups
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| aggregated_version(catalog, group, version))
                .collect();
            let metadata = if group.is_empty() {
                json!({ "creationTimestamp": null })
            } else {
                json!({ "name": &**group, "creationTimestamp": null })
            };
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{api_version}"),
        "metadata": {},
        "items": items,
    })
}

fn aggregated_version(catalog: &Catalog, group: &str, version: &str) -> Value {
    let kinds = catalog
        .kinds()
        .filter(|kind| &*kind.resource.group == group && &*kind.version == version);
    let resources: Vec<Value> = kinds.map(|kind| aggregated_resource(kind)).collect();
    json!({ "version": version, "freshness": "Current", "resources": resources })
}

fn aggregated_resource(kind: &ServedKind) -> Value {
    let group_version_kind = |group: &str, version: &str, name: &str| json!({ "group": group, "version": version, "kind": name });
    let own = (&*kind.resource.group, &*kind.version);
    let subresources: Vec<Value> = subresources(kind)
        .iter()
        .map(|sub| {
            let (group, version) = if sub.version.is_empty() {
                own
            } else {
                (sub.group, sub.version)
            };
            json!({
                "subresource": sub.name,
                "responseKind": group_version_kind(group, version, &sub.kind),
                "verbs": sub.verbs,
            })
        })
        .collect();
    let mut resource = json!({
        "resource": &*kind.resource.plural,
        "responseKind": group_version_kind(own.0, own.1, &kind.kind),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": &*kind.singular,
        "verbs": VERBS,
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = texts(&kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = texts(&kind.categories);
    }
    if !subresources.is_empty() {
        resource["subresources"] = json!(subresources);
    }
    resource
}
