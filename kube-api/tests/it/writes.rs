//! Create, update, patch, delete.

use http::Request;
use serde_json::{Value, json};

use crate::harness::Api;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    })
}

#[tokio::test]
async fn an_object_lives_through_its_verbs() {
    let api = Api::cloud();
    let created = api.json("POST", CONFIG_MAPS, &config_map("a")).await;
    assert_eq!(created.code, 201, "{:?}", created.body);
    assert!(created.body["metadata"]["uid"].is_string());
    assert!(created.body["metadata"]["creationTimestamp"].is_string());
    let again = api.json("POST", CONFIG_MAPS, &config_map("a")).await;
    assert_eq!(again.code, 409);
    assert_eq!(again.body["message"], "configmaps \"a\" already exists");

    let path = format!("{CONFIG_MAPS}/a");
    let mut changed = created.body.clone();
    changed["data"]["k"] = json!("w");
    let updated = api.json("PUT", &path, &changed).await;
    assert_eq!(updated.code, 200);
    let stale = api.json("PUT", &path, &changed).await;
    assert_eq!(stale.code, 409);
    let told = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
                please apply your changes to the latest version and try again";
    assert_eq!(stale.body["message"], told);

    let patched = api
        .merge(&path, &json!({"data": {"k": null, "n": "1"}}))
        .await;
    assert_eq!(patched.code, 200);
    assert_eq!(patched.body["data"], json!({"n": "1"}));
    let same = api.merge(&path, &json!({"data": {"n": "1"}})).await;
    let version = |answer: &Value| answer["metadata"]["resourceVersion"].clone();
    assert_eq!(version(&same.body), version(&patched.body));

    let deleted = api.call("DELETE", &path, "application/json", "").await;
    assert_eq!(
        (deleted.code.as_u16(), &deleted.body["status"]),
        (200, &"Success".into())
    );
    assert_eq!(
        deleted.body["details"]["uid"],
        created.body["metadata"]["uid"]
    );
    assert_eq!(api.get(&path).await.code, 404);
}

#[tokio::test]
async fn bodies_come_as_json_or_yaml_and_are_bounded() {
    let api = Api::cloud();
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yaml\ndata:\n  port: \"80\"\n";
    let created = api
        .call("POST", CONFIG_MAPS, "application/yaml", yaml)
        .await;
    assert_eq!(created.code, 201, "{:?}", created.body);
    assert_eq!(created.body["data"]["port"], "80");

    let protobuf = "application/vnd.kubernetes.protobuf";
    let envelope = &b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x05\n\x03\n\x01p"[..];
    let created = api.call("POST", CONFIG_MAPS, protobuf, envelope).await;
    assert_eq!(created.code, 201, "{:?}", created.body);
    let other = &b"k8s\0\n\x0b\n\x02v1\x12\x05Other\x12\x00"[..];
    for (media, body) in [(protobuf, other), ("text/html", envelope)] {
        let refused = api.call("POST", CONFIG_MAPS, media, body).await;
        assert_eq!(refused.code, 415);
        assert_eq!(refused.body["reason"], "UnsupportedMediaType");
    }
    for nonsense in ["{", "[]", "\"a\"", ""] {
        let refused = api
            .call("POST", CONFIG_MAPS, "application/json", nonsense)
            .await;
        assert_eq!(refused.code, 400, "{nonsense}");
    }
    let large = "x".repeat(70 * 1024);
    let refused = api
        .call("POST", CONFIG_MAPS, "application/json", large)
        .await;
    assert_eq!(
        (refused.code.as_u16(), &refused.body["reason"]),
        (413, &"RequestEntityTooLarge".into())
    );
    let announced = Request::post(CONFIG_MAPS).header("content-length", "999999999");
    let refused = api.read(announced.body("{}".into()).unwrap()).await;
    assert_eq!(refused.code, 413);
}

#[tokio::test]
async fn namespaces_must_exist_and_last() {
    let api = Api::cloud();
    let missing = api
        .json(
            "POST",
            "/api/v1/namespaces/none/configmaps",
            &config_map("a"),
        )
        .await;
    assert_eq!(missing.code, 404);
    assert_eq!(missing.body["message"], "namespaces \"none\" not found");
    let ending = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    api.source
        .put_new("v1", "Namespace", "namespaces", "", "ending", ending);
    let refused = api
        .json(
            "POST",
            "/api/v1/namespaces/ending/configmaps",
            &config_map("a"),
        )
        .await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.body["details"]["causes"][0]["reason"],
        "NamespaceTerminating"
    );
}

#[tokio::test]
async fn names_are_generated() {
    let api = Api::cloud();
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "a-"}});
    let mut names = Vec::new();
    for _ in 0..3 {
        let created = api.json("POST", CONFIG_MAPS, &object).await;
        assert_eq!(created.code, 201, "{:?}", created.body);
        names.push(
            created.body["metadata"]["name"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    names.dedup();
    assert_eq!(names.len(), 3);
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("a-") && name.len() == 7),
        "{names:?}"
    );
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let api = Api::cloud();
    let tried = api
        .json(
            "POST",
            &format!("{CONFIG_MAPS}?dryRun=All"),
            &config_map("a"),
        )
        .await;
    assert_eq!(tried.code, 201);
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/a")).await.code, 404);
    api.json("POST", CONFIG_MAPS, &config_map("a")).await;
    let tried = api
        .merge(
            &format!("{CONFIG_MAPS}/a?dryRun=All"),
            &json!({"data": {"k": "w"}}),
        )
        .await;
    assert_eq!(tried.body["data"]["k"], "w");
    api.call(
        "DELETE",
        &format!("{CONFIG_MAPS}/a?dryRun=All"),
        "application/json",
        "",
    )
    .await;
    assert_eq!(
        api.get(&format!("{CONFIG_MAPS}/a")).await.body["data"]["k"],
        "v"
    );
}

#[tokio::test]
async fn invalid_objects_tell_the_field() {
    let api = Api::cloud();
    let mut broken = pod("p");
    broken["spec"]["containers"][0]
        .as_object_mut()
        .unwrap()
        .remove("name");
    let refused = api.json("POST", PODS, &broken).await;
    assert_eq!(
        (refused.code.as_u16(), &refused.body["reason"]),
        (422, &"Invalid".into())
    );
    assert_eq!(
        refused.body["details"]["causes"][0]["field"],
        "spec.containers[0].name"
    );
    let mut unknown = pod("p");
    unknown["spec"]["nonsense"] = json!(1);
    let strict = api
        .json("POST", &format!("{PODS}?fieldValidation=Strict"), &unknown)
        .await;
    assert_eq!(strict.code, 400, "{:?}", strict.body);
    let warned = api
        .json("POST", &format!("{PODS}?fieldValidation=Warn"), &unknown)
        .await;
    assert_eq!(warned.code, 201, "{:?}", warned.body);
    assert!(
        warned
            .warnings()
            .iter()
            .any(|told| told.contains("nonsense")),
        "{warned:?}"
    );
}

#[tokio::test]
async fn kinds_without_a_controller_are_stored_with_a_warning() {
    let api = Api::cloud();
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    });
    let created = api
        .json(
            "POST",
            "/apis/apps/v1/namespaces/default/deployments",
            &object,
        )
        .await;
    assert_eq!(created.code, 201, "{:?}", created.body);
    assert!(
        created.warnings()[0].contains("no controller"),
        "{:?}",
        created.warnings()
    );
    let quiet = api.json("POST", CONFIG_MAPS, &config_map("a")).await;
    assert!(quiet.warnings().is_empty());
}

#[tokio::test]
async fn pods_are_bound_and_end_gracefully() {
    let api = Api::cloud();
    api.json("POST", PODS, &pod("p")).await;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "target": {"name": "edge-1"}});
    let bound = api
        .json("POST", &format!("{PODS}/p/binding"), &binding)
        .await;
    assert_eq!(bound.code, 201, "{:?}", bound.body);
    let path = format!("{PODS}/p");
    assert_eq!(api.get(&path).await.body["spec"]["nodeName"], "edge-1");
    let again = api
        .json("POST", &format!("{PODS}/p/binding"), &binding)
        .await;
    assert_eq!(again.code, 409);

    let status = json!({"status": {"phase": "Running"}});
    let patched = api.merge(&format!("{path}/status"), &status).await;
    assert_eq!(
        patched.body["status"]["phase"], "Running",
        "{:?}",
        patched.body
    );

    let ending = api.call("DELETE", &path, "application/json", "").await;
    assert_eq!(ending.code, 200);
    assert!(
        ending.body["metadata"]["deletionTimestamp"].is_string(),
        "{:?}",
        ending.body
    );
    let wrong = json!({"kind": "DeleteOptions", "preconditions": {"uid": "other"}, "gracePeriodSeconds": 0});
    let refused = api.json("DELETE", &path, &wrong).await;
    assert_eq!(refused.code, 409);
    let gone = api
        .call(
            "DELETE",
            &format!("{path}?gracePeriodSeconds=0"),
            "application/json",
            "",
        )
        .await;
    assert_eq!(gone.code, 200);
    assert_eq!(api.get(&path).await.code, 404);
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let api = Api::cloud();
    for (name, tier) in [("a", "x"), ("b", "y"), ("c", "x")] {
        api.config_map(name, tier);
    }
    let path = format!("{CONFIG_MAPS}?labelSelector=tier%3Dx");
    let deleted = api.call("DELETE", &path, "application/json", "").await;
    assert_eq!(deleted.body["items"].as_array().unwrap().len(), 2);
    let left = api.get(CONFIG_MAPS).await.body;
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_store_that_only_reads_says_why() {
    let api = Api::cloud();
    api.config_map("a", "x");
    api.source.set_read_only(Some("no space left on device"));
    let refused = api.json("POST", CONFIG_MAPS, &config_map("b")).await;
    assert_eq!(refused.code, 503);
    assert!(
        refused.body["message"]
            .as_str()
            .unwrap()
            .contains("no space left on device")
    );
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/a")).await.code, 200);
    api.source.set_read_only(None);
    assert_eq!(
        api.json("POST", CONFIG_MAPS, &config_map("b")).await.code,
        201
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_given_up() {
    let api = Api::cloud();
    let body = axum::body::Body::from_stream(futures_util::stream::pending::<
        Result<Vec<u8>, std::io::Error>,
    >());
    let service = api.send_unbounded(Request::post(CONFIG_MAPS).body(body).unwrap());
    assert_eq!(service.await.status(), 504);
}
