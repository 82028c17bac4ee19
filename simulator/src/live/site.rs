//! The processes, links and directories of a live run.
//!
//! ```text
//!   DIR/cloud/           the cloud's store
//!   DIR/NODE/sync/       the store of a node's sync daemon
//!   DIR/NODE/edged/      its kubelet: pods, volumes, logs of containers
//!   DIR/NODE/edge.sock   its local API
//!   DIR/snapshots/       copies of stores
//!   DIR/logs/            what the daemons say
//! ```

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use causeway_kube_api::client::Client;
use causeway_log::NodeName;

use super::copy::copy;
use super::flap::Flap;
use super::{LiveError, Settings};
use crate::daemons;
use crate::http::Http;
use crate::process::{Process, Program};
use crate::proxy::{CutMode, Link, Proxy, Slow};
use crate::scenario::Part;
use crate::wait::eventually;

/// What starting may take on a slow, busy machine.
const START_WITHIN: Duration = Duration::from_secs(120);
/// What it may take to stop a process in the middle of whatever it does.
const FREEZE_WITHIN: Duration = Duration::from_secs(5);
/// Lines of a log that are told when a daemon ended by itself.
const LAST_WORDS: usize = 8;
/// The longest path of a Unix socket that every system takes.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Site {
    dir: PathBuf,
    pub(super) cloud: Daemon,
    pub(super) cloud_api: Client,
    pub(super) api: SocketAddr,
    pub(super) nodes: Vec<Node>,
}

/// A process and the directory of what it keeps.
#[derive(Debug)]
pub(super) struct Daemon {
    /// As people know it: `cloud`, `ridge/edged`.
    name: String,
    process: Process,
    /// It is to run; else it was killed, and waits to be started.
    pub(super) wanted: bool,
    pub(super) dir: PathBuf,
}

/// A node: two daemons and a link.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) sync: Daemon,
    pub(super) kubelet: Daemon,
    pub(super) api: Client,
    /// Where its broker listens, once there is a device.
    pub(super) mqtt: SocketAddr,
    pub(super) link: Proxy,
    /// How slow the link is while it carries.
    pub(super) slow: Option<Slow>,
    /// The link comes and goes.
    pub(super) flap: Option<Flap>,
    dir: PathBuf,
}

impl Site {
    /// Opens the links and starts everything; waits until every node has met the cloud once.
    pub(super) async fn start(settings: &Settings, nodes: &[NodeName]) -> Result<Self, LiveError> {
        let dir = settings.dir.clone();
        check_socket_path(&dir, nodes)?;
        let place = |error| LiveError::host("open a port", &dir, error);
        let (api, sync) = (
            daemons::free_address().map_err(place)?,
            daemons::free_address().map_err(place)?,
        );
        let cloud_dir = dir.join("cloud");
        let cloud = Daemon {
            process: process(settings, "cloud", daemons::cloud(&cloud_dir, api, sync)),
            name: "cloud".to_owned(),
            wanted: true,
            dir: cloud_dir,
        };
        let mut site = Self {
            cloud,
            cloud_api: Client::tcp(&api.to_string()),
            api,
            nodes: Vec::new(),
            dir,
        };
        for name in nodes {
            let node = Node::new(settings, name, sync).await?;
            site.nodes.push(node);
        }
        site.cloud.start()?;
        site.cloud_ready().await?;
        for node in &mut site.nodes {
            node.sync.start()?;
            node.kubelet.start()?;
        }
        for node in &mut site.nodes {
            node.met().await?;
        }
        Ok(site)
    }

    /// The node of that name.
    pub(super) fn node(&mut self, name: &NodeName) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.name == *name)
    }

    async fn cloud_ready(&mut self) -> Result<(), LiveError> {
        let http = Http::tcp(self.api);
        let ready = eventually("the cloud is ready", START_WITHIN, async || {
            let answered = http.text("/readyz").await;
            answered.map(drop).map_err(|error| error.to_string())
        });
        ready.await.map_err(|error| self.cloud.unwell(&error))
    }

    fn daemons(&mut self) -> impl Iterator<Item = &mut Daemon> {
        let nodes = self.nodes.iter_mut();
        std::iter::once(&mut self.cloud)
            .chain(nodes.flat_map(|node| [&mut node.sync, &mut node.kubelet]))
    }

    /// Says when a daemon ended that nobody killed.
    pub(super) fn check(&mut self) -> Result<(), LiveError> {
        self.daemons().try_for_each(Daemon::check)
    }

    /// The daemons of a part.
    pub(super) fn part(&mut self, part: &Part) -> Vec<&mut Daemon> {
        match part {
            Part::Cloud => vec![&mut self.cloud],
            Part::Node(node) => self
                .node(node)
                .map(|node| vec![&mut node.sync, &mut node.kubelet])
                .unwrap_or_default(),
            Part::EdgeSync(node) => self
                .node(node)
                .map(|node| &mut node.sync)
                .into_iter()
                .collect(),
            Part::Edged(node) => {
                let node = self.node(node);
                node.map(|node| &mut node.kubelet).into_iter().collect()
            }
        }
    }

    /// The daemon whose store a machine's disk stands for.
    fn store(&mut self, part: &Part) -> Option<&mut Daemon> {
        match part {
            Part::Cloud => Some(&mut self.cloud),
            Part::Node(node) | Part::EdgeSync(node) | Part::Edged(node) => {
                self.node(node).map(|node| &mut node.sync)
            }
        }
    }

    /// Gives a machine an empty disk.
    pub(super) async fn wipe(&mut self, part: &Part) -> Result<(), LiveError> {
        if let Part::Node(name) = part
            && let Some(node) = self.node(name)
        {
            node.power_off().await?;
            remove(&node.sync.dir)?;
            remove(&node.kubelet.dir)?;
            node.sync.start()?;
            return node.kubelet.start();
        }
        if let Some(daemon) = self.store(part) {
            daemon.kill().await?;
            remove(&daemon.dir)?;
            daemon.start()?;
        }
        Ok(())
    }

    /// Copies a store as it is at one instant, as a crash would leave it.
    pub(super) async fn snapshot(&mut self, part: &Part) -> Result<(), LiveError> {
        let into = self.snapshot_of(part);
        let Some(daemon) = self.store(part) else {
            return Ok(());
        };
        daemon.freeze().await?;
        let copied = copy(&daemon.dir, &into);
        daemon.thaw()?;
        copied.map_err(|error| LiveError::host("copy the store of", &daemon.dir, error))
    }

    /// Puts the copy taken last in the place of a store.
    pub(super) async fn restore(&mut self, part: &Part) -> Result<(), LiveError> {
        let from = self.snapshot_of(part);
        let Some(daemon) = self.store(part) else {
            return Ok(());
        };
        daemon.kill().await?;
        copy(&from, &daemon.dir)
            .map_err(|error| LiveError::host("copy back the store of", &daemon.dir, error))?;
        daemon.start()
    }

    fn snapshot_of(&self, part: &Part) -> PathBuf {
        self.dir.join("snapshots").join(part.machine())
    }

    /// Ends everything at once, pods included.
    pub(super) async fn end(&mut self) -> Result<(), LiveError> {
        for daemon in self.daemons() {
            daemon.kill().await?;
        }
        daemons::clear(&self.dir)
            .await
            .map_err(|error| LiveError::Stuck(error.to_string()))
    }
}

impl Node {
    async fn new(
        settings: &Settings,
        name: &NodeName,
        cloud: SocketAddr,
    ) -> Result<Self, LiveError> {
        let dir = settings.dir.join(name.as_str());
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let link = Proxy::listen(anywhere, cloud).await;
        let link = link.map_err(|error| LiveError::host("open the link of", &dir, error))?;
        let (socket, kubelet_dir, sync_dir) =
            (dir.join("edge.sock"), dir.join("edged"), dir.join("sync"));
        let mut arguments = daemons::edge(name.as_str(), &sync_dir, link.local_addr(), None);
        arguments.extend(["--no-kubelet".to_owned(), "--socket".to_owned()]);
        arguments.push(socket.display().to_string());
        let mqtt =
            daemons::free_address().map_err(|error| LiveError::host("open a port", &dir, error))?;
        let config = dir.join("edge.toml");
        // What no flag says: where devices find the broker of this node.
        write(&config, &format!("[mqtt]\nlisten = \"{mqtt}\"\n"))?;
        arguments.extend(["--config".to_owned(), config.display().to_string()]);
        let config = dir.join("edged.toml");
        write_config(&config, name, &socket, &kubelet_dir)?;
        let kubelet = ["edged".to_owned(), "--exit-with-parent".to_owned()];
        let kubelet = [kubelet.to_vec(), vec![config.display().to_string()]].concat();
        let daemon = |what: &str, arguments, dir| Daemon {
            name: format!("{name}/{what}"),
            process: process(settings, &format!("{name}-{what}"), arguments),
            wanted: true,
            dir,
        };
        Ok(Self {
            name: name.clone(),
            sync: daemon("edge-sync", arguments, sync_dir),
            kubelet: daemon("edged", kubelet, kubelet_dir),
            api: Client::unix(&socket),
            mqtt,
            link,
            slow: None,
            flap: None,
            dir,
        })
    }

    /// Waits until it has been synchronised once.
    async fn met(&mut self) -> Result<(), LiveError> {
        let what = format!("{} has met the cloud", self.name);
        let (api, name) = (&self.api, self.name.as_str());
        let met = eventually(&what, START_WITHIN, async || {
            let found = api.find(&causeway_kube_api::client::NODES, "", name).await;
            match found {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("its node is not there".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
        met.await.map_err(|error| self.sync.unwell(&error))
    }

    /// Everything of the node ends at once: daemons, shims, containers.
    pub(super) async fn power_off(&mut self) -> Result<(), LiveError> {
        self.kubelet.kill().await?;
        self.sync.kill().await?;
        daemons::clear(&self.dir)
            .await
            .map_err(|error| LiveError::Stuck(error.to_string()))
    }

    /// The power goes and comes back: what was to run starts again.
    pub(super) async fn reboot(&mut self) -> Result<(), LiveError> {
        let (sync, kubelet) = (self.sync.wanted, self.kubelet.wanted);
        self.power_off().await?;
        if sync {
            self.sync.start()?;
        }
        if kubelet {
            self.kubelet.start()?;
        }
        Ok(())
    }

    /// The link does this from now on, and nothing by itself.
    pub(super) fn set_link(&mut self, link: Link) {
        self.flap = None;
        self.link.set(link);
    }

    /// Lets a flapping link do what it does at this time; says whether that is another thing.
    pub(super) fn flap_at(&self, now: Duration) -> bool {
        let Some(flap) = self.flap else {
            return false;
        };
        let link = if flap.carries(now) {
            self.open()
        } else {
            Link::Cut {
                mode: CutMode::Silent,
            }
        };
        let changes = self.link.link() != link;
        if changes {
            self.link.set(link);
        }
        changes
    }

    /// What the link does when it carries.
    pub(super) fn open(&self) -> Link {
        self.slow.map_or(Link::Whole, Link::Slow)
    }
}

impl Daemon {
    /// Starts it, if it does not run.
    pub(super) fn start(&mut self) -> Result<(), LiveError> {
        self.wanted = true;
        self.process
            .start()
            .map_err(|error| LiveError::host("start", &self.process.program().executable, error))
    }

    /// SIGKILL, in the middle of whatever it does.
    pub(super) async fn kill(&mut self) -> Result<(), LiveError> {
        self.wanted = false;
        let killed = self.process.kill().await;
        killed.map_err(|error| LiveError::host("kill", &self.dir, error))
    }

    /// Whether it runs.
    pub(super) fn runs(&self) -> bool {
        self.process.pid().is_some()
    }

    fn check(&mut self) -> Result<(), LiveError> {
        match self.process.ended() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.unwell(&format!("it ended by itself ({status})"))),
            Err(error) => Err(LiveError::host("look at", &self.dir, error)),
        }
    }

    /// What is wrong with it, and its last words.
    fn unwell(&self, what: &impl std::fmt::Display) -> LiveError {
        LiveError::Daemon {
            name: self.name.clone(),
            what: what.to_string(),
            log: self.process.program().log.clone(),
            tail: self.process.log_tail(LAST_WORDS),
        }
    }

    /// Stops it in the middle of whatever it does; returns when it does nothing.
    async fn freeze(&self) -> Result<(), LiveError> {
        let Some(pid) = self.process.pid() else {
            return Ok(());
        };
        self.set_frozen(true)?;
        let stopped = eventually("it stands still", FREEZE_WITHIN, async || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // The name is in parentheses and may hold anything; the state follows.
            match stat
                .rsplit_once(") ")
                .and_then(|(_, rest)| rest.chars().next())
            {
                Some('T' | 'Z') | None => Ok(()),
                Some(state) => Err(state.to_string()),
            }
        });
        let stopped = stopped.await.map_err(|error| self.unwell(&error));
        if stopped.is_err() {
            self.thaw()?;
        }
        stopped
    }

    fn thaw(&self) -> Result<(), LiveError> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), LiveError> {
        let set = self.process.freeze(frozen);
        set.map_err(|error| LiveError::host("stop or continue", &self.dir, error))
    }
}

fn process(settings: &Settings, name: &str, arguments: Vec<String>) -> Process {
    Process::new(Program {
        executable: settings.executable.clone(),
        arguments,
        environment: Vec::new(),
        log: settings.dir.join("logs").join(format!("{name}.log")),
    })
}

fn write_config(file: &Path, node: &NodeName, socket: &Path, dir: &Path) -> Result<(), LiveError> {
    let text = format!(
        "node = \"{node}\"\napi = {}\ndir = {}\n",
        quoted(&PathBuf::from(format!("unix:{}", socket.display()))),
        quoted(dir),
    );
    write(file, &text)
}

/// A path as TOML has it.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

fn write(file: &Path, text: &str) -> Result<(), LiveError> {
    let parent = file.parent().unwrap_or(file);
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(file, text))
        .map_err(|error| LiveError::host("write", file, error))
}

fn remove(dir: &Path) -> Result<(), LiveError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LiveError::host("remove", dir, error))
        }
        _ => Ok(()),
    }
}

fn check_socket_path(dir: &Path, nodes: &[NodeName]) -> Result<(), LiveError> {
    for node in nodes {
        let socket = dir.join(node.as_str()).join("edge.sock");
        if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(LiveError::Path(socket));
        }
    }
    Ok(())
}
