//! The commands against a running system: data on stdout, talk on stderr, exit codes.

use std::process::{Command, Output};

use causeway_simulator::proxy::CutMode;
use serde_json::{Value, json};

use crate::world::*;

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_tell_the_story_of_an_edit() {
    let mut world = World::start().await;
    let cloud = world.cloud.http();
    create(&cloud, CONFIG_MAPS, &config_map("settings", "first")).await;
    let script = "while true; do sleep 1; done";
    create(&cloud, PODS, &pod("web", "edge-1", script, &["settings"])).await;
    let local = world.edge().http();
    let path = format!("{CONFIG_MAPS}/settings");
    let first = seen(&local, &path, "it arrived", |map| {
        map["data"]["text"] == "first"
    })
    .await;
    cloud
        .merge_patch(&path, &json!({"data": {"text": "second"}}))
        .await
        .unwrap();
    seen(&local, &path, "the edit", |map| {
        map["data"]["text"] == "second"
    })
    .await;
    world.converged().await;

    let log = world.causeway(&["log", "edge-1"]);
    assert_eq!(code(&log), 0, "{log:?}");
    assert_eq!(
        stdout(&log).matches("default/configmaps/settings").count(),
        2,
        "{}",
        stdout(&log)
    );
    let log = world.causeway(&["log", "edge-1", "--json", "--stream=down", "--bodies"]);
    let records: Vec<Value> = stdout(&log)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        records
            .iter()
            .any(|record| record["body"]["data"]["text"] == "first")
    );

    let now = world.causeway(&["get", "cm", "settings", "--node=edge-1", "-o", "json"]);
    let now: Value = serde_json::from_str(&stdout(&now)).unwrap();
    assert_eq!(now["data"]["text"], "second");
    let revision = first["metadata"]["resourceVersion"].as_str().unwrap();
    let arguments = [
        "get",
        "cm",
        "settings",
        "--node=edge-1",
        "-o",
        "json",
        "--at",
        revision,
    ];
    let then = world.causeway(&arguments);
    assert_eq!(code(&then), 0, "{then:?}");
    let then: Value = serde_json::from_str(&stdout(&then)).unwrap();
    assert_eq!(then["data"]["text"], "first", "what it saw then");

    let status = world.causeway(&["status", "--json"]);
    assert_eq!(code(&status), 0);
    let status: Value = serde_json::from_str(&stdout(&status)).unwrap();
    assert_eq!(status["cloud"]["nodes"][0]["connected"], true, "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_difference_is_found_named_and_has_a_code_of_its_own() {
    let mut world = World::start().await;
    let cloud = world.cloud.http();
    create(&cloud, CONFIG_MAPS, &config_map("settings", "first")).await;
    create(
        &cloud,
        PODS,
        &pod(
            "web",
            "edge-1",
            "while true; do sleep 1; done",
            &["settings"],
        ),
    )
    .await;
    world.converged().await;
    let digest = world.causeway(&["digest", "edge-1", "--wait=20s"]);
    assert_eq!(code(&digest), 0, "{digest:?}");
    assert!(
        stdout(&digest).contains("edge-1 down  equal"),
        "{}",
        stdout(&digest)
    );
    world.edge().link.cut(CutMode::Silent);
    let path = format!("{CONFIG_MAPS}/settings");
    cloud
        .merge_patch(&path, &json!({"data": {"text": "second"}}))
        .await
        .unwrap();
    let digest = world.causeway(&["digest", "edge-1"]);
    assert_eq!(code(&digest), 2, "{digest:?}");
    assert!(
        stdout(&digest).contains("default/configmaps/settings"),
        "{}",
        stdout(&digest)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_twin_is_shown_with_both_sides_and_both_ends() {
    let mut world = World::start().await;
    let cloud = world.cloud.http();
    let api = "/apis/devices.kubeedge.io/v1beta1/namespaces/default";
    let model = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "DeviceModel",
        "metadata": {"name": "room", "namespace": "default"},
        "spec": {"properties": [{"name": "target", "type": "INT", "accessMode": "ReadWrite"}]},
    });
    create(&cloud, &format!("{api}/devicemodels"), &model).await;
    let device = json!({
        "apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device",
        "metadata": {
            "name": "oven", "namespace": "default",
            "annotations": {"causeway.dev/history": "target=all"},
        },
        "spec": {
            "nodeName": "edge-1",
            "deviceModelRef": {"name": "room"},
            "properties": [{"name": "target", "desired": {"value": "200"}}],
        },
    });
    create(&cloud, &format!("{api}/devices"), &device).await;
    let path = "/causeway/v1/nodes/edge-1/twins/default/oven";
    seen(&world.edge().http(), path, "what is desired", |twin| {
        twin["properties"][0]["desired"]["value"] == "200" && twin["modelIsHere"] == true
    })
    .await;
    world.converged().await;

    let list = world.causeway(&["twin", "edge-1"]);
    assert_eq!(code(&list), 0, "{list:?}");
    assert!(stdout(&list).contains("oven"), "{}", stdout(&list));
    let twin = world.causeway(&["twin", "edge-1", "oven"]);
    assert_eq!(code(&twin), 0, "{twin:?}");
    let shown = stdout(&twin);
    assert!(shown.contains("equal at cloud and edge"), "{shown}");
    assert!(shown.contains("target") && shown.contains("200"), "{shown}");
    let twin = world.causeway(&["twin", "edge-1", "default/oven", "--at=cloud", "--json"]);
    let twin: Value = serde_json::from_str(&stdout(&twin)).unwrap();
    assert_eq!(twin["digests"]["cloud"], twin["digests"]["edge"]);
    assert_eq!(twin["properties"][0]["history"], "all");
    let history = ["twin", "edge-1", "oven", "--history=target", "--since=1h"];
    let none = world.causeway(&history);
    assert_eq!((code(&none), stdout(&none)), (0, String::new()));
    let csv = world.causeway(&[&history[..], &["--csv"]].concat());
    assert_eq!(stdout(&csv), "time,value,dropped\n");
    for (arguments, expected) in [
        (&["twin", "edge-1", "fridge"][..], 1),
        (&["twin", "edge-1", "oven", "--history=door"], 1),
        (&["twin", "edge-1", "a/b/c"], 64),
        (
            &["twin", "edge-1", "oven", "--history=target", "--since=soon"],
            64,
        ),
        (&["twin", "edge-1", "--history=target"], 64),
    ] {
        assert_eq!(code(&world.causeway(arguments)), expected, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_exist_is_an_error_with_a_code() {
    let world = World::start().await;
    let none = world.causeway(&["get", "pods", "none", "--node=edge-1"]);
    assert_eq!(code(&none), 1, "{none:?}");
    assert!(none.stdout.is_empty() || !stdout(&none).contains("none"));
    let unknown = world.causeway(&["get", "unicorns", "--node=edge-1"]);
    assert_eq!(code(&unknown), 64, "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_is_reached_over_tcp_by_whoever_has_its_token() {
    let mut world = World::start().await;
    let edge = world.edge();
    edge.serving().await;
    let (address, dir) = (format!("--edge={}", edge.api), edge.dir.clone());
    let run = |more: &[&str]| {
        let get = ["get", "nodes", "edge-1", "--node=edge-1", "-o", "json"];
        let command = Command::new(CAUSEWAY)
            .args(get)
            .arg(&address)
            .args(more)
            .output();
        command.unwrap()
    };
    let none = run(&[]);
    assert_eq!(code(&none), 1, "{none:?}");
    let told = String::from_utf8_lossy(&none.stderr);
    assert!(
        told.contains("Unauthorized") && told.contains("--token-file"),
        "{told}"
    );
    let file = |name: &str| format!("--token-file={}", dir.join(name).display());
    let node = run(&[&file("api-token")]);
    assert_eq!(code(&node), 0, "{node:?}");
    let node: Value = serde_json::from_str(&stdout(&node)).unwrap();
    assert_eq!(node["metadata"]["name"], "edge-1");
    for (text, expected) in [("", 64), ("two words", 64), ("x", 1)] {
        std::fs::write(dir.join("wrong"), text).unwrap();
        let wrong = run(&[&file("wrong")]);
        assert_eq!(code(&wrong), expected, "{text:?}: {wrong:?}");
        assert!(wrong.stdout.is_empty());
    }
    assert_eq!(code(&run(&[&file("missing")])), 1);
}

#[test]
fn exit_codes_say_what_kind_of_problem_it_is() {
    let run = |arguments: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new(CAUSEWAY)
            .args(arguments)
            .current_dir(dir.path())
            .output();
        code(&output.unwrap())
    };
    assert_eq!(run(&["--help"]), 0);
    assert_eq!(run(&["completions", "bash"]), 0);
    assert_eq!(run(&["no-such-command"]), 64);
    assert_eq!(run(&["link", "slow", "edge-1", "--rate=fast"]), 64);
    assert_eq!(run(&["status"]), 69, "nothing runs in that directory");
    assert_eq!(run(&["status", "--cloud=127.0.0.1:1"]), 69);
    assert_eq!(
        run(&["cloud", "--config=missing.toml", "--check-config"]),
        78
    );
}
