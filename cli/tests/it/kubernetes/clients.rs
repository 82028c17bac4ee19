//! Programs made with client-go and kube-rs, and kubectl, follow and write the local API of an edge
//! unchanged, while its link is cut and while it is killed and starts again.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use causeway_daemon::tasks::{Task, spawn};
use causeway_simulator::http::Http;
use causeway_simulator::proxy::CutMode;
use causeway_testbed::Binaries;
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::world::*;

/// A program that says a JSON object a line.
struct Informer {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Informer {
    fn start(programs: &Binaries, kubeconfig: &Path) -> Self {
        let mut child = Command::new(programs.informer().unwrap())
            .args(["--kubeconfig", kubeconfig.to_str().unwrap(), "--pod=reader"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (told, heard) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(told).lines().map_while(Result::ok) {
                heard.lock().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, lines }
    }

    fn lines(&self) -> Vec<Value> {
        self.lines.lock().clone()
    }

    async fn says(&self, what: &str, right: impl Fn(&Value) -> bool) {
        eventually(&format!("the informer says: {what}"), async || {
            let lines = self.lines();
            if lines.iter().any(&right) {
                Ok(())
            } else {
                Err(format!("{lines:#?}"))
            }
        })
        .await;
    }

    /// Waits until a cache was told of a ConfigMap with a text.
    async fn told(&self, event: &str, name: &str, text: &str) {
        let what = format!("{event} {name} {text}");
        self.says(&what, |line| {
            line["event"] == event && line["name"] == name && line["data"]["text"] == text
        })
        .await;
    }

    /// What was asked for, of one kind: method, query, and code of the answer.
    fn requests(&self, path: &str) -> Vec<(String, String, Value)> {
        let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
        let lines = self.lines();
        let about = lines.iter().filter(|line| {
            line["path"]
                .as_str()
                .is_some_and(|asked| asked.starts_with(path))
        });
        about
            .map(|line| {
                (
                    text(line, "request"),
                    text(line, "query"),
                    line["code"].clone(),
                )
            })
            .collect()
    }
}

impl Drop for Informer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a kube-rs watcher of ConfigMaps says, in words.
type Watched = Arc<Mutex<Vec<String>>>;

async fn watch_with_kube_rs(kubeconfig: &Path) -> (Watched, Task) {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(file, &options);
    let client = kube::Client::try_from(config.await.unwrap()).unwrap();
    let api: kube::Api<ConfigMap> = kube::Api::namespaced(client, "default");
    let watched = Watched::default();
    let heard = Arc::clone(&watched);
    let following = async move {
        let config = watcher::Config::default().streaming_lists();
        let mut events = std::pin::pin!(watcher(api, config));
        while let Some(event) = events.next().await {
            let show = |object: ConfigMap| {
                let text = object.data.unwrap_or_default().remove("text");
                let name = object.metadata.name.unwrap_or_default();
                format!("{name} {}", text.unwrap_or_default())
            };
            let line = match event {
                Ok(watcher::Event::Init) => "init".to_owned(),
                Ok(watcher::Event::InitDone) => "init done".to_owned(),
                Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                    format!("apply {}", show(object))
                }
                Ok(watcher::Event::Delete(object)) => format!("delete {}", show(object)),
                // The edge is away for a moment; the watcher goes on by itself.
                Err(_) => continue,
            };
            heard.lock().push(line);
        }
    };
    (watched, spawn("kube-rs", following))
}

async fn heard(watched: &Watched, line: &str) {
    eventually(&format!("kube-rs says: {line}"), async || {
        let lines = watched.lock().clone();
        if lines.iter().any(|one| one == line) {
            Ok(())
        } else {
            Err(format!("{lines:?}"))
        }
    })
    .await;
}

fn kubectl(programs: &Binaries, kubeconfig: &Path, arguments: &[&str]) -> String {
    let output = Command::new(programs.path("kubectl"))
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", kubeconfig.parent().unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The three clients of one edge.
struct Clients {
    programs: Binaries,
    kubeconfig: PathBuf,
    informer: Informer,
    watched: Watched,
    /// Ends with this.
    _following: Task,
}

impl Clients {
    async fn start(programs: Binaries, edge: &Edge) -> Self {
        let kubeconfig = edge.dir.join("edge.kubeconfig");
        let informer = tokio::task::block_in_place(|| Informer::start(&programs, &kubeconfig));
        let (watched, _following) = watch_with_kube_rs(&kubeconfig).await;
        let clients = Self {
            programs,
            kubeconfig,
            informer,
            watched,
            _following,
        };
        clients
            .informer
            .says("synced", |line| line["synced"] == true)
            .await;
        for name in ["settings", "doomed"] {
            clients.informer.told("add", name, "first").await;
        }
        heard(&clients.watched, "init done").await;
        heard(&clients.watched, "apply settings first").await;
        clients
    }

    /// What kubectl makes at an edge that is cut off is there at once, and said to be pending.
    async fn create_offline(&self) {
        tokio::task::block_in_place(|| {
            let kubectl = |arguments: &[&str]| kubectl(&self.programs, &self.kubeconfig, arguments);
            kubectl(&["create", "configmap", "own", "--from-literal=text=offline"]);
            let pending = "jsonpath={.metadata.annotations.causeway\\.dev/pending}";
            assert_eq!(kubectl(&["get", "cm", "own", "-o", pending]), "true");
        });
        self.informer.told("add", "own", "offline").await;
        heard(&self.watched, "apply own offline").await;
    }

    /// Nothing was listed twice: every later watch went on from where the one before had ended.
    fn check_watches(&self) {
        let watches = self
            .informer
            .requests("/api/v1/namespaces/default/configmaps");
        let (first, later) = watches.split_first().unwrap();
        assert!(first.1.contains("sendInitialEvents=true"), "{watches:?}");
        assert!(!later.is_empty(), "{watches:?}");
        for (method, query, code) in later {
            assert_eq!(method, "GET");
            let resumes = query.contains("watch=true") && query.contains("resourceVersion=");
            assert!(resumes && !query.contains("sendInitialEvents"), "{query}");
            assert!(code.is_null() || *code == 200, "{code}");
        }
        let said = self.watched.lock().clone();
        let begun = said.iter().filter(|line| *line == "init").count();
        assert_eq!(begun, 1, "{said:?}");
    }

    /// An Event that was recorded nine times is one object to its client and to the cloud, which is
    /// told when the count has doubled.
    async fn check_events(&self, cloud: &Http) {
        let events = self.informer.requests("/api/v1/namespaces/default/events");
        assert_eq!(events.len(), 9, "{events:?}");
        let taken = |code: &Value| *code == 200 || *code == 201;
        assert!(events.iter().all(|(_, _, code)| taken(code)), "{events:?}");
        let told = "/api/v1/namespaces/default/events?fieldSelector=reason%3DAgain";
        seen(cloud, told, "one Event that happened eight times", |list| {
            let items = list["items"].as_array().unwrap().iter();
            let counts: Vec<_> = items.map(|one| one["count"].as_u64()).collect();
            counts == [Some(8)]
        })
        .await;
    }
}

/// A node that runs a pod with two ConfigMaps.
async fn world_with_a_pod() -> World {
    let mut world = World::start().await;
    let cloud = world.cloud.http();
    for name in ["settings", "doomed"] {
        create(&cloud, CONFIG_MAPS, &config_map(name, "first")).await;
    }
    let script = "while true; do sleep 1; done";
    let reader = pod("reader", "edge-1", script, &["settings", "doomed"]);
    create(&cloud, PODS, &reader).await;
    let local = world.edge().http();
    seen(&local, &format!("{PODS}/reader"), "Running", |pod| {
        pod["status"]["phase"] == "Running"
    })
    .await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_clients_follow_and_write_an_edge_through_cuts_and_crashes() {
    let Some(programs) = Binaries::find().unwrap() else {
        println!("skipped: no control plane is built here (cargo xtask k8s build)");
        return;
    };
    let mut world = world_with_a_pod().await;
    let (cloud, local) = (world.cloud.http(), world.edge().http());
    let clients = Clients::start(programs, &world.edges[0]).await;
    let (informer, watched) = (&clients.informer, &clients.watched);

    // While the link is cut: one end changes this, the other that, and the edge is killed.
    world.edge().link.cut(CutMode::Silent);
    let text = |text: &str| json!({"data": {"text": text}});
    let settings = format!("{CONFIG_MAPS}/settings");
    cloud.merge_patch(&settings, &text("second")).await.unwrap();
    let doomed = format!("{CONFIG_MAPS}/doomed");
    cloud
        .json(http::Method::DELETE, &doomed, None)
        .await
        .unwrap();
    clients.create_offline().await;
    world.edge().crash_and_restart().await;
    world.edge().serving().await;
    let own = format!("{CONFIG_MAPS}/own");
    local
        .merge_patch(&own, &text("after the crash"))
        .await
        .unwrap();
    informer.told("update", "own", "after the crash").await;
    heard(watched, "apply own after the crash").await;

    world.edge().link.heal();
    informer.told("update", "settings", "second").await;
    informer.told("delete", "doomed", "first").await;
    heard(watched, "apply settings second").await;
    heard(watched, "delete doomed first").await;
    seen(&cloud, &own, "it came up", |own| {
        own["data"]["text"] == "after the crash"
    })
    .await;
    clients.check_watches();
    clients.check_events(&cloud).await;
}
