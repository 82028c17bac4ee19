use causeway_log::{Key, Op, Resource, Uid};
use serde_json::{Value, json};
use uuid::Uuid;

use super::api::Fault;
use super::site::Site;
use crate::kube::writeback::call::Method;
use crate::rig;

const EVENTS: &str = "/api/v1/namespaces/default/events";

fn told(pod: &Key, count: u64) -> Value {
    json!({"reason": "BackOff", "count": count,
        "lastTimestamp": format!("2026-01-01T00:00:{count:02}Z"),
        "involvedObject": {"kind": "Pod", "name": &*pod.name, "namespace": "default",
            "uid": pod.uid.to_string()}})
}

fn place(fact: &Key, pod: &Key) -> String {
    let uid = fact.uid.to_string().replace('-', "");
    format!("{EVENTS}/{}.{uid}", pod.name)
}

#[tokio::test(start_paused = true)]
async fn what_happens_again_is_counted_in_one_event_through_crashes_and_lost_answers() {
    let mut site = Site::new().await;
    let pod = site.pod("a").await;
    let fact = rig::key("events", "default", "e");
    for count in [1, 2, 4, 8] {
        let draft = site.draft(&fact, Op::Fact, &told(&pod, count));
        site.send(vec![draft]).await;
    }
    // Each answer is lost once, and nothing is behind the cursor when the power goes.
    site.api
        .script((0..10).flat_map(|_| [Some(Fault::Lost), None]));
    site.start();
    let api = std::sync::Arc::clone(&site.api);
    api.until(|api| (api.calls().len() >= 4).then_some(()))
        .await;
    for _ in 0..2 {
        site = site.crash().await;
        site.start();
        site.settled().await;
        assert_eq!(site.api.count(EVENTS), 1);
        assert_eq!(site.api.get(&place(&fact, &pod)).unwrap()["count"], 8);
    }
    let reads = site.api.calls().into_iter();
    let reads = reads.filter(|call| call.method == Method::Get && call.resource == "events");
    assert_eq!(reads.count(), 0, "nodes may not read Events");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_server_forgot_is_told_of_again() {
    let mut site = Site::new().await;
    let pod = site.pod("a").await;
    let fact = rig::key("events", "default", "e");
    site.start();
    let draft = site.draft(&fact, Op::Fact, &told(&pod, 1));
    site.send(vec![draft]).await;
    site.settled().await;
    site.api.remove(&place(&fact, &pod));
    let draft = site.draft(&fact, Op::Fact, &told(&pod, 2));
    site.send(vec![draft]).await;
    site.settled().await;
    assert_eq!(site.api.get(&place(&fact, &pod)).unwrap()["count"], 2);
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_event_is_left_alone() {
    let mut site = Site::new().await;
    let pod = site.pod("a").await;
    let fact = rig::key("events", "default", "e");
    let foreign = json!({"metadata": {}, "source": {"host": "n2"}, "count": 1});
    site.api.put(&place(&fact, &pod), foreign);
    site.start();
    let draft = site.draft(&fact, Op::Fact, &told(&pod, 2));
    site.send(vec![draft]).await;
    site.settled().await;
    assert_eq!(site.api.get(&place(&fact, &pod)).unwrap()["count"], 1);
}

#[tokio::test(start_paused = true)]
async fn both_dialects_of_events_arrive() {
    let mut site = Site::new().await;
    let resource = Resource::new("events.k8s.io", "events");
    let uid = Uid::Uuid(Uuid::from_u128(5));
    let fact = Key::new(resource, "default", "heat", uid).unwrap();
    site.start();
    let event = json!({"regarding": {"kind": "Node", "name": "n1"}, "note": "hot",
        "reason": "Heat", "eventTime": "2026-01-01T00:00:00.000000Z"});
    let draft = site.draft(&fact, Op::Fact, &event);
    site.send(vec![draft]).await;
    site.settled().await;
    let event = site.api.get(&format!("{EVENTS}/n1.{:032x}", 5)).unwrap();
    assert_eq!(
        (&event["message"], &event["action"]),
        (&json!("hot"), &json!("Heat"))
    );
}
