//! Discovery, version, custom resources.

use serde_json::{Value, json};

use crate::harness::Api;

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [
                {
                    "name": "v1",
                    "served": true,
                    "storage": true,
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {
                            "type": "object",
                            "properties": {"size": {"type": "integer"}},
                        }},
                    }},
                },
                {
                    "name": "v1beta1",
                    "served": true,
                    "storage": false,
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": true,
                    }},
                },
            ],
        },
    })
}

#[tokio::test]
async fn legacy_and_aggregated_discovery_tell_the_same() {
    let api = Api::cloud();
    assert_eq!(api.get("/api").await.body["versions"], json!(["v1"]));
    let groups = api.get("/apis").await.body;
    let apps = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|group| group["name"] == "apps");
    assert_eq!(apps.unwrap()["preferredVersion"]["groupVersion"], "apps/v1");
    let core = api.get("/api/v1").await.body;
    let resources = core["resources"].as_array().unwrap();
    let pods = resources
        .iter()
        .find(|resource| resource["name"] == "pods")
        .unwrap();
    assert_eq!(pods["shortNames"], json!(["po"]));
    assert!(
        resources
            .iter()
            .any(|resource| resource["name"] == "pods/binding")
    );

    for version in ["v2", "v2beta1"] {
        let media =
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        let accept = format!("{media},application/json");
        let answer = api.get_as("/apis", &accept).await;
        assert_eq!(answer.headers["content-type"], media);
        assert_eq!(
            answer.body["apiVersion"],
            format!("apidiscovery.k8s.io/{version}")
        );
        let names: Vec<_> = answer.body["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| &item["metadata"]["name"])
            .collect();
        let legacy: Vec<_> = groups["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| &group["name"])
            .collect();
        assert_eq!(names, legacy);
    }
}

#[tokio::test]
async fn versions_and_health_are_told() {
    let api = Api::cloud();
    let version = api.get("/version").await.body;
    assert_eq!(
        (&version["major"], &version["minor"]),
        (&"1".into(), &"32".into())
    );
    assert_eq!(api.get("/healthz").await.body, "ok");
    assert!(api.get("/").await.body["paths"].as_array().unwrap().len() > 5);
}

#[tokio::test]
async fn a_definition_makes_its_kind_served_at_once() {
    let api = Api::cloud();
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let created = api.json("POST", definitions, &definition()).await;
    assert_eq!(created.code, 201, "{:?}", created.body);
    let conditions = created.body["status"]["conditions"].as_array().unwrap();
    for condition in ["Established", "NamesAccepted"] {
        assert!(
            conditions
                .iter()
                .any(|it| it["type"] == condition && it["status"] == "True"),
            "{conditions:?}"
        );
    }
    let widgets = "/apis/example.com/v1/namespaces/default/widgets";
    let widget = json!({
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": {"size": 3},
    });
    let made = api.json("POST", widgets, &widget).await;
    assert_eq!(made.code, 201, "{:?}", made.body);
    let other = api
        .get("/apis/example.com/v1beta1/namespaces/default/widgets/w")
        .await
        .body;
    assert_eq!(other["apiVersion"], "example.com/v1beta1");
    let group = api.get("/apis/example.com").await.body;
    assert_eq!(group["versions"].as_array().unwrap().len(), 2);
    let broken = json!({"spec": {"size": "big"}});
    let refused = api.merge(&format!("{widgets}/w"), &broken).await;
    assert_eq!(refused.code, 422, "{:?}", refused.body);

    api.call(
        "DELETE",
        &format!("{definitions}/widgets.example.com"),
        "application/json",
        "",
    )
    .await;
    assert_eq!(api.get(widgets).await.code, 404);
}
