use std::sync::Arc;
use std::time::Duration;

use causeway_log::{Key, NodeName, Op};
use serde_json::json;

use super::api::FakeApi;
use super::site::{Site, n1, path};
use crate::kube::writeback::call::Identity;
use crate::rig;

const PODS: usize = 20;
const REPORTS: usize = 10;

fn said(api: &FakeApi, pod: &Key) -> Option<u64> {
    api.get(&path(pod))?["status"]["observedGeneration"].as_u64()
}

/// Calls of `n1` hang while it reports on, and take seconds each after that.
#[tokio::test(start_paused = true)]
async fn a_slow_api_server_costs_one_call_a_status_drops_nothing_and_stalls_no_other_node() {
    let mut site = Site::new().await;
    let api = Arc::clone(&site.api);
    let n2 = NodeName::new("n2").unwrap();
    let labels = json!({"metadata": {"labels": {"node-role.kubernetes.io/edge": ""}}});
    site.put(&rig::key("nodes", "", "n2"), "Node", labels).await;
    let other = site.pod_on(&n2, "other").await;
    let mut pods = Vec::new();
    for number in 0..PODS {
        pods.push(site.pod(&format!("p{number}")).await);
    }
    api.hold(Identity::Node(n1()));
    site.start();
    for report in 0..REPORTS {
        let mut drafts = Vec::new();
        for pod in &pods {
            let status = json!({"observedGeneration": report});
            drafts.push(site.draft(pod, Op::Status, &status));
        }
        let event = json!({"reason": "Slow", "involvedObject": {"kind": "Node", "name": "n1"}});
        let fact = rig::key("events", "default", &format!("e{report}"));
        drafts.push(site.draft(&fact, Op::Fact, &event));
        site.send(drafts).await;
    }
    let report = site.draft(&other, Op::Status, &json!({"observedGeneration": 7}));
    site.send_from(&n2, vec![report]).await;
    api.until(|api| (said(api, &other) == Some(7)).then_some(()))
        .await;
    let answered = pods.iter().filter(|pod| said(&api, pod).is_some());
    assert_eq!(
        answered.count(),
        0,
        "the other node did not wait for this one"
    );

    api.release(Duration::from_secs(5));
    site.settled().await;
    let newest = Some(REPORTS as u64 - 1);
    assert!(pods.iter().all(|pod| said(&api, pod) == newest));
    assert_eq!(api.count("/api/v1/namespaces/default/events"), REPORTS);
    let statuses = api.calls().into_iter();
    let statuses = statuses.filter(|call| call.resource == "pods/status");
    // One was under way for some, and the newest follows for each.
    assert!(statuses.count() <= 1 + 2 * PODS, "statuses are coalesced");
}
