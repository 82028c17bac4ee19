//! A stock kubelet with containerd behind it takes the edge's local API for its API server, and real
//! containers outlive everything that is cut, killed and started again around them.
//!
//! It needs root, containerd, runc and a static busybox, which is all there is in its images.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

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

/// The container of a running pod, as the runtime names it.
fn container(pod: &Value) -> String {
    let id = pod["status"]["containerStatuses"][0]["containerID"].as_str();
    id.unwrap_or_default()
        .trim_start_matches("containerd://")
        .to_owned()
}

fn runs(pod: &Value, restarts: u64) -> bool {
    let container = &pod["status"]["containerStatuses"][0];
    container["state"]["running"].is_object() && container["restartCount"] == restarts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_kubelet_runs_pods_through_cuts_and_crashes() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let Some(programs) = Binaries::find().unwrap() else {
        println!("skipped: no control plane is built here (cargo xtask k8s build)");
        return;
    };
    let starting = || Containerd::start(&scratch.path().join("ctr"));
    let containerd = match tokio::task::block_in_place(starting) {
        Ok(containerd) => containerd,
        Err(why) => {
            println!("skipped: no containers can be run here: {why}");
            return;
        }
    };
    let cluster = Cluster::start().unwrap();
    let mut world = cluster.cloud(&cluster.kubeconfig());
    world.cloud_ready().await;
    let dir = world.scratch().join("edge-1");
    world.add_edge_with("edge-1", &dir, &["--no-kubelet"]).await;
    world.edge().serving().await;
    let place = scratch.path().join("kubelet");
    let mut kubelet = Kubelet::start(&programs, &place, &containerd, world.edge());

    // It registers, and what it says of its node is what the cluster shows.
    cluster.node_is("edge-1", "True").await;
    let node = cluster.api.get("/api/v1/nodes/edge-1").await.unwrap();
    let version = node["status"]["nodeInfo"]["kubeletVersion"].as_str();
    assert!(version.unwrap().starts_with("v1."), "{version:?}");

    // A pod as any other: with its service account's token, which came from the cluster.
    let path = format!("{PODS}/web");
    create(&cluster.api, PODS, &service("web")).await;
    let pod = seen(&cluster.api, &path, "it runs", |pod| runs(pod, 0)).await;
    let first = container(&pod);
    let process = containerd.process(&first).unwrap();
    eventually("it shows its token", async || {
        let said = kubelet.said("web");
        // The beginning of every JWT.
        if said.contains("eyJ") {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await;

    // Cut; then the edge and the kubelet are killed. The container is found again.
    world.edge().link.cut(CutMode::Silent);
    world.edge().crash_and_restart().await;
    world.edge().serving().await;
    tokio::task::block_in_place(|| kubelet.crash_and_restart());
    // It starts again by the local API alone what ends meanwhile, with the token it has.
    create(&world.edge().http(), PODS, &service("local")).await;
    let local = world.edge().http();
    seen(&local, &format!("{PODS}/local"), "it runs", |pod| {
        runs(pod, 0)
    })
    .await;
    assert_eq!(
        containerd.process(&first),
        Some(process),
        "it was made again"
    );
    tokio::task::block_in_place(|| {
        containerd
            .ctr(&["tasks", "kill", "-s", "SIGKILL", &first])
            .unwrap();
    });
    let pod = seen(&local, &path, "it was started again", |pod| runs(pod, 1)).await;
    let second = container(&pod);
    let process = containerd.process(&second).unwrap();

    // Heal: the cluster learns of it, and nothing is started for that.
    world.edge().link.heal();
    let pod = seen(&cluster.api, &path, "it was started again", |pod| {
        runs(pod, 1)
    })
    .await;
    assert_eq!(container(&pod), second);
    assert_eq!(containerd.process(&second), Some(process));

    // Forced away and made again under the same name during a cut: another life.
    world.edge().link.cut(CutMode::Silent);
    cluster.kubectl(&["delete", "pod", "web", "--force", "--grace-period=0"]);
    create(&cluster.api, PODS, &service("web")).await;
    world.edge().link.heal();
    let pod = seen(&cluster.api, &path, "the new one runs", |pod| runs(pod, 0)).await;
    assert_ne!(container(&pod), second);
    eventually("the old one has ended", async || {
        match containerd.process(&second) {
            None => Ok(()),
            Some(process) => Err(format!("process {process}")),
        }
    })
    .await;

    // An ordinary delete ends with the kubelet's word.
    cluster.kubectl(&["delete", "pod", "web", "--timeout=60s"]);
    gone(&cluster.api, &path).await;

    // Heartbeats went nowhere: the lease was never sent, and the status only when it changed.
    let log = "/causeway/v1/nodes/edge-1/log?stream=up";
    let log = world.edge().http().text(log).await.unwrap();
    let records: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |resource: &str| {
        records
            .iter()
            .filter(|one| one["key"]["resource"] == resource)
            .count()
    };
    assert_eq!(of("leases"), 0);
    assert!(of("nodes") < 15, "{} records about the node", of("nodes"));
    world.converged().await;
}
