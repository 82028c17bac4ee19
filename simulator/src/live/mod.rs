//! Scenarios on real processes: daemons that die by SIGKILL, sockets, disks, and links that lose
//! what they are given.
//!
//! ```text
//!            ┌─ process: causeway cloud ◀───────────┐
//!   Live ────┼─ link of NODE (in this process) ─────┘◀─┐
//!   (System) ├─ process: causeway edge --no-kubelet ───┘◀─┐
//!            ├─ process: causeway edged ── local API ─────┘── shims ── containers
//!            └─ …
//! ```
//!
//! It is a [`System`] like the simulated world, so that the same file is run, judged and reported by
//! the same code. How days become minutes: `pace`.

mod act;
mod copy;
mod devices;
mod flap;
mod look;
mod pace;
mod refuse;
mod rest;
mod runtime;
mod site;
mod stand_in;
mod users;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use causeway_daemon::tasks::{Shutdown, Stop, Task};
use causeway_daemon::telemetry::error_chain;
use causeway_kube_api::client::{CONFIGMAPS, ListOptions, PODS};
use causeway_log::NodeName;
use serde_json::Value;
use tokio::runtime::Runtime;

use self::look::Sights;
use self::pace::{Gait, Pace};
use self::site::Site;
use self::users::Users;
use crate::scenario::{
    Action, Ends, Mistake, Outcome, Pacing, Scenario, System, SystemError, TwinEnds, run,
};
use crate::world::NodeState;

/// How often a live run looks after what it waits for.
const SLICE: Duration = Duration::from_millis(100);
/// How often the nodes are looked at while something may happen.
const PULSE: Duration = Duration::from_millis(500);
/// How long the cloud may take to list its objects.
const LIST_WITHIN: Duration = Duration::from_secs(5);

/// How a scenario is run live.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `causeway` binary.
    pub executable: PathBuf,
    /// Where everything is kept: an empty directory, absolute and without links.
    pub dir: PathBuf,
    /// What is left of a wait is divided by it; none: it is skipped.
    pub speed: Option<u32>,
    /// Containers run their commands, with the rights of this process; otherwise stand-ins do.
    pub commands: bool,
}

/// Why a live run cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The machine refused something.
    #[error("cannot {doing} {}", path.display())]
    Host {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
    /// A daemon does not do what it should.
    #[error("{name}: {what}; the end of its log, {}:\n{tail}", log.display())]
    Daemon {
        /// Which.
        name: String,
        /// What is wrong.
        what: String,
        /// Its log.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// Processes cannot be ended.
    #[error("{0}")]
    Stuck(String),
    /// The directory is too deep.
    #[error("the path {} is too long for a Unix socket", .0.display())]
    Path(PathBuf),
    /// Somebody asked for the end.
    #[error("interrupted")]
    Interrupted,
}

impl LiveError {
    fn host(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Host {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

impl From<LiveError> for SystemError {
    fn from(error: LiveError) -> Self {
        Self {
            invariant: None,
            what: error_chain(&error).to_string(),
        }
    }
}

/// What a scenario asks for that real daemons cannot do, with places; empty: it can be run.
#[must_use]
pub fn impossible(scenario: &Scenario) -> Vec<Mistake> {
    refuse::impossible(scenario)
}

/// Runs a scenario on real processes, from their start to their end. Signals that ask this process
/// to end, end the run.
///
/// # Errors
/// [`LiveError`] when it cannot begin. What happens later is part of the outcome.
pub fn play(
    scenario: &Scenario,
    settings: Settings,
    progress: &mut dyn FnMut(Duration),
) -> Result<Outcome, LiveError> {
    let mut live = Live::start(scenario, settings)?;
    let outcome = run(scenario, scenario.seed, &mut live, progress);
    live.end()?;
    Ok(outcome)
}

/// Real processes as a [`System`].
#[derive(Debug)]
struct Live {
    // Before the runtime: its processes and tasks belong to it.
    site: Site,
    _signals: (Shutdown, Task),
    stop: Stop,
    settings: Settings,
    users: Users,
    sights: Sights,
    pace: Pace,
    began: Instant,
    refusals: Vec<(Duration, String)>,
    notes: Vec<String>,
    /// What was done last.
    last_step: String,
    runtime: Runtime,
}

impl Live {
    fn start(scenario: &Scenario, settings: Settings) -> Result<Self, LiveError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // One carries the links while another waits.
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| LiveError::host("start threads for", &settings.dir, error))?;
        let began = Instant::now();
        let started = runtime.block_on(async {
            let (shutdown, task) = Shutdown::on_signals()
                .map_err(|error| LiveError::host("handle signals in", &settings.dir, error))?;
            let mut stop = shutdown.token();
            let site = tokio::select! {
                site = Site::start(&settings, &scenario.nodes) => site,
                () = stop.wait() => Err(LiveError::Interrupted),
            };
            Ok((site?, (shutdown, task), stop))
        });
        let (site, signals, stop) = started.inspect_err(|_| {
            crate::daemons::kill_all_below(&settings.dir);
        })?;
        Ok(Self {
            site,
            _signals: signals,
            stop,
            pace: Pace::new(scenario, settings.speed, Instant::now()),
            settings,
            users: Users::default(),
            sights: Sights::default(),
            began,
            refusals: Vec::new(),
            notes: Vec::new(),
            last_step: "the start".to_owned(),
            runtime,
        })
    }

    /// Ends everything.
    fn end(&mut self) -> Result<(), LiveError> {
        self.runtime.block_on(self.site.end())
    }

    fn look(&mut self) {
        self.runtime.block_on(self.sights.look(&self.site));
    }

    /// What is to be done all the time.
    fn attend(&mut self) -> Result<(), LiveError> {
        if self.stop.is_set() {
            return Err(LiveError::Interrupted);
        }
        self.site.check()?;
        if self.users.wait() {
            let refused = self.runtime.block_on(self.users.pass(&self.site.cloud_api));
            let now = self.pace.now();
            self.refusals
                .extend(refused.into_iter().map(|why| (now, why)));
        }
        Ok(())
    }

    /// Takes note when all is at rest, or when that takes too long.
    fn judge_rest(&mut self) {
        let Some(since) = self.pace.stirred() else {
            return;
        };
        if self.is_at_rest(since) {
            self.pace.rest(Instant::now());
        } else if since.elapsed() >= pace::HEAD {
            let (why, seconds) = (self.stirs(), pace::HEAD.as_secs());
            let step = &self.last_step;
            self.notes.push(format!(
                "{seconds} s after {step} it is not at rest ({why}); the clock goes on"
            ));
            self.pace.rest(Instant::now());
        }
    }

    /// Lets flapping links follow the clock.
    fn flap(&mut self) {
        let now = self.pace.now();
        let nodes = self.site.nodes.iter();
        let changes = nodes.filter(|node| node.flap_at(now)).count();
        if changes > 0 {
            "a flapping link".clone_into(&mut self.last_step);
            self.sights.forget();
            self.pace.stir(Instant::now());
        }
    }

    /// How far a wait until `at` may be shortened at once: while something is awaited, every window
    /// of a flapping link is a chance.
    fn skip_target(&self, at: Duration) -> Duration {
        if !self.pace.is_awaiting() {
            return at;
        }
        let now = self.pace.now();
        let flaps = self.site.nodes.iter().filter_map(|node| node.flap);
        let next = flaps.map(|flap| flap.next(now)).min();
        next.map_or(at, |next| next.min(at))
    }

    fn sleep(&self, length: Duration) {
        let mut stop = self.stop.clone();
        self.runtime.block_on(async {
            // A signal ends the wait; the next look at `stop` says so.
            let _ = tokio::time::timeout(length, stop.wait()).await;
        });
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        // Pods outlive their daemons by design; nothing outlives its run.
        crate::daemons::kill_all_below(&self.settings.dir);
    }
}

impl System for Live {
    fn now(&self) -> Duration {
        self.pace.now()
    }

    fn run_until(&mut self, at: Duration, waiting: bool) -> Result<(), SystemError> {
        self.pace.awaits(waiting, Instant::now());
        loop {
            self.attend()?;
            if self.pace.now() >= at {
                return Ok(());
            }
            let target = self.skip_target(at);
            match self.pace.gait(target, Instant::now()) {
                Gait::Real => {
                    let left = self.pace.left(at, Instant::now());
                    self.sleep(left.min(SLICE));
                    let at_least = if left <= SLICE { at } else { Duration::ZERO };
                    self.pace.went(at_least, Instant::now());
                    self.flap();
                    self.judge_rest();
                }
                Gait::Shortened(length) => {
                    let begun = Instant::now();
                    while begun.elapsed() < length && !self.stop.is_set() {
                        self.sleep(length.saturating_sub(begun.elapsed()).min(SLICE));
                        self.attend()?;
                    }
                    self.pace.skip(target, begun.elapsed(), Instant::now());
                    // What nobody sees on the way is left out.
                    if self.pace.is_awaiting() || self.pace.is_moment() {
                        self.flap();
                    }
                }
            }
        }
    }

    fn act(&mut self, action: &Action, label: &str) -> Result<(), SystemError> {
        self.do_act(action)?;
        self.last_step = format!("`{label}`");
        self.sights.forget();
        self.attend()?;
        self.pace.stir(Instant::now());
        Ok(())
    }

    fn node(&mut self, node: &NodeName) -> NodeState {
        self.look();
        let sight = self.sights.nodes.get(node);
        sight.map(|sight| sight.state.clone()).unwrap_or_default()
    }

    fn refusals(&self) -> Vec<(Duration, String)> {
        self.refusals.clone()
    }

    fn objects(&mut self) -> Option<Vec<Value>> {
        if !self.site.cloud.runs() {
            return None;
        }
        let cloud = self.site.cloud_api.clone();
        let list = async {
            let options = ListOptions::default();
            let mut objects = Vec::new();
            for (kind, resource) in [("Pod", PODS), ("ConfigMap", CONFIGMAPS)] {
                let list = cloud.list_all(&resource, "", &options).await.ok()?;
                // In a list, the kind is said once for all.
                objects.extend(list.items.into_iter().map(|mut object| {
                    object["kind"] = kind.into();
                    object
                }));
            }
            Some(objects)
        };
        let listed = async { tokio::time::timeout(LIST_WITHIN, list).await };
        self.runtime.block_on(listed).ok().flatten()
    }

    fn streams(&mut self, node: &NodeName) -> Option<[Ends; 2]> {
        let edge = self.site.node(node)?.api.clone();
        let cloud = self.site.cloud_api.clone();
        self.runtime.block_on(look::streams(&cloud, &edge, node))
    }

    fn twin(&mut self, node: &NodeName, namespace: &str, name: &str) -> TwinEnds {
        self.twin_ends(node, namespace, name)
    }

    fn readings(
        &mut self,
        node: &NodeName,
        namespace: &str,
        name: &str,
        property: &str,
    ) -> Option<u64> {
        self.count_readings(node, namespace, name, property)
    }

    fn pulse(&self) -> Option<Duration> {
        self.pace.is_real(Instant::now()).then_some(PULSE)
    }

    fn pacing(&self) -> Pacing {
        Pacing::Live {
            real: self.began.elapsed(),
            skips: self.pace.skips().to_vec(),
            notes: self.notes.clone(),
        }
    }
}
