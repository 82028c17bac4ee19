//! Lives of pods and of the node: what edged goes by is the uid, whatever happened to names while
//! it could not look.

use serde_json::{Value, json};

use crate::fake_api::FakeApi;
use crate::harness::{Leftovers, eventually, is_alive};
use crate::pods::{Edged, SERVICE, pod, process, running, status};

#[tokio::test]
async fn a_pod_forced_away_and_made_again_during_a_cut_is_another_pod_after_it() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let edged = Edged::start(&api, dir.path());
    api.put("pods", pod("web", SERVICE));
    api.put("pods", pod("other", SERVICE));
    running(&api, "web").await;
    running(&api, "other").await;
    let (old, other) = (
        process(dir.path(), &api, "web"),
        process(dir.path(), &api, "other"),
    );
    api.shut(true);
    api.forget("pods", "default", "web");
    api.put("pods", pod("web", SERVICE));
    assert!(is_alive(old));
    api.shut(false);
    running(&api, "web").await;
    let new = process(dir.path(), &api, "web");
    assert!(new != old && is_alive(new));
    eventually("the end of the old life", || (!is_alive(old)).then_some(())).await;
    assert_eq!(process(dir.path(), &api, "other"), other);
    let status = status(&api, "other").unwrap();
    assert_eq!(status["containerStatuses"][0]["restartCount"], 0);
    edged.stop().await;
}

#[tokio::test]
async fn an_edged_that_comes_back_to_another_life_of_a_name_ends_the_old_one() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let first = Edged::start(&api, dir.path());
    api.put("pods", pod("web", SERVICE));
    running(&api, "web").await;
    let old = process(dir.path(), &api, "web");
    first.stop().await;
    api.forget("pods", "default", "web");
    api.put("pods", pod("web", SERVICE));
    let second = Edged::start(&api, dir.path());
    running(&api, "web").await;
    eventually("the end of the old life", || (!is_alive(old)).then_some(())).await;
    assert_ne!(process(dir.path(), &api, "web"), old);
    second.stop().await;
}

#[tokio::test]
async fn pods_go_on_through_the_end_and_the_return_of_their_node() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let _leftovers = Leftovers(dir.path());
    let edged = Edged::start(&api, dir.path());
    api.put("pods", pod("web", SERVICE));
    running(&api, "web").await;
    let before = process(dir.path(), &api, "web");
    let node = |api: &FakeApi| api.get("nodes", "", "edge-1");
    let ready = |node: &Value| {
        let conditions = node["status"]["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    api.until("the node", |api| node(api).filter(ready)).await;
    api.forget("nodes", "", "edge-1");
    // As edge-sync registers it again: bare, and another life.
    api.put("nodes", json!({"metadata": {"name": "edge-1"}, "spec": {}}));
    let back = api.until("the node", |api| node(api).filter(ready)).await;
    let labels = &back["metadata"]["labels"];
    assert_eq!(labels["kubernetes.io/hostname"], "edge-1", "{labels}");
    assert_eq!(process(dir.path(), &api, "web"), before);
    let status = status(&api, "web").unwrap();
    assert_eq!(status["containerStatuses"][0]["restartCount"], 0);
    edged.stop().await;
}

#[tokio::test]
async fn labels_that_are_refused_are_not_asked_for_at_every_change() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    api.refuse_labels();
    let edged = Edged::start(&api, dir.path());
    for round in 0..20 {
        // Each time it says how it is, it has seen the change, and that its labels are not there.
        let is_told = |api: &FakeApi| {
            api.get("nodes", "", "edge-1")
                .filter(|node| node["status"]["conditions"].is_array())
        };
        let mut node = api.until("the status of the node", is_told).await;
        node["status"] = json!({"round": round});
        api.put("nodes", node);
    }
    let refused = api.refused_labels();
    // With the registration, and once at each look at the host, of which there are few.
    assert!((2..10).contains(&refused), "asked {refused} times");
    edged.stop().await;
}
