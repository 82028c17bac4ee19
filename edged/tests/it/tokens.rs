//! Service account tokens: they come after their pod, are renewed under it, and are never given up.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::fake_api::FakeApi;
use crate::harness::{Leftovers, eventually};
use crate::pods::{Edged, SERVICE, pod, process, running, state, status};

/// A pod as a cluster makes them: with the volume that admission adds.
fn with_token(name: &str) -> Value {
    let mut object = pod(name, SERVICE);
    object["spec"]["volumes"] = json!([{"name": "kube-api-access-x", "projected": {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt",
                "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ],
    }}]);
    object["spec"]["containers"][0]["volumeMounts"] = json!([{
        "name": "kube-api-access-x", "readOnly": true,
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    }]);
    object
}

fn root_certificate() -> Value {
    json!({
        "metadata": {"namespace": "default", "name": "kube-root-ca.crt"},
        "data": {"ca.crt": "the root"},
    })
}

/// The object that brings the token of [`with_token`].
fn token(uid: &str, text: &str) -> Value {
    json!({
        "metadata": {"namespace": "default", "name": format!("{uid}.kube-api-access-x.0")},
        "spec": {"podUid": uid, "volume": "kube-api-access-x", "source": 0},
        "token": text,
        // Long past: that is no reason to refuse it.
        "expiresAt": "2001-01-01T00:00:00Z",
    })
}

fn uid(api: &FakeApi, name: &str) -> String {
    let pod = api.get("pods", "default", name).unwrap();
    pod["metadata"]["uid"].as_str().unwrap().to_owned()
}

fn secrets(dir: &Path, uid: &str) -> PathBuf {
    dir.join("volumes").join(uid).join("kube-api-access-x")
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn a_pod_waits_for_its_token_and_has_certificate_and_namespace_beside_it() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let edged = Edged::start(&api, dir.path());
    api.put("configmaps", root_certificate());
    api.put("pods", with_token("web"));
    let why = api
        .until("the reason", |api| {
            let status = status(api, "web")?;
            let waiting = state(&status, "state")["waiting"].clone();
            waiting["message"].is_string().then_some(waiting)
        })
        .await;
    assert_eq!(why["reason"], "ContainerCreating");
    assert!(why["message"].as_str().unwrap().contains("token"), "{why}");
    let uid = uid(&api, "web");
    api.put("serviceaccounttokens", token(&uid, "first"));
    running(&api, "web").await;
    let secrets = secrets(dir.path(), &uid);
    for (file, content) in [
        ("token", "first"),
        ("ca.crt", "the root"),
        ("namespace", "default"),
    ] {
        assert_eq!(read(secrets.join(file)), content, "{file}");
    }
    // The container runs as edged does: nobody else need read it.
    let mode = std::fs::metadata(secrets.join("token")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    // To wait for what is on its way is no event.
    let told = api.events();
    assert!(told.iter().all(|(why, _)| why != "FailedMount"), "{told:?}");
    edged.stop().await;
}

#[tokio::test]
async fn a_renewed_token_reaches_the_files_and_restarts_nothing() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let edged = Edged::start(&api, dir.path());
    api.put("configmaps", root_certificate());
    api.put("pods", with_token("web"));
    let uid = uid(&api, "web");
    api.put("serviceaccounttokens", token(&uid, "first"));
    running(&api, "web").await;
    let before = process(dir.path(), &api, "web");
    let secrets = secrets(dir.path(), &uid);
    let shown = std::fs::read_link(secrets.join("..data")).unwrap();
    api.put("serviceaccounttokens", token(&uid, "second"));
    eventually("the renewed token", || {
        (read(secrets.join("token")) == "second").then_some(())
    })
    .await;
    // All files of the volume changed at one moment, by this link.
    assert_ne!(std::fs::read_link(secrets.join("..data")).unwrap(), shown);
    assert_eq!(process(dir.path(), &api, "web"), before);
    let status = status(&api, "web").unwrap();
    assert_eq!(status["containerStatuses"][0]["restartCount"], 0);
    edged.stop().await;
}

#[tokio::test]
async fn the_last_token_outlives_its_object_as_long_as_its_pod_is_there() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let edged = Edged::start(&api, dir.path());
    api.put("configmaps", root_certificate());
    api.put("pods", with_token("web"));
    let uid = uid(&api, "web");
    let name = format!("{uid}.kube-api-access-x.0");
    api.put("serviceaccounttokens", token(&uid, "last"));
    running(&api, "web").await;
    api.forget("serviceaccounttokens", "default", &name);
    // Another change of the volume, to know that the loss has been looked at.
    let mut renewed = root_certificate();
    renewed["data"]["ca.crt"] = "another root".into();
    api.put("configmaps", renewed);
    let secrets = secrets(dir.path(), &uid);
    eventually("the other file", || {
        (read(secrets.join("ca.crt")) == "another root").then_some(())
    })
    .await;
    assert_eq!(read(secrets.join("token")), "last");
    edged.stop().await;
}
