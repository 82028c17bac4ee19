//! A real `kubectl` over loopback, with nothing but a kubeconfig. `CAUSEWAY_KUBECTL` names another
//! binary than the one in `PATH`.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use causeway_kube_api::testing::MemorySource;
use causeway_kube_api::{ServerConfig, router};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

const DEADLINE: Duration = Duration::from_secs(60);

struct Kubectl {
    program: PathBuf,
    home: TempDir,
}

struct Ran {
    success: bool,
    out: String,
    err: String,
}

impl Kubectl {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("KUBECONFIG", self.home.path().join("config"))
            .env("HOME", self.home.path())
            .env("EDITOR", "sed -i s/edited:.*/edited:\\ indeed/")
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn try_run(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let output = tokio::time::timeout(DEADLINE, child.wait_with_output());
        let output = output.await.expect("kubectl ends in time").unwrap();
        Ran {
            success: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    async fn with(&self, arguments: &[&str], input: &str) -> String {
        let ran = self.try_run(arguments, input).await;
        assert!(
            ran.success,
            "kubectl {arguments:?} failed:\n{}\n{}",
            ran.out, ran.err
        );
        ran.out
    }

    async fn run(&self, arguments: &[&str]) -> String {
        self.with(arguments, "").await
    }
}

/// Runs `story` with a kubectl that talks to a cloud in memory; says why not when there is none.
async fn with_kubectl<F: Future<Output = ()>>(story: impl FnOnce(Kubectl, Arc<MemorySource>) -> F) {
    let program =
        std::env::var_os("CAUSEWAY_KUBECTL").map_or_else(|| "kubectl".into(), PathBuf::from);
    let found = Command::new(&program)
        .args(["version", "--client"])
        .output()
        .await;
    if !found.is_ok_and(|output| output.status.success()) {
        assert!(
            std::env::var_os("CI").is_none(),
            "no kubectl, and CI must not skip"
        );
        eprintln!("skipped: no kubectl; install the package kubernetes-client");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let home = TempDir::new().unwrap();
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
        "current-context": "c",
    });
    std::fs::write(home.path().join("config"), config.to_string()).unwrap();
    let source = MemorySource::cloud();
    let config = ServerConfig {
        warn_uncontrolled: true,
        ..ServerConfig::default()
    };
    let app = router(Arc::clone(&source), config);
    tokio::select! {
        served = axum::serve(listener, app).into_future() => panic!("the server ended: {served:?}"),
        () = story(Kubectl { program, home }, source) => {}
    }
}

const CONFIG_MAP: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {tier: front}}
data: {edited: 'no', other: kept}
";

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - {name: main, image: 'example/web:1', command: [run]}
";

const EVENTS: &str = "
apiVersion: v1
kind: Event
metadata: {name: older, namespace: default}
involvedObject: {kind: Pod, name: web, namespace: default}
reason: Started
message: said in v1
source: {component: edged}
firstTimestamp: '2026-01-01T00:00:00Z'
lastTimestamp: '2026-01-01T00:00:00Z'
count: 1
type: Normal
---
apiVersion: events.k8s.io/v1
kind: Event
metadata: {name: newer, namespace: default}
regarding: {kind: Pod, name: db, namespace: default}
reason: Pulled
note: said in events.k8s.io
action: Pulling
eventTime: '2026-01-01T00:00:00.000000Z'
reportingController: example.com/agent
reportingInstance: agent-1
type: Normal
";

#[tokio::test]
async fn events_are_one_list_whichever_way_they_are_asked_for() {
    with_kubectl(|kubectl, _| async move {
        kubectl.with(&["create", "-f", "-"], EVENTS).await;
        for kind in ["events", "events.events.k8s.io"] {
            let shown = kubectl.run(&["get", kind]).await;
            let rows: Vec<&str> = shown.lines().skip(1).collect();
            assert_eq!(rows.len(), 2, "{shown}");
            for words in ["pod/db", "said in events.k8s.io", "pod/web", "said in v1"] {
                assert!(shown.contains(words), "{kind}: {shown}");
            }
        }
        let note = "jsonpath={.items[?(@.regarding.name==\"web\")].note}";
        let note = kubectl
            .run(&["get", "events.events.k8s.io", "-o", note])
            .await;
        assert_eq!(note, "said in v1");
        kubectl
            .run(&["delete", "events.events.k8s.io", "older"])
            .await;
        let left = kubectl.run(&["get", "events", "-o", "name"]).await;
        assert_eq!(left.trim(), "event/newer");
    })
    .await;
}

#[tokio::test]
async fn objects_are_applied_read_edited_and_deleted() {
    with_kubectl(|kubectl, _| async move {
        let applied = kubectl.with(&["apply", "-f", "-"], CONFIG_MAP).await;
        assert_eq!(applied.trim(), "configmap/settings created");
        let again = kubectl.with(&["apply", "-f", "-"], CONFIG_MAP).await;
        assert_eq!(again.trim(), "configmap/settings unchanged");
        let changed = CONFIG_MAP.replace("other: kept", "more: added");
        let applied = kubectl.with(&["apply", "-f", "-"], &changed).await;
        assert_eq!(applied.trim(), "configmap/settings configured");
        let data = kubectl
            .run(&["get", "cm", "settings", "-o", "jsonpath={.data}"])
            .await;
        assert_eq!(data, r#"{"edited":"no","more":"added"}"#);

        kubectl.run(&["edit", "configmap", "settings"]).await;
        let yaml = kubectl
            .run(&["get", "configmap", "settings", "-o", "yaml"])
            .await;
        assert!(yaml.contains("edited: indeed"), "{yaml}");

        kubectl
            .run(&["label", "cm", "settings", "tier=back", "--overwrite"])
            .await;
        kubectl
            .run(&["annotate", "cm", "settings", "note=read me"])
            .await;
        let listed = kubectl
            .run(&["get", "cm", "-l", "tier=back", "-o", "name"])
            .await;
        assert_eq!(listed.trim(), "configmap/settings");
        let described = kubectl.run(&["describe", "configmap", "settings"]).await;
        assert!(
            described.contains("note: read me") && described.contains("tier=back"),
            "{described}"
        );

        let deleted = kubectl.run(&["delete", "cm", "settings"]).await;
        assert!(deleted.contains("\"settings\" deleted"), "{deleted}");
        let missing = kubectl.try_run(&["get", "cm", "settings"], "").await;
        let told = "Error from server (NotFound): configmaps \"settings\" not found";
        assert_eq!(missing.err.trim(), told);
    })
    .await;
}

#[tokio::test]
async fn every_kind_of_patch_is_taken() {
    with_kubectl(|kubectl, _| async move {
        kubectl.with(&["create", "-f", "-"], POD).await;
        let merge = r#"{"metadata":{"labels":{"a":"1"}}}"#;
        kubectl
            .run(&["patch", "pod", "web", "--type=merge", "-p", merge])
            .await;
        let json = r#"[{"op":"add","path":"/metadata/labels/b","value":"2"}]"#;
        kubectl
            .run(&["patch", "pod", "web", "--type=json", "-p", json])
            .await;
        let strategic = r#"{"spec":{"containers":[{"name":"main","image":"example/web:2"}]}}"#;
        kubectl.run(&["patch", "pod", "web", "-p", strategic]).await;
        let path =
            "jsonpath={.metadata.labels} {.spec.containers[0].image} {.spec.containers[0].command}";
        let shown = kubectl.run(&["get", "pod", "web", "-o", path]).await;
        assert_eq!(shown, r#"{"a":"1","b":"2"} example/web:2 ["run"]"#);
        let wide = kubectl.run(&["get", "pods", "-o", "wide"]).await;
        assert!(
            wide.starts_with("NAME") && wide.contains("NODE") && wide.contains("web"),
            "{wide}"
        );
        let all = kubectl.run(&["get", "pods,cm", "-A"]).await;
        assert!(all.contains("pod/web"), "{all}");
        let described = kubectl.run(&["describe", "pod", "web"]).await;
        assert!(described.contains("example/web:2"), "{described}");
        kubectl
            .run(&["delete", "pod", "web", "--grace-period=0", "--force"])
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_watch_prints_what_happens() {
    with_kubectl(|kubectl, source| async move {
        kubectl.with(&["apply", "-f", "-"], CONFIG_MAP).await;
        let mut watch = kubectl.command(&["get", "configmaps", "-w"]);
        let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let mut next = async || {
            let line = tokio::time::timeout(DEADLINE, lines.next_line());
            line.await
                .expect("a line in time")
                .unwrap()
                .expect("one more line")
        };
        assert!(next().await.starts_with("NAME"));
        assert!(next().await.starts_with("settings"));
        source.put_new(
            "v1",
            "ConfigMap",
            "configmaps",
            "default",
            "later",
            json!({}),
        );
        assert!(next().await.starts_with("later"));
        watch.kill().await.unwrap();
    })
    .await;
}

const WIDGETS: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {size: {type: integer}}}}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
";

#[tokio::test]
async fn custom_resources_and_warnings_reach_people() {
    with_kubectl(|kubectl, _| async move {
        kubectl.with(&["apply", "-f", "-"], WIDGETS).await;
        let wait = [
            "wait",
            "--for=condition=established",
            "crd/widgets.example.com",
            "--timeout=20s",
        ];
        kubectl.run(&wait).await;
        let widget = "
apiVersion: example.com/v1
kind: Widget
metadata: {name: w}
spec: {size: 7}
";
        let applied = kubectl.with(&["apply", "-f", "-"], widget).await;
        assert_eq!(applied.trim(), "widget.example.com/w created");
        let listed = kubectl.run(&["get", "wd"]).await;
        assert!(listed.contains("SIZE") && listed.contains('7'), "{listed}");
        let deployment = ["create", "deployment", "d", "--image=example/web:1"];
        let created = kubectl.try_run(&deployment, "").await;
        assert!(
            created.success && created.err.contains("no controller"),
            "{}",
            created.err
        );
        let broken = kubectl
            .try_run(&["apply", "-f", "-"], &POD.replace("name: main, ", ""))
            .await;
        // An old kubectl refuses it itself, a new one passes on the server's words.
        let told = broken.err.contains("spec.containers[0]");
        assert!(!broken.success && told, "{}", broken.err);
    })
    .await;
}

#[tokio::test]
async fn imperative_commands_are_served() {
    with_kubectl(|kubectl, _| async move {
        kubectl.try_run(&["explain", "pod"], "").await;
        kubectl.run(&["api-resources"]).await;
        kubectl.run(&["version"]).await;
        kubectl.run(&["create", "namespace", "n"]).await;
        kubectl
            .run(&["create", "configmap", "c", "-n", "n", "--from-literal=k=v"])
            .await;
        let secret = [
            "create",
            "secret",
            "generic",
            "s",
            "-n",
            "n",
            "--from-literal=k=v",
        ];
        kubectl.run(&secret).await;
        let data = [
            "get",
            "secret,cm",
            "-n",
            "n",
            "-o",
            "jsonpath={.items[*].data.k}",
        ];
        assert_eq!(kubectl.run(&data).await, "dg== v");
        kubectl
            .run(&["run", "p", "--image=example/web:1", "-n", "n"])
            .await;
        kubectl
            .run(&["delete", "pod,cm", "--all", "-n", "n", "--wait=false"])
            .await;
    })
    .await;
}
