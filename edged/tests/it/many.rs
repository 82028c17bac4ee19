//! Many pods on one node: what a pod costs does not depend on how many others there are. Counted,
//! not timed.

use std::sync::Arc;

use crate::fake_api::FakeApi;
use crate::memory::MemoryRuntime;
use crate::pods::{Edged, pod, state, status};

/// So many that work for each pair of pods would be seen.
const PODS: u64 = 300;
/// What one pod may cost on its way to `Running`: looks at its sandbox or at its container, of which
/// there are two for each thing that happens to it (seen, made, told, shown again).
const LOOKS_PER_POD_MAX: u64 = 60;

fn name(number: u64) -> String {
    format!("pod-{number}")
}

async fn all_running(api: &FakeApi, runtime: &Arc<MemoryRuntime>, dir: &std::path::Path) -> Edged {
    for number in 0..PODS {
        api.put("pods", pod(&name(number), "true"));
    }
    let edged = Edged::start_on(api, dir, Arc::clone(runtime) as _, |_| {});
    api.until("all pods run", |api| {
        let all = api.all("pods", |pod| pod["status"]["phase"] == "Running");
        all.then_some(())
    })
    .await;
    edged
}

#[tokio::test]
async fn a_pod_costs_the_same_however_many_come_with_it() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let runtime = Arc::new(MemoryRuntime::default());
    let before = api.writes();
    let edged = all_running(&api, &runtime, dir.path()).await;
    let looks = runtime.listed();
    assert!(looks < PODS * LOOKS_PER_POD_MAX, "{looks} looks");
    // Its status, at most when it is first seen, when it is made and when it runs, and two events;
    // what the node writes does not count.
    let writes = api.writes() - before - PODS;
    assert!(writes < PODS * 6, "{writes} writes");
    edged.stop().await;
}

#[tokio::test]
async fn a_change_of_one_pod_costs_nothing_for_the_others() {
    let (api, dir) = (FakeApi::new(), tempfile::tempdir().unwrap());
    let runtime = Arc::new(MemoryRuntime::default());
    let edged = all_running(&api, &runtime, dir.path()).await;
    let mut looks = Vec::new();
    // The first may count what the others still had to say.
    for number in 0..5 {
        let name = name(number);
        let before = runtime.listed();
        let uid = api.get("pods", "default", &name).unwrap()["metadata"]["uid"].clone();
        runtime.end(uid.as_str().unwrap());
        api.until("it was started again", |api| {
            let pod = status(api, &name)?;
            let runs = state(&pod, "state").get("running").is_some();
            (runs && *state(&pod, "restartCount") == 1).then_some(())
        })
        .await;
        looks.push(runtime.listed() - before);
    }
    let least = *looks.iter().min().unwrap();
    assert!(least < LOOKS_PER_POD_MAX, "{looks:?} looks");
    edged.stop().await;
}
