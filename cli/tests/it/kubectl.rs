//! A stock kubectl, with no extra flags, against the cloud and against the edge.
//!
//! Without kubectl these tests pass and say so; `cargo xtask test` reports the tier as skipped, and
//! with CI=true as a failure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use causeway_simulator::http::Http;
use causeway_simulator::proxy::CutMode;
use serde_json::{Value, json};

use crate::world::*;

const SLEEP: &str = "while true; do sleep 1; done";

struct Kubectl {
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Kubectl {
    /// `None` where none is installed.
    fn of(world: &World, api: std::net::SocketAddr) -> Option<Self> {
        if Command::new("kubectl")
            .args(["version", "--client"])
            .output()
            .is_err()
        {
            println!("skipped: kubectl is not installed");
            return None;
        }
        let kubeconfig = world.scratch().join(format!("{}.kubeconfig", api.port()));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: x\n\
             clusters: [{{name: x, cluster: {{server: 'http://{api}'}}}}]\n\
             users: [{{name: x, user: {{}}}}]\n\
             contexts: [{{name: x, context: {{cluster: x, user: x}}}}]\n"
        );
        std::fs::write(&kubeconfig, text).unwrap();
        Some(Self::with(kubeconfig))
    }

    /// With the kubeconfig that an edge writes down for itself.
    fn of_edge(world: &World, edge: &Edge) -> Option<Self> {
        Self::of(world, edge.api).map(|_| Self::with(edge.dir.join("edge.kubeconfig")))
    }

    fn with(kubeconfig: PathBuf) -> Self {
        // A cache of discovery from another server would be believed.
        let home = kubeconfig.with_extension("home");
        std::fs::create_dir_all(&home).unwrap();
        Self { kubeconfig, home }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home);
        command
    }

    /// It must work; gives what it printed.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "kubectl {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_does_its_verbs_against_the_cloud() {
    let world = World::start().await;
    let Some(kubectl) = Kubectl::of(&world, world.cloud.api) else {
        return;
    };
    let manifest = manifest(world.scratch(), "first");
    assert!(
        kubectl
            .ok(&["apply", "-f", &manifest])
            .contains("configmap/settings created")
    );
    assert!(
        kubectl
            .ok(&["apply", "-f", &manifest])
            .contains("unchanged")
    );
    let changed = self::manifest(world.scratch(), "second");
    assert!(
        kubectl
            .ok(&["apply", "-f", &changed])
            .contains("configured")
    );
    assert_eq!(text(&kubectl), "second");
    kubectl.ok(&[
        "patch",
        "configmap",
        "settings",
        "-p",
        r#"{"data":{"text":"third"}}"#,
    ]);
    assert_eq!(text(&kubectl), "third");
    kubectl.ok(&["label", "configmap", "settings", "tide=low"]);
    assert!(
        kubectl
            .ok(&["get", "configmaps", "-l", "tide=low"])
            .contains("settings")
    );
    let edited = kubectl
        .command(&["edit", "configmap", "settings"])
        .env("KUBE_EDITOR", "sed -i s/third/fourth/")
        .output()
        .unwrap();
    assert!(edited.status.success(), "{edited:?}");
    assert_eq!(text(&kubectl), "fourth");
    kubectl.ok(&["delete", "-f", &changed]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_sees_a_pod_run_and_ends_it() {
    let world = World::start().await;
    let Some(kubectl) = Kubectl::of(&world, world.cloud.api) else {
        return;
    };
    create(&world.cloud.http(), PODS, &pod("web", "edge-1", SLEEP, &[])).await;
    eventually("kubectl shows the pod Running", async || {
        let pods = kubectl.ok(&["get", "pods", "-o", "wide"]);
        if pods.contains("Running") && pods.contains("edge-1") {
            Ok(())
        } else {
            Err(pods)
        }
    })
    .await;
    assert!(kubectl.ok(&["describe", "pod", "web"]).contains("Node:"));
    assert!(
        kubectl
            .ok(&["describe", "node", "edge-1"])
            .contains("edge-1")
    );
    assert!(kubectl.ok(&["get", "nodes"]).contains("Ready"));
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]);
    kubectl.ok(&["delete", "pod", "web", "--timeout=60s"]);
    gone(&world.cloud.http(), &format!("{PODS}/web")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_hears_the_truth_about_mistakes() {
    let world = World::cloud_only().await;
    let Some(kubectl) = Kubectl::of(&world, world.cloud.api) else {
        return;
    };
    let missing = kubectl.run(&["get", "pod", "none"]);
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(said.contains("(NotFound)"), "{said}");
    let file = world.scratch().join("bad.yaml");
    std::fs::write(
        &file,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec: {containers: 7}\n",
    )
    .unwrap();
    let refused = kubectl.run(&["apply", "-f", file.to_str().unwrap()]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("containers"), "the field is named: {said}");
    let unicorns = kubectl.run(&["get", "unicorns"]);
    assert!(!unicorns.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_reads_and_writes_at_an_edge_that_is_cut_off() {
    let mut world = World::start().await;
    let cloud = world.cloud.http();
    create(&cloud, CONFIG_MAPS, &config_map("settings", "first")).await;
    create(&cloud, PODS, &pod("web", "edge-1", SLEEP, &["settings"])).await;
    let local = world.edge().http();
    seen(&local, &format!("{PODS}/web"), "Running", |pod| {
        pod["status"]["phase"] == "Running"
    })
    .await;
    let Some(kubectl) = Kubectl::of_edge(&world, &world.edges[0]) else {
        return;
    };
    assert!(kubectl.ok(&["get", "pods"]).contains("Running"));
    world.edge().link.cut(CutMode::Silent);
    assert!(
        kubectl
            .ok(&["get", "pods", "-A", "-o", "wide"])
            .contains("web")
    );
    assert!(kubectl.ok(&["describe", "pod", "web"]).contains("edge-1"));
    assert_eq!(text(&kubectl), "first");
    // A write to a cloud-owned object is a request: shown at once, marked as pending.
    kubectl.ok(&[
        "patch",
        "configmap",
        "settings",
        "-p",
        r#"{"data":{"text":"asked"}}"#,
    ]);
    assert_eq!(text(&kubectl), "asked");
    let pending = kubectl.ok(&["get", "configmap", "settings", "-o", "yaml"]);
    assert!(pending.contains("causeway.dev/pending"), "{pending}");
    world.edge().link.heal();
    let path = format!("{CONFIG_MAPS}/settings");
    seen(&cloud, &path, "the request was accepted", |map| {
        map["data"]["text"] == "asked"
    })
    .await;
    world.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_watches() {
    let world = World::cloud_only().await;
    let Some(kubectl) = Kubectl::of(&world, world.cloud.api) else {
        return;
    };
    let cloud = world.cloud.http();
    create(&cloud, CONFIG_MAPS, &config_map("settings", "first")).await;
    let out = world.scratch().join("watch");
    let mut watch = kubectl
        .command(&["get", "configmaps", "-w", "--output-watch-events"])
        .stdout(std::fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    let shows = async |word: &str| {
        eventually(&format!("the watch shows {word}"), async || {
            let text = std::fs::read_to_string(&out).unwrap();
            if text.contains(word) {
                Ok(())
            } else {
                Err(text)
            }
        })
        .await;
    };
    shows("ADDED").await;
    let path = format!("{CONFIG_MAPS}/settings");
    cloud
        .merge_patch(&path, &serde_json::json!({"data": {"text": "second"}}))
        .await
        .unwrap();
    shows("MODIFIED").await;
    cloud.json(http::Method::DELETE, &path, None).await.unwrap();
    shows("DELETED").await;
    watch.kill().unwrap();
    watch.wait().unwrap();
}

fn text(kubectl: &Kubectl) -> String {
    kubectl.ok(&[
        "get",
        "configmap",
        "settings",
        "-o",
        "jsonpath={.data.text}",
    ])
}

fn manifest(dir: &Path, text: &str) -> String {
    let file = dir.join("settings.yaml");
    let yaml = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{text: {text}}}\n"
    );
    std::fs::write(&file, yaml).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A kind of the cloud's own.
fn kind() -> Value {
    let schema = json!({"openAPIV3Schema": {
        "type": "object",
        "properties": {"spec": {
            "type": "object",
            "properties": {"depth": {"type": "integer", "description": "How deep the harbour is."}},
        }},
    }});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "harbours.shops.example.com"},
        "spec": {
            "group": "shops.example.com",
            "scope": "Namespaced",
            "names": {"plural": "harbours", "singular": "harbour", "kind": "Harbour",
                "shortNames": ["hb"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    })
}

/// What a server says of the kinds it has, as far as it concerns a client.
async fn documents(api: &Http) -> BTreeMap<&'static str, Value> {
    let mut documents = BTreeMap::new();
    for path in [
        "/version",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/shops.example.com",
        "/apis/shops.example.com/v1",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/api/v1",
        "/openapi/v3/apis/shops.example.com/v1",
    ] {
        documents.insert(path, api.get(path).await.unwrap());
    }
    documents
}

/// A write of a custom kind without the cloud: pending when it fits its schema.
async fn held_to_its_schema(local: &Http, object: &str) {
    let deeper = json!({"spec": {"depth": 8}});
    let changed = local.merge_patch(object, &deeper).await.unwrap();
    assert_eq!(
        changed["metadata"]["annotations"]["causeway.dev/pending"],
        "true"
    );
    let wrong = local
        .merge_patch(object, &json!({"spec": {"depth": "very"}}))
        .await;
    assert_eq!(
        wrong.unwrap_err().status(),
        Some(http::StatusCode::UNPROCESSABLE_ENTITY)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn which_kinds_there_are_is_known_at_the_edge_without_the_cloud() {
    let mut world = World::start().await;
    let cloud = world.cloud.http();
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    create(&cloud, definitions, &kind()).await;
    let subscribe =
        json!({"metadata": {"annotations": {"causeway.dev/subscribe": "shops.example.com"}}});
    cloud
        .merge_patch("/api/v1/nodes/edge-1", &subscribe)
        .await
        .unwrap();
    let harbours = "/apis/shops.example.com/v1/namespaces/default/harbours";
    let harbour = json!({
        "apiVersion": "shops.example.com/v1", "kind": "Harbour",
        "metadata": {"name": "north", "namespace": "default"}, "spec": {"depth": 7},
    });
    seen(
        &cloud,
        "/apis/shops.example.com/v1",
        "it is served",
        |list| list["resources"][0]["name"] == "harbours",
    )
    .await;
    create(&cloud, harbours, &harbour).await;
    let local = world.edge().http();
    let north = format!("{harbours}/north");
    seen(&local, &north, "it is here", |held| {
        held["spec"]["depth"] == 7
    })
    .await;
    world.converged().await;
    let before = documents(&local).await;
    let fields = before["/openapi/v3/apis/shops.example.com/v1"].to_string();
    assert!(fields.contains("How deep the harbour is."), "{fields}");
    assert!(before["/openapi/v2"].to_string().contains("Harbour"));

    world.cloud.process.kill().await.unwrap();
    assert_eq!(documents(&local).await, before, "the cloud is gone");
    world.edge().crash_and_restart().await;
    world.edge().serving().await;
    assert_eq!(
        documents(&local).await,
        before,
        "and the edge has started again"
    );
    held_to_its_schema(&local, &north).await;

    let Some(kubectl) = Kubectl::of_edge(&world, &world.edges[0]) else {
        return;
    };
    assert!(kubectl.ok(&["api-resources"]).contains("harbours"));
    assert_eq!(
        kubectl.ok(&["get", "hb", "-o", "name"]).trim(),
        "harbour.shops.example.com/north"
    );
    let explained = kubectl.ok(&["explain", "harbours.spec.depth"]);
    assert!(
        explained.contains("How deep the harbour is."),
        "{explained}"
    );
}
