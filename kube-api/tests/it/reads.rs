//! Get and list.

use serde_json::Value;

use crate::harness::Api;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn an_object_is_read_and_a_missing_one_is_not_found() {
    let api = Api::cloud();
    let revision = api.config_map("a", "x");
    let found = api.get(&format!("{CONFIG_MAPS}/a")).await;
    assert_eq!(found.code, 200);
    assert_eq!(found.body["kind"], "ConfigMap");
    assert_eq!(
        found.body["metadata"]["resourceVersion"],
        revision.to_string()
    );

    let missing = api.get(&format!("{CONFIG_MAPS}/b")).await;
    assert_eq!(missing.code, 404);
    assert_eq!(missing.body["message"], "configmaps \"b\" not found");
    assert_eq!(missing.body["reason"], "NotFound");
    assert_eq!(missing.body["details"]["kind"], "configmaps");
}

#[tokio::test]
async fn unknown_kinds_and_paths_are_not_found_as_kubernetes_words_it() {
    let api = Api::cloud();
    for path in [
        "/apis/example.com/v1/widgets",
        "/api/v1/nonsense",
        "/x",
        "/apis/none/v1",
        "/api/v2",
    ] {
        let answer = api.get(path).await;
        assert_eq!(answer.code, 404, "{path}");
        let told = "the server could not find the requested resource";
        assert_eq!(answer.body["message"], told, "{path}");
    }
}

#[tokio::test]
async fn lists_select_by_labels_and_fields() {
    let api = Api::cloud();
    for (name, tier) in [("a", "x"), ("b", "y"), ("c", "x")] {
        api.config_map(name, tier);
    }
    let list = api
        .get(&format!("{CONFIG_MAPS}?labelSelector=tier%3Dx"))
        .await
        .body;
    assert_eq!(names(&list), ["a", "c"]);
    let list = api
        .get(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Db"))
        .await
        .body;
    assert_eq!(names(&list), ["b"]);
    let list = api
        .get("/api/v1/configmaps?labelSelector=tier+notin+(x)")
        .await
        .body;
    assert_eq!(names(&list), ["b"]);
    let refused = api
        .get(&format!("{CONFIG_MAPS}?fieldSelector=spec.x%3D1"))
        .await;
    assert_eq!(refused.code, 400);
    assert_eq!(refused.body["message"], "field label not supported: spec.x");
    let refused = api
        .get(&format!("{CONFIG_MAPS}?labelSelector=a+in+b"))
        .await;
    assert_eq!(
        refused.body["message"],
        "unable to parse requirement: found 'b', expected: '('"
    );
}

#[tokio::test]
async fn pages_tell_the_revision_of_the_first_one() {
    let api = Api::cloud();
    for name in ["a", "b", "c", "d", "e"] {
        api.config_map(name, "x");
    }
    let first = api.get(&format!("{CONFIG_MAPS}?limit=2")).await.body;
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let began = first["metadata"]["resourceVersion"].clone();
    api.config_map("f", "x");
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = api
        .get(&format!("{CONFIG_MAPS}?limit=3&continue={token}"))
        .await
        .body;
    assert_eq!(names(&second), ["c", "d", "e"]);
    assert_eq!(second["metadata"]["resourceVersion"], began);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let last = api
        .get(&format!("{CONFIG_MAPS}?limit=3&continue={token}"))
        .await
        .body;
    assert_eq!(names(&last), ["f"]);
    assert!(last["metadata"].get("continue").is_none());
    let refused = api
        .get(&format!("{CONFIG_MAPS}?limit=3&continue=nonsense"))
        .await;
    assert_eq!(refused.code, 400);
}

#[tokio::test(start_paused = true)]
async fn revisions_asked_for_are_held_or_refused() {
    let api = Api::cloud();
    let at = api.config_map("a", "x");
    let exact = format!("{CONFIG_MAPS}?resourceVersion={at}&resourceVersionMatch=Exact");
    assert_eq!(api.get(&exact).await.code, 200);
    api.config_map("b", "x");
    let expired = api.get(&exact).await;
    assert_eq!(
        (expired.code.as_u16(), &expired.body["reason"]),
        (410, &"Expired".into())
    );
    let newer = api
        .get(&format!("{CONFIG_MAPS}?resourceVersion={at}"))
        .await;
    assert_eq!(names(&newer.body), ["a", "b"]);
    let future = api.get(&format!("{CONFIG_MAPS}?resourceVersion=999")).await;
    assert_eq!(future.code, 504);
    assert_eq!(
        future.body["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    for nonsense in [
        "resourceVersion=x",
        "resourceVersionMatch=Exact",
        "sendInitialEvents=true",
    ] {
        assert_eq!(
            api.get(&format!("{CONFIG_MAPS}?{nonsense}")).await.code,
            422,
            "{nonsense}"
        );
    }
}

#[tokio::test]
async fn tables_and_metadata_come_by_accept_header() {
    let api = Api::cloud();
    api.config_map("a", "x");
    let table = api.get_as(CONFIG_MAPS, TABLE).await.body;
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "a");
    let one = api.get_as(&format!("{CONFIG_MAPS}/a"), TABLE).await.body;
    assert_eq!(one["rows"].as_array().unwrap().len(), 1);

    let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = api.get_as(CONFIG_MAPS, partial).await.body;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"]["name"], "a");
    assert!(list["items"][0].get("data").is_none());
    let protobuf = "application/vnd.kubernetes.protobuf";
    assert_eq!(api.get_as(CONFIG_MAPS, protobuf).await.code, 406);
    let fallback = format!("{protobuf},application/json");
    assert_eq!(
        api.get_as(CONFIG_MAPS, &fallback).await.body["kind"],
        "ConfigMapList"
    );
}

#[tokio::test]
async fn verbs_that_do_not_go_with_a_path_are_refused() {
    let api = Api::cloud();
    api.config_map("a", "x");
    let post = api
        .json("POST", &format!("{CONFIG_MAPS}/a"), &Value::Null)
        .await;
    assert_eq!(post.code, 405);
    let answer = api
        .get("/apis/apps/v1/namespaces/default/deployments/x/scale")
        .await;
    assert_eq!(answer.code, 404);
    assert_eq!(
        api.get("/api/v1/namespaces/default/pods/x/log").await.code,
        501
    );
}
