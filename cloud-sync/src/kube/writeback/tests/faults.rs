use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use causeway_log::store::memory::Fault::ReadFails;
use causeway_log::{Key, Op, Uid};
use causeway_projections::{Request, Verb};
use serde_json::{Value, json};

use super::api::{FakeApi, Fault};
use super::site::{Site, n1, path};
use crate::cluster::Seen;
use crate::interest::Name;
use crate::kube::writeback::call::{Call, Method};
use crate::kube::writeback::stats::WriteStats;
use crate::rig;

const EVENTS: &str = "/api/v1/namespaces/default/events";

fn phase(api: &FakeApi, key: &Key) -> Option<String> {
    Some(api.get(&path(key))?["status"]["phase"].as_str()?.to_owned())
}

fn says(code: u16, reason: &'static str) -> Fault {
    Fault::Says(code, reason, "trouble".to_owned())
}

fn event_of(pod: &Key) -> Value {
    json!({"reason": "Started", "involvedObject": {"kind": "Pod", "name": &*pod.name,
        "namespace": "default", "uid": pod.uid.to_string()}})
}

fn request(verb: Verb, object: Value) -> Value {
    let request = Request {
        verb,
        object: Some(object),
        base: None,
        uid: Uid::None,
        follows: None,
        grace_period_seconds: None,
    };
    serde_json::from_slice(&request.encode()).unwrap()
}

fn is_status(call: &Call) -> bool {
    call.resource == "pods/status"
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_every_kind_slows_and_drops_nothing() {
    for fault in [
        Fault::Down,
        says(429, "TooManyRequests"),
        says(500, "InternalError"),
        says(503, ""),
        Fault::Lost,
    ] {
        let mut site = Site::new().await;
        let pods = [site.pod("a").await, site.pod("b").await];
        site.start();
        site.api.script(std::iter::repeat_n(Some(fault), 12));
        for pod in &pods {
            site.report(pod, "Pending").await;
            site.report(pod, "Running").await;
            let draft = site.draft(
                &rig::key("events", "default", "e"),
                Op::Fact,
                &event_of(pod),
            );
            site.send(vec![draft]).await;
        }
        site.settled().await;
        for pod in &pods {
            assert_eq!(phase(&site.api, pod).as_deref(), Some("Running"));
        }
        let events = site.api.count("/api/v1/namespaces/default/events");
        assert_eq!(events, 2, "each once, though asked for again");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_behind_the_cursor_is_done_again_after_a_crash() {
    let mut site = Site::new().await;
    let pod = site.pod("a").await;
    let made = rig::key("configmaps", "default", "menu");
    let object = rig::object(&made, "ConfigMap", json!({"data": {"soup": "pea"}}));
    let create = site.draft(&made, Op::Apply, &request(Verb::Create, object));
    let event = site.draft(
        &rig::key("events", "default", "e"),
        Op::Fact,
        &event_of(&pod),
    );
    site.send(vec![create, event]).await;
    site.report(&pod, "Running").await;
    // Everything is carried out, but nobody hears of it before the power goes.
    site.api.rule(|_| Some(Fault::Lost));
    site.start();
    let configmaps = "/api/v1/namespaces/default/configmaps";
    let api = Arc::clone(&site.api);
    api.until(|api| (api.calls().len() >= 3).then_some(()))
        .await;
    for _ in 0..3 {
        site = site.crash().await;
        site.api.rule(|_| None);
        site.start();
        site.settled().await;
    }
    assert_eq!(site.api.count(configmaps), 1);
    assert_eq!(site.api.count("/api/v1/namespaces/default/events"), 1);
    assert_eq!(phase(&site.api, &pod).as_deref(), Some("Running"));
    // The life that the edge gave it is over; the answer is there, once.
    assert_eq!(site.answers(&made), (1, Some(Op::Apply)));
    let object = site.api.get(&format!("{configmaps}/menu")).unwrap();
    let uid = Uid::parse(object["metadata"]["uid"].as_str().unwrap());
    let life = Key { uid, ..made };
    let (_, sent) = site
        .sent_object(&life)
        .expect("the node holds what it made");
    assert_eq!(sent["data"], json!({"soup": "pea"}));
}

#[tokio::test(start_paused = true)]
async fn a_status_of_a_life_that_is_over_never_reaches_the_next_one() {
    let mut site = Site::new().await;
    let old = site.pod("till").await;
    // The pod is made anew under the same name, and this service has not seen it yet.
    let new = Key {
        uid: Uid::parse("another-life"),
        ..old.clone()
    };
    site.api.put(
        &path(&new),
        rig::object(&new, "Pod", json!({"spec": {"nodeName": "n1"}})),
    );
    site.report(&old, "Failed").await;
    site.start();
    site.settled().await;
    assert_eq!(phase(&site.api, &new), None);
    assert!(site.api.calls().iter().any(is_status), "it was tried");
    let stale = WriteStats::get(
        &site.stats.records,
        ("class", "pod-status"),
        ("outcome", "stale"),
    );
    assert_eq!(stale, 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_pod_names_its_life_and_leaves_the_next_one_alone() {
    let mut site = Site::new().await;
    let pod = site.pod("till").await;
    let ending = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"nodeName": "n1"}});
    site.put(&pod, "Pod", ending.clone()).await;
    let end = site.draft(&pod, Op::Delete, &Value::Null);
    site.send(vec![end]).await;
    site.start();
    site.settled().await;
    assert_eq!(site.api.get(&path(&pod)), None);
    let delete = site
        .api
        .calls()
        .into_iter()
        .find(|call| call.method == Method::Delete);
    let options = delete
        .and_then(|call| call.body)
        .expect("a delete with options");
    assert_eq!(options["gracePeriodSeconds"], 0);
    assert_eq!(options["preconditions"]["uid"], pod.uid.to_string());

    let other = site.pod("other").await;
    site.put(&other, "Pod", ending).await;
    let next = Key {
        uid: Uid::parse("another-life"),
        ..other.clone()
    };
    site.api
        .put(&path(&next), rig::object(&next, "Pod", json!({})));
    let end = site.draft(&other, Op::Delete, &Value::Null);
    site.send(vec![end]).await;
    site.settled().await;
    assert!(site.api.get(&path(&next)).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_was_deleted_by_force_holds_nothing_up() {
    let mut site = Site::new().await;
    let (gone, stays) = (site.pod("gone").await, site.pod("stays").await);
    site.api.remove(&path(&gone));
    site.report(&gone, "Running").await;
    site.see(vec![Seen::Gone { key: gone.clone() }]).await;
    let end = site.draft(&gone, Op::Delete, &Value::Null);
    site.send(vec![end]).await;
    site.report(&stays, "Running").await;
    site.start();
    site.settled().await;
    assert_eq!(phase(&site.api, &stays).as_deref(), Some("Running"));
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_is_named_and_the_rest_goes_on() {
    let mut site = Site::new().await;
    let pod = site.pod("a").await;
    site.api.rule(|call| {
        let message = "pods \"a\" is forbidden: User \"system:node:n1\" cannot patch resource \"pods/status\" in API group \"\"";
        is_status(call).then(|| Fault::Says(403, "Forbidden", message.to_owned()))
    });
    site.report(&pod, "Running").await;
    let draft = site.draft(
        &rig::key("events", "default", "e"),
        Op::Fact,
        &event_of(&pod),
    );
    site.send(vec![draft]).await;
    site.start();
    let api = Arc::clone(&site.api);
    api.until(|api| (api.count("/api/v1/namespaces/default/events") == 1).then_some(()))
        .await;
    site.settled().await;
    let tried = api.calls().iter().filter(|call| is_status(call)).count();
    assert_eq!(
        tried, 6,
        "rights may come late, but nothing waits for them for ever"
    );
    let denied = WriteStats::get(
        &site.stats.retries,
        ("part", "pod-status"),
        ("why", "denied"),
    );
    let refused = WriteStats::get(
        &site.stats.refused,
        ("part", "pod-status"),
        ("resource", "pods"),
    );
    assert_eq!((denied, refused), (6, 1));
}

#[tokio::test(start_paused = true)]
async fn without_the_right_to_impersonate_everything_waits() {
    let mut site = Site::new().await;
    let pod = site.pod("a").await;
    let broken = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&broken);
    site.api.rule(move |_| {
        let message = "users \"system:node:n1\" is forbidden: User \"cloud\" cannot impersonate resource \"users\"";
        let broken = state.load(Ordering::Relaxed);
        broken.then(|| Fault::Says(403, "Forbidden", message.to_owned()))
    });
    site.report(&pod, "Running").await;
    site.start();
    let api = Arc::clone(&site.api);
    api.until(|api| (api.calls().len() > 20).then_some(()))
        .await;
    assert_eq!(phase(&api, &pod), None);
    broken.store(false, Ordering::Relaxed);
    site.settled().await;
    assert_eq!(phase(&api, &pod).as_deref(), Some("Running"));
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_written_is_passed_over_and_counted() {
    let mut site = Site::new().await;
    let (bad, good) = (site.pod("bad").await, site.pod("good").await);
    site.api.rule(|call| {
        let bad = is_status(call) && call.path.contains("/bad/");
        bad.then(|| says(422, "Invalid"))
    });
    site.report(&bad, "Running").await;
    site.report(&good, "Running").await;
    site.start();
    site.settled().await;
    assert_eq!(phase(&site.api, &good).as_deref(), Some("Running"));
    let refused = WriteStats::get(
        &site.stats.refused,
        ("part", "pod-status"),
        ("resource", "pods"),
    );
    assert_eq!(refused, 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_deleted_joins_again() {
    let mut site = Site::new().await;
    site.start();
    let own = |life: &str| Key {
        uid: Uid::parse(life),
        ..rig::key("nodes", "", "n1")
    };
    for (life, soup) in [("first", "pea"), ("second", "leek")] {
        site.api.remove("/api/v1/nodes/n1");
        let node = rig::object(
            &own(life),
            "Node",
            json!({"metadata": {"labels": {"soup": soup, "k8s.io/no": ""}}}),
        );
        let join = site.draft(&own(life), Op::Apply, &request(Verb::Create, node));
        let status = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let report = site.draft(&own(life), Op::Status, &status);
        site.send(vec![join, report]).await;
        site.settled().await;
        let node = site.api.get("/api/v1/nodes/n1").expect("it has joined");
        let labels = json!({"soup": soup, "node-role.kubernetes.io/edge": ""});
        assert_eq!(node["metadata"]["labels"], labels);
        assert_eq!(node["status"]["conditions"][0]["status"], "True");
        assert_eq!(site.answers(&own(life)), (1, Some(Op::Apply)));
    }
    let created = site
        .api
        .calls()
        .into_iter()
        .filter(|call| call.method == Method::Post);
    assert!(
        created
            .into_iter()
            .all(|call| call.identity == crate::kube::writeback::Identity::Node(n1()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_is_told_to_the_node_in_the_servers_words() {
    let mut site = Site::new().await;
    site.api.rule(|call| (call.resource == "configmaps").then(|| {
        let message = "configmaps is forbidden: User \"system:node:n1\" cannot create resource \"configmaps\"";
        Fault::Says(403, "Forbidden", message.to_owned())
    }));
    let made = rig::key("configmaps", "default", "menu");
    let object = rig::object(&made, "ConfigMap", json!({}));
    let create = site.draft(&made, Op::Apply, &request(Verb::Create, object));
    site.send(vec![create]).await;
    site.start();
    site.settled().await;
    assert_eq!(site.answers(&made), (1, Some(Op::Reject)));
}

#[tokio::test(start_paused = true)]
async fn hostile_records_are_counted_and_reach_nobody() {
    let mut site = Site::new().await;
    let other = Key {
        ..rig::key("pods", "default", "other")
    };
    site.put(&other, "Pod", json!({"spec": {"nodeName": "n2"}}))
        .await;
    let own = site.pod("own").await;
    let drafts = [
        (other.clone(), Op::Status, json!({"phase": "Failed"})),
        (own.clone(), Op::Delete, Value::Null),
        (own.clone(), Op::Status, json!("no status")),
        (
            rig::key("nodes", "", "n2"),
            Op::Status,
            json!({"conditions": []}),
        ),
        (
            rig::key("configmaps", "default", "x"),
            Op::Status,
            json!({}),
        ),
        (
            rig::key("events", "default", "e"),
            Op::Fact,
            json!({"involvedObject": {"kind": "Secret"}}),
        ),
        (rig::key("secrets", "default", "s"), Op::Put, json!({})),
    ];
    let drafts = drafts.map(|(key, op, body)| site.draft(&key, op, &body));
    site.send(drafts.into()).await;
    site.start();
    site.settled().await;
    let written = site
        .api
        .calls()
        .into_iter()
        .filter(|call| call.method != Method::Get);
    assert_eq!(written.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_others_changed_while_a_node_was_away_is_said_again() {
    let mut site = Site::new().await;
    let pod = site.pod("a").await;
    let node = rig::key("nodes", "", "n1");
    let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    let report = site.draft(&node, Op::Status, &ready);
    site.send(vec![report]).await;
    site.report(&pod, "Running").await;
    site.start();
    site.settled().await;
    // The node controller has not heard of the node for a while.
    let mut unknown = site.api.get("/api/v1/nodes/n1").unwrap();
    unknown["status"]["conditions"][0]["status"] = json!("Unknown");
    site.api.put("/api/v1/nodes/n1", unknown);
    let _seat = site.connect(&n1());
    let is_ready = |api: &FakeApi| {
        let node = api.get("/api/v1/nodes/n1")?;
        (node["status"]["conditions"][0]["status"] == "True").then_some(())
    };
    site.api.until(is_ready).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_not_taken_for_absent() {
    for one_in in 1..=5 {
        let mut site = Site::new().await;
        let pod = site.pod("a").await;
        // Only what the node was sent tells that the pod was its own.
        site.see(vec![Seen::Absent {
            name: Name::of(&pod),
        }])
        .await;
        let facts: Vec<Key> = (0..8)
            .map(|number| rig::key("events", "default", &format!("e{number}")))
            .collect();
        for fact in &facts {
            let draft = site.draft(fact, Op::Fact, &event_of(&pod));
            site.send(vec![draft]).await;
        }
        site.disk.set_fault(ReadFails { one_in });
        site.start();
        while site.disk.failed_reads() < 8 {
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        site.disk.heal();
        site.settled().await;
        assert_eq!(
            site.api.count(EVENTS),
            facts.len(),
            "one read in {one_in} fails"
        );
    }
}
