//! A stock kubectl, with no extra flags, against the cloud and against the edge.
//!
//! Without kubectl these tests pass and say so; `cargo xtask test` reports the tier as skipped, and
//! with CI=true as a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use causeway_simulator::proxy::CutMode;

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
