//! One control plane: four programs, their state in one folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::kubeconfig::{self, Credential};
use crate::pki::{Pki, Validity};
use crate::process::Process;
use crate::wait::{Unmet, eventually};
use crate::{Binaries, etcd, ports};

mod programs;

/// What starting may take on a slow, busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// What the control plane is described in.
const STATE: &str = "control-plane.json";

/// A running control plane. One that a test started ends with its value; one that `attach` found
/// goes on.
#[derive(Debug)]
pub struct ControlPlane {
    dir: PathBuf,
    binaries: Binaries,
    state: State,
    pki: Pki,
    processes: [Process; 4],
    owned: bool,
}

/// The programs of a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The store.
    Etcd,
    /// The API.
    ApiServer,
    /// Deployments, jobs, node lifecycle, garbage collection, service accounts.
    ControllerManager,
    /// Binds pods to nodes.
    Scheduler,
}

/// How a control plane is set up. The defaults are those of Kubernetes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Options {
    /// How long a node may be silent before it is `Unknown`; Kubernetes says 50 s.
    pub node_grace: Option<Duration>,
    /// How long a pod without tolerations of its own stays on such a node; Kubernetes says 300 s.
    pub eviction_after: Option<Duration>,
    /// Write down who wrote what: one JSON object a line in `audit.log`, reads left out.
    pub audit: bool,
    /// Given to kube-apiserver as they are.
    pub api_server_flags: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct State {
    api_port: u16,
    etcd_port: u16,
    peer_port: u16,
    options: Options,
}

impl Component {
    /// All of them, in the order in which they start.
    pub const ALL: [Self; 4] = [
        Self::Etcd,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
    ];

    /// The name of its program.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
        }
    }
}

impl ControlPlane {
    /// Starts a control plane whose state is in `dir`, and waits until it serves. State that is
    /// there already is gone on from.
    ///
    /// # Errors
    /// When one runs there, or something does not start.
    pub fn start(binaries: Binaries, dir: &Path, options: Options) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let state = match read_state(&dir)? {
            Some(state) => State { options, ..state },
            None => State {
                api_port: ports::free()?,
                etcd_port: ports::free()?,
                peer_port: ports::free()?,
                options,
            },
        };
        let mut plane = Self::assemble(binaries, dir, state)?;
        if plane.any_runs() {
            bail!("a control plane runs in {} already", plane.dir.display());
        }
        plane.owned = true;
        plane.write_files()?;
        for component in Component::ALL {
            plane.start_component(component)?;
        }
        plane.ready()?;
        Ok(plane)
    }

    /// The control plane that runs in `dir`, `None` when none does.
    ///
    /// # Errors
    /// When its state cannot be read.
    pub fn attach(binaries: Binaries, dir: &Path) -> Result<Option<Self>> {
        let Ok(dir) = dir.canonicalize() else {
            return Ok(None);
        };
        let Some(state) = read_state(&dir)? else {
            return Ok(None);
        };
        let plane = Self::assemble(binaries, dir, state)?;
        Ok(plane.any_runs().then_some(plane))
    }

    fn assemble(binaries: Binaries, dir: PathBuf, state: State) -> Result<Self> {
        let pki = Pki::open(&dir.join("pki"))?;
        let processes = Component::ALL.map(|component| Process::new(&dir, component.name()));
        Ok(Self {
            dir,
            binaries,
            state,
            pki,
            processes,
            owned: false,
        })
    }

    /// Leaves it running when this value ends.
    pub const fn leave(&mut self) {
        self.owned = false;
    }

    /// Where its state is: logs, kubeconfigs, keys.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The programs it runs.
    #[must_use]
    pub const fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Its authority, for certificates of any kind.
    #[must_use]
    pub const fn pki(&self) -> &Pki {
        &self.pki
    }

    /// Where the API server listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(
            std::net::IpAddr::V4(Ipv4Addr::LOCALHOST),
            self.state.api_port,
        )
    }

    /// The URL of the API server.
    #[must_use]
    pub fn server(&self) -> String {
        format!("https://{}", self.address())
    }

    /// The kubeconfig of the administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// Where writes are recorded, with [`Options::audit`].
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }

    /// A kubeconfig for a user and one of its groups, by certificate.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig_of(&self, user: &str, group: &str, validity: Validity) -> Result<PathBuf> {
        let pair = self.pki.client_valid(user, group, validity)?;
        let name = user.replace([':', '/'], "-");
        self.kubeconfig_with(&name, &self.server(), &Credential::Certificate(pair))
    }

    /// A kubeconfig for a service account that exists, by a token it gives.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn kubeconfig_of_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let credential = Credential::Token(self.token_of(namespace, name)?);
        self.kubeconfig_with(&format!("{namespace}-{name}"), &self.server(), &credential)
    }

    /// A token of a service account that exists, good for an hour.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn token_of(&self, namespace: &str, name: &str) -> Result<String> {
        let token = self.kubectl(&["create", "token", name, "--namespace", namespace])?;
        Ok(token.trim().to_owned())
    }

    /// A kubeconfig with any credential for any address, such as one of a proxy before the API
    /// server; the authority is this control plane's.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig_with(
        &self,
        name: &str,
        server: &str,
        credential: &Credential,
    ) -> Result<PathBuf> {
        let path = self.dir.join(format!("{name}.kubeconfig"));
        kubeconfig::write(&path, name, server, &self.pki.authority()?, credential)?;
        Ok(path)
    }

    /// kubectl as the administrator, to be run.
    #[must_use]
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binaries.path("kubectl"));
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(arguments)
            // Discovery is cached here, not in the home of whoever runs this.
            .env("KUBECACHEDIR", self.dir.join("kubectl-cache"))
            .stdin(Stdio::null());
        command
    }

    /// What kubectl says to the administrator.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = self.kubectl_command(arguments).output();
        said(&output.context("cannot run kubectl")?)
            .with_context(|| format!("kubectl {}", arguments.join(" ")))
    }

    /// Applies manifests.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        use std::io::Write as _;
        let mut command = self.kubectl_command(&["apply", "-f", "-"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run kubectl")?;
        let mut stdin = child.stdin.take().context("kubectl has no input")?;
        stdin.write_all(manifests.as_bytes())?;
        drop(stdin);
        said(&child.wait_with_output()?)
            .map(drop)
            .context("kubectl apply")
    }

    /// Process id of a program while it runs.
    #[must_use]
    pub fn pid(&self, component: Component) -> Option<u32> {
        self.process(component).pid()
    }

    /// Starts a program that is down; does not wait for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_component(&mut self, component: Component) -> Result<()> {
        let mut command = self.command(component);
        self.process_mut(component).start(&mut command)
    }

    /// Ends a program at once.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stop_component(&mut self, component: Component) -> Result<()> {
        self.process_mut(component).kill()
    }

    /// Ends a program, starts it, and waits until everything serves.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn restart(&mut self, component: Component) -> Result<()> {
        self.stop_component(component)?;
        self.start_component(component)?;
        self.ready()
    }

    /// Holds a program where it is: connections stay, nothing is answered.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn freeze(&self, component: Component) -> Result<()> {
        self.process(component).signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn thaw(&self, component: Component) -> Result<()> {
        self.process(component).signal(Signal::CONT)
    }

    /// Forgets all history of the store: whoever resumes a watch from before gets 410 Gone once the
    /// API server has restarted.
    ///
    /// # Errors
    /// When etcd does not answer.
    pub fn compact(&self) -> Result<()> {
        etcd::compact(self.state.etcd_port)
    }

    /// Begins a new, empty cluster at the same address, with the same authority: another cluster for
    /// whoever looks closely.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn wipe(&mut self) -> Result<()> {
        self.stop()?;
        let data = self.dir.join("etcd");
        std::fs::remove_dir_all(&data)
            .with_context(|| format!("cannot remove {}", data.display()))?;
        for component in Component::ALL {
            self.start_component(component)?;
        }
        self.ready()
    }

    /// Waits until it serves: the API answers, and the controllers have made what every cluster has.
    ///
    /// # Errors
    /// When it does not in time; with the end of the log of whoever is late.
    pub fn ready(&self) -> Result<()> {
        let port = self.state.etcd_port;
        self.serves(Component::Etcd, || etcd::healthy(port))?;
        self.serves(Component::ApiServer, || {
            self.kubectl(&["get", "--raw", "/readyz"]).map(drop)
        })?;
        if self.pid(Component::ControllerManager).is_some() {
            // What every namespace has is made by controllers.
            let made = [
                "get",
                "--namespace=default",
                "serviceaccount/default",
                "configmap/kube-root-ca.crt",
            ];
            self.serves(Component::ControllerManager, || {
                self.kubectl(&made).map(drop)
            })?;
        }
        Ok(())
    }

    fn serves(&self, component: Component, ask: impl Fn() -> Result<()>) -> Result<()> {
        let look = eventually(component.name(), PATIENCE, || match ask() {
            Ok(()) => Ok(()),
            Err(_) if self.pid(component).is_none() => Err(Unmet::Ever("ended".to_owned())),
            Err(error) => Err(Unmet::yet(&error)),
        });
        look.with_context(|| self.last_words(component))
    }

    /// Ends everything; state stays.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn stop(&mut self) -> Result<()> {
        for component in Component::ALL.into_iter().rev() {
            // One that is frozen ends all the same.
            self.stop_component(component)?;
        }
        Ok(())
    }

    fn write_files(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.state)?;
        std::fs::write(self.dir.join(STATE), text)?;
        for (name, user, group) in programs::USERS {
            let pair = self.pki.client(user, group)?;
            self.pki.write(name, &pair)?;
            self.kubeconfig_with(name, &self.server(), &Credential::Certificate(pair))?;
        }
        programs::write_audit_policy(&self.dir)
    }

    fn any_runs(&self) -> bool {
        let mut processes = self.processes.iter();
        processes.any(|process| process.pid().is_some())
    }

    fn last_words(&self, component: Component) -> String {
        let tail = self.process(component).log_tail(15);
        format!("the end of the log of {}:\n{tail}", component.name())
    }

    const fn process(&self, component: Component) -> &Process {
        &self.processes[component as usize]
    }

    const fn process_mut(&mut self, component: Component) -> &mut Process {
        &mut self.processes[component as usize]
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if self.owned {
            // Nobody could do anything about a failure.
            let _ = self.stop();
        }
    }
}

fn read_state(dir: &Path) -> Result<Option<State>> {
    match std::fs::read_to_string(dir.join(STATE)) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .with_context(|| format!("no control plane's state: {}", dir.join(STATE).display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", dir.display())),
    }
}

fn said(output: &Output) -> Result<String> {
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim())
    }
}
