use serde_json::json;

use super::*;

#[test]
fn the_table_is_sound() {
    let catalog = Catalog::builtin();
    for kind in catalog.kinds() {
        let Resource { group, plural } = &kind.resource;
        assert_eq!(catalog.find(group, &kind.version, plural), Some(kind));
        assert!(
            plural.chars().all(|letter| letter.is_ascii_lowercase()),
            "{plural}"
        );
    }
    let pod = catalog.find("", "v1", "pods").unwrap();
    assert!(pod.namespaced && pod.status_subresource);
    assert_eq!(pod.api_version(), "v1");
    assert_eq!(
        catalog
            .find_kind("apps", "v1", "Deployment")
            .unwrap()
            .api_version(),
        "apps/v1"
    );
    assert!(catalog.find("", "v1", "nonsense").is_none());
    assert!(
        catalog
            .groups()
            .iter()
            .any(|(group, versions)| &**group == "apps" && versions.len() == 1)
    );
}

#[test]
fn definitions_make_kinds() {
    let definition = json!({"spec": {
        "group": "example.com",
        "scope": "Cluster",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [
            {"name": "v1", "served": true, "storage": false},
            {"name": "v2", "served": true, "storage": true, "subresources": {"status": {}}},
            {"name": "v0", "served": false, "storage": false},
        ],
    }});
    let kinds = custom::kinds(&definition);
    let versions: Vec<_> = kinds.iter().map(|kind| &*kind.version).collect();
    assert_eq!(versions, ["v2", "v1"]);
    let kind = &kinds[0];
    assert_eq!(
        (&*kind.singular, &*kind.list_kind),
        ("widget", "WidgetList")
    );
    assert!(kind.status_subresource && !kind.namespaced);
    assert!(custom::kinds(&json!({"spec": {"group": "x"}})).is_empty());
}
