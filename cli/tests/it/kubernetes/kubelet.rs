//! A stock kubelet with containerd behind it takes the edge's local API for its API server, and real
//! containers outlive everything that is cut, killed and started again around them.
//!
//! It needs root, containerd, runc and a static busybox, which is all there is in its images.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use causeway_simulator::http::Http;
use causeway_simulator::proxy::CutMode;
use causeway_testbed::Binaries;
use serde_json::{Value, json};

use super::Cluster;
use crate::world::*;

/// A busybox that needs no libraries.
const BUSYBOX: &str = "/bin/busybox";
const IMAGE: &str = "localhost/busybox:1";
const PAUSE: &str = "localhost/pause:1";
/// Shows its token once, then goes on.
const SERVICE: &str = "cat /var/run/secrets/kubernetes.io/serviceaccount/token; echo; \
                       trap 'exit 0' TERM; while true; do sleep 1 & wait $!; done";

/// Ends a program and what it mounted.
struct Program(Child);

impl Program {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self(child)
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// containerd with the two images, all below one directory.
struct Containerd {
    _daemon: Program,
    dir: PathBuf,
}

impl Containerd {
    /// `Err`: why containers cannot be run here.
    fn start(dir: &Path) -> Result<Self, String> {
        let is_root = rustix::process::geteuid().is_root();
        let found = |name: &str| Command::new(name).arg("--version").output().is_ok();
        if !is_root || !found("containerd") || !found("runc") || !Path::new(BUSYBOX).is_file() {
            return Err("root, containerd, runc and busybox-static are needed".to_owned());
        }
        std::fs::create_dir_all(dir.join("cni")).unwrap();
        let network =
            json!({"cniVersion": "0.4.0", "name": "none", "plugins": [{"type": "loopback"}]});
        std::fs::write(dir.join("cni/10-none.conflist"), network.to_string()).unwrap();
        let config = format!(
            "version = 2\nroot = {root:?}\nstate = {state:?}\noom_score = 0\n\
             [grpc]\naddress = {socket:?}\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\n\
             restrict_oom_score_adj = true\nsandbox_image = \"{PAUSE}\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"native\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\nconf_dir = {cni:?}\n",
            root = dir.join("root"),
            state = dir.join("state"),
            socket = dir.join("ctr.sock"),
            cni = dir.join("cni"),
        );
        std::fs::write(dir.join("config.toml"), config).unwrap();
        let mut command = Command::new("containerd");
        command.arg("-c").arg(dir.join("config.toml"));
        let daemon = Program::start(&mut command, &dir.join("containerd.log"));
        let containerd = Self {
            _daemon: daemon,
            dir: dir.to_owned(),
        };
        containerd.wait()?;
        containerd.import(PAUSE, &["sleep", "1000000"]);
        containerd.import(IMAGE, &["sh"]);
        let tried = [
            "run",
            "--rm",
            "--net-host",
            "--snapshotter",
            "native",
            IMAGE,
            "tried",
            "true",
        ];
        containerd.ctr(&tried).map(|_| containerd)
    }

    fn wait(&self) -> Result<(), String> {
        let deadline = std::time::Instant::now() + PATIENCE;
        while let Err(why) = self.ctr(&["version"]) {
            if std::time::Instant::now() > deadline {
                return Err(why);
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("ctr.sock")
    }

    fn ctr(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("ctr")
            .arg("-a")
            .arg(self.socket())
            .args(["-n", "k8s.io"])
            .args(arguments)
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Makes an image of busybox alone.
    fn import(&self, tag: &str, command: &[&str]) {
        let dir = self.dir.join("image");
        let root = dir.join("root");
        for name in ["bin", "tmp", "etc", "var/run", "proc", "sys", "dev"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
        for name in ["sh", "sleep", "cat", "true"] {
            let link = root.join("bin").join(name);
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink("busybox", link).unwrap();
        }
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program)
                .args(arguments)
                .current_dir(&dir)
                .output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        run("tar", &["-cf", "layer.tar", "-C", "root", "."]);
        let digest = run("sha256sum", &["layer.tar"]);
        let digest = digest.split_whitespace().next().unwrap();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Cmd": command, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        });
        std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
        let manifest =
            json!([{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]);
        std::fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
        let parts = ["manifest.json", "config.json", "layer.tar"];
        run("tar", &[&["-cf", "image.tar"][..], &parts].concat());
        let image = dir.join("image.tar");
        let import = ["images", "import", "--snapshotter", "native"];
        let image = [&import[..], &[image.to_str().unwrap()]].concat();
        self.ctr(&image).unwrap();
    }

    /// The process of a container that the kubelet named so.
    fn process(&self, id: &str) -> Option<u32> {
        let tasks = self.ctr(&["tasks", "ls"]).ok()?;
        let line = tasks.lines().find(|line| line.starts_with(id))?.to_owned();
        let mut words = line.split_whitespace().skip(1);
        let pid = words.next()?.parse().ok()?;
        (words.next() == Some("RUNNING")).then_some(pid)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        for id in self.ctr(&["tasks", "ls", "-q"]).unwrap_or_default().lines() {
            let _ = self.ctr(&["tasks", "kill", "-s", "SIGKILL", id]);
            let _ = self.ctr(&["tasks", "rm", "-f", id]);
        }
        unmount_all_below(&self.dir);
    }
}

fn unmount_all_below(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for place in places.filter(|place| Path::new(place).starts_with(dir)) {
        let _ = Command::new("umount").args(["-l", place]).status();
    }
}

/// A kubelet that knows nothing but a kubeconfig.
struct Kubelet {
    running: Program,
    command: Command,
    dir: PathBuf,
}

impl Kubelet {
    fn start(programs: &Binaries, dir: &Path, containerd: &Containerd, edge: &Edge) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": false,
            "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": format!("unix://{}", containerd.socket().display()),
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": false,
            "enforceNodeAllocatable": [],
            "failSwapOn": false,
            "localStorageCapacityIsolation": false,
            "makeIPTablesUtilChains": false,
            "address": "127.0.0.1",
            "port": causeway_simulator::daemons::free_address().unwrap().port(),
            "healthzPort": 0,
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "10Mi"},
            "podLogsDir": dir.join("logs"),
            "volumePluginDir": dir.join("plugins"),
            "resolvConf": "",
        });
        let file = dir.join("config.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(programs.path("kubelet"));
        command
            .arg("--config")
            .arg(file)
            .arg("--kubeconfig")
            .arg(edge.dir.join("edge.kubeconfig"))
            .arg("--root-dir")
            .arg(dir.join("root"))
            .arg("--cert-dir")
            .arg(dir.join("certificates"))
            .arg(format!("--hostname-override={}", edge.name));
        let running = Program::start(&mut command, &dir.join("kubelet.log"));
        Self {
            running,
            command,
            dir: dir.to_owned(),
        }
    }

    fn crash_and_restart(&mut self) {
        self.running.kill();
        self.running = Program::start(&mut self.command, &self.dir.join("kubelet-2.log"));
    }

    /// What containers of a pod have said, all attempts.
    fn said(&self, pod: &str) -> String {
        let mut said = String::new();
        for pods in std::fs::read_dir(self.dir.join("logs"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if !pods
                .file_name()
                .to_string_lossy()
                .contains(&format!("_{pod}_"))
            {
                continue;
            }
            for log in std::fs::read_dir(pods.path().join("main"))
                .into_iter()
                .flatten()
                .flatten()
            {
                said += &std::fs::read_to_string(log.path()).unwrap_or_default();
            }
        }
        said
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.running.kill();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.join("kubelet.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(40);
            println!("── kubelet\n{}", lines[from..].join("\n"));
        }
        unmount_all_below(&self.dir);
    }
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": "edge-1",
            "hostNetwork": true,
            "terminationGracePeriodSeconds": 1,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "main", "image": IMAGE, "imagePullPolicy": "Never",
                "command": ["sh", "-c", SERVICE],
            }],
        },
    })
}

/// A node of a real cluster with a stock kubelet.
struct Stage {
    // In the order in which they must end.
    kubelet: Kubelet,
    containerd: Containerd,
    world: World,
    cluster: Cluster,
    _scratch: tempfile::TempDir,
}

const WEB: &str = "/api/v1/namespaces/default/pods/web";

impl Stage {
    /// `None` where containers cannot be run, or no control plane is built.
    async fn set() -> Option<Self> {
        let scratch = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(scratch.path(), open).unwrap();
        let programs = Binaries::find().unwrap();
        let starting = || Containerd::start(&scratch.path().join("ctr"));
        let (programs, containerd) = match (programs, tokio::task::block_in_place(starting)) {
            (Some(programs), Ok(containerd)) => (programs, containerd),
            (None, _) => {
                println!("skipped: no control plane is built here (cargo xtask k8s build)");
                return None;
            }
            (_, Err(why)) => {
                println!("skipped: no containers can be run here: {why}");
                return None;
            }
        };
        let cluster = Cluster::start()?;
        let mut world = cluster.cloud(&cluster.kubeconfig());
        world.cloud_ready().await;
        let dir = world.scratch().join("edge-1");
        world.add_edge_with("edge-1", &dir, &["--no-kubelet"]).await;
        world.edge().serving().await;
        let place = scratch.path().join("kubelet");
        let kubelet = Kubelet::start(&programs, &place, &containerd, world.edge());
        cluster.node_is("edge-1", "True").await;
        Some(Self {
            kubelet,
            containerd,
            world,
            cluster,
            _scratch: scratch,
        })
    }

    /// Waits until one end sees the pod run after so many restarts; says as which container.
    async fn runs(api: &Http, path: &str, restarts: u64) -> String {
        let what = format!("it runs after {restarts} restarts");
        let pod = seen(api, path, &what, |pod| {
            let container = &pod["status"]["containerStatuses"][0];
            container["state"]["running"].is_object() && container["restartCount"] == restarts
        })
        .await;
        let id = pod["status"]["containerStatuses"][0]["containerID"].as_str();
        let id = id.unwrap_or_default().trim_start_matches("containerd://");
        id.to_owned()
    }

    /// A pod as any other, with its service account's token, which came from the cluster.
    async fn deploy(&self) -> String {
        create(&self.cluster.api, PODS, &service("web")).await;
        let container = Self::runs(&self.cluster.api, WEB, 0).await;
        eventually("it shows its token", async || {
            let said = self.kubelet.said("web");
            // The beginning of every JWT.
            if said.contains("eyJ") {
                Ok(())
            } else {
                Err(said)
            }
        })
        .await;
        container
    }

    /// Cut; then the edge and the kubelet are killed. What runs is found again, what ends meanwhile
    /// is started again, by the local API alone.
    async fn live_alone(&mut self, container: &str) -> String {
        let process = self.containerd.process(container).unwrap();
        self.world.edge().link.cut(CutMode::Silent);
        self.world.edge().crash_and_restart().await;
        self.world.edge().serving().await;
        tokio::task::block_in_place(|| self.kubelet.crash_and_restart());
        let local = self.world.edge().http();
        create(&local, PODS, &service("local")).await;
        Self::runs(&local, &format!("{PODS}/local"), 0).await;
        let now = self.containerd.process(container);
        assert_eq!(now, Some(process), "it was made again");
        tokio::task::block_in_place(|| {
            let kill = ["tasks", "kill", "-s", "SIGKILL", container];
            self.containerd.ctr(&kill).unwrap();
        });
        Self::runs(&local, WEB, 1).await
    }

    /// Forced away and made again under the same name during a cut: another life.
    async fn replace(&mut self, container: &str) {
        self.world.edge().link.cut(CutMode::Silent);
        let force = ["delete", "pod", "web", "--force", "--grace-period=0"];
        self.cluster.kubectl(&force);
        create(&self.cluster.api, PODS, &service("web")).await;
        self.world.edge().link.heal();
        let other = Self::runs(&self.cluster.api, WEB, 0).await;
        assert_ne!(other, container);
        eventually("the old one has ended", async || {
            match self.containerd.process(container) {
                None => Ok(()),
                Some(process) => Err(format!("process {process}")),
            }
        })
        .await;
    }

    /// Heartbeats went nowhere: the lease was never sent, and the status only when it changed.
    async fn check_quiet(&mut self) {
        let log = "/causeway/v1/nodes/edge-1/log?stream=up";
        let log = self.world.edge().http().text(log).await.unwrap();
        let records = log.lines().map(serde_json::from_str::<Value>);
        let records: Vec<Value> = records.map(Result::unwrap).collect();
        let of = |resource: &str| {
            let about = records
                .iter()
                .filter(|one| one["key"]["resource"] == resource);
            about.count()
        };
        assert_eq!(of("leases"), 0);
        assert!(of("nodes") < 15, "{} records about the node", of("nodes"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_kubelet_runs_pods_through_cuts_and_crashes() {
    let Some(mut stage) = Stage::set().await else {
        return;
    };
    let node = stage.cluster.api.get("/api/v1/nodes/edge-1").await.unwrap();
    let version = node["status"]["nodeInfo"]["kubeletVersion"].as_str();
    assert!(version.unwrap().starts_with("v1."), "{version:?}");

    let first = stage.deploy().await;
    let second = stage.live_alone(&first).await;
    let process = stage.containerd.process(&second);

    // Heal: the cluster learns of it, and nothing is started for that.
    stage.world.edge().link.heal();
    let told = Stage::runs(&stage.cluster.api, WEB, 1).await;
    assert_eq!(told, second);
    assert_eq!(stage.containerd.process(&second), process);

    stage.replace(&second).await;
    // An ordinary delete ends with the kubelet's word.
    let delete = ["delete", "pod", "web", "--timeout=60s"];
    stage.cluster.kubectl(&delete);
    gone(&stage.cluster.api, WEB).await;
    stage.check_quiet().await;
    stage.world.converged().await;
}
