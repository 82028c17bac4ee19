//! Running a scenario on a system, virtual or real.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_log::NodeName;

use super::claims;
use super::desired::Desired;
use super::devices;
use super::history::NodeHistory;
use super::model::{Action, Claim, Expectation, Scenario, When};
use super::streams::Ends;
use super::system::{Pacing, System, SystemError};
use super::tree::Place;
use crate::world::NodeState;

/// After each step the nodes are looked at so much later, to show what it led to.
const AFTER_STEP: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];
/// Scenarios with more steps are looked at as often as others, but not after each step.
const STEPS_SHOWN: usize = 300;
/// How many looks at single nodes the regular grid may cost.
const LOOKS_MAX: usize = 200_000;
/// How often a system is asked whether it converged: bounds of a two-hundredth of the time it has.
const POLL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// What a run showed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario's name.
    pub name: String,
    /// The seed that was used.
    pub seed: u64,
    /// When the run ended.
    pub end: Duration,
    /// What was done, and when.
    pub steps: Vec<(Duration, String)>,
    /// What the cloud refused of it.
    pub refusals: Vec<(Duration, String)>,
    /// What the nodes did.
    pub nodes: Vec<NodeHistory>,
    /// What was expected, and whether it was so.
    pub verdicts: Vec<Verdict>,
    /// Why the run ended before its time.
    pub broken: Option<SystemError>,
    /// How its time went.
    pub pacing: Pacing,
}

/// An expectation, and whether it was so.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Where the file says it.
    pub place: Place,
    /// What was expected.
    pub label: String,
    /// When.
    pub when: When,
    /// How long it took, for what may take a while.
    pub took: Option<Duration>,
    /// Why it was not so: when, which node, what was found.
    pub failure: Option<String>,
}

impl Outcome {
    /// Whether everything was as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.broken.is_none()
            && self
                .verdicts
                .iter()
                .all(|verdict| verdict.failure.is_none())
    }
}

/// Runs a scenario to its end. `progress` is told the time now and then.
pub fn run(
    scenario: &Scenario,
    seed: u64,
    system: &mut dyn System,
    progress: &mut dyn FnMut(Duration),
) -> Outcome {
    let mut runner = Runner::new(scenario, system);
    let broken = runner.run(progress).err();
    let end = runner.system.now();
    let refusals = runner.system.refusals();
    let pacing = runner.system.pacing();
    let verdicts = runner.watched.into_iter().map(|watched| watched.close(end));
    Outcome {
        name: scenario.name.clone(),
        seed,
        end,
        verdicts: verdicts.collect(),
        steps: runner.done,
        refusals,
        nodes: runner.histories.into_values().collect(),
        broken,
        pacing,
    }
}

struct Runner<'a> {
    scenario: &'a Scenario,
    system: &'a mut dyn System,
    watched: Vec<Watched<'a>>,
    histories: BTreeMap<usize, NodeHistory>,
    before: Vec<NodeState>,
    states: Vec<NodeState>,
    index: BTreeMap<&'a NodeName, usize>,
    looks: BTreeSet<Duration>,
    done: Vec<(Duration, String)>,
    next_step: usize,
}

/// An expectation on its way to a verdict.
struct Watched<'a> {
    expectation: &'a Expectation,
    phase: Phase,
}

enum Phase {
    /// Its time has not come.
    Waiting,
    /// It may still become true; why it is not yet.
    Open { why: String },
    /// It must stay true.
    Holding,
    /// It was so, after a while.
    Met(Option<Duration>),
    /// It was not so.
    Failed(String),
}

impl<'a> Runner<'a> {
    fn new(scenario: &'a Scenario, system: &'a mut dyn System) -> Self {
        let histories = scenario.nodes.iter().enumerate();
        let watched = scenario.expectations.iter().map(|expectation| Watched {
            expectation,
            phase: Phase::Waiting,
        });
        Self {
            scenario,
            system,
            watched: watched.collect(),
            histories: histories
                .map(|(index, node)| (index, NodeHistory::new(node.as_str())))
                .collect(),
            before: Vec::new(),
            states: vec![NodeState::default(); scenario.nodes.len()],
            index: scenario
                .nodes
                .iter()
                .enumerate()
                .map(|(index, node)| (node, index))
                .collect(),
            looks: looks(scenario),
            done: Vec::new(),
            next_step: 0,
        }
    }

    fn run(&mut self, progress: &mut dyn FnMut(Duration)) -> Result<(), SystemError> {
        if !self.scenario.manifests.is_empty() {
            let apply = Action::Apply(self.scenario.manifests.clone());
            self.system.act(&apply, "the start")?;
        }
        let mut polls: Option<Duration> = None;
        loop {
            self.act_now()?;
            self.open_now();
            let now = self.system.now();
            if now >= self.scenario.end {
                return Ok(());
            }
            let next = self.next_stop(now, polls);
            let waiting = self.watched.iter().any(|one| one.poll().is_some());
            self.system.run_until(next, waiting)?;
            let now = self.system.now();
            progress(now);
            self.look(now);
            polls = self.judge(now);
        }
    }

    /// The next moment at which something is done or looked at.
    fn next_stop(&self, now: Duration, poll: Option<Duration>) -> Duration {
        let step = self.scenario.steps.get(self.next_step).map(|step| step.at);
        let look = self
            .looks
            .range(now.saturating_add(Duration::from_nanos(1))..)
            .next();
        let open = self.watched.iter().filter_map(|watched| watched.poll());
        let poll = open.min().or(poll).map(|poll| now.saturating_add(poll));
        let pulse = self.system.pulse().map(|pulse| now.saturating_add(pulse));
        let stops = [step, look.copied(), poll, pulse, Some(self.scenario.end)];
        stops
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.scenario.end)
            .max(now)
    }

    /// Does what is to be done by this moment.
    fn act_now(&mut self) -> Result<(), SystemError> {
        let now = self.system.now();
        while let Some(step) = self.scenario.steps.get(self.next_step)
            && step.at <= now
        {
            self.next_step = self.next_step.saturating_add(1);
            self.system.act(&step.action, &step.label)?;
            self.done.push((now, step.label.clone()));
        }
        Ok(())
    }

    /// What may take a while counts from here on: after what is done at the same moment.
    fn open_now(&mut self) {
        let now = self.system.now();
        for watched in &mut self.watched {
            let due = watched.expectation.when.first() <= now;
            if !(due && matches!(watched.phase, Phase::Waiting)) {
                continue;
            }
            match watched.expectation.when {
                When::Within { .. } => {
                    watched.phase = Phase::Open {
                        why: "it was not looked at".to_owned(),
                    };
                }
                When::Throughout { .. } => watched.phase = Phase::Holding,
                // Judged before what is done at its moment; at the start there is no such time.
                When::At(at) if at.is_zero() => {
                    watched.phase = Phase::Failed("nothing has happened at the start".to_owned());
                }
                When::At(_) => {}
            }
        }
    }

    fn look(&mut self, now: Duration) {
        self.before = std::mem::take(&mut self.states);
        for (index, node) in self.scenario.nodes.iter().enumerate() {
            let state = self.system.node(node);
            if let Some(history) = self.histories.get_mut(&index) {
                history.note(now, &state);
            }
            self.states.push(state);
        }
    }

    /// Judges what is due; says how soon to look again when something may still become true.
    fn judge(&mut self, now: Duration) -> Option<Duration> {
        let mut watched = std::mem::take(&mut self.watched);
        let wants_objects = |watched: &Watched<'_>| {
            let due = watched.expectation.when.first() <= now;
            due && watched.is_open() && watched.expectation.what == Claim::Converged
        };
        let objects = if watched.iter().any(wants_objects) {
            self.system.objects()
        } else {
            None
        };
        let desired = objects.as_deref().map(Desired::of);
        for watched in &mut watched {
            let when = watched.expectation.when;
            if when.first() > now || !watched.is_open() {
                continue;
            }
            let result = self.check(watched.expectation, desired.as_ref());
            watched.take(result, now);
        }
        self.watched = watched;
        self.watched
            .iter()
            .filter_map(|watched| watched.poll())
            .min()
    }

    fn check(
        &mut self,
        expectation: &Expectation,
        desired: Option<&Desired<'_>>,
    ) -> Result<(), String> {
        for node in &expectation.nodes {
            let Some(index) = self.index.get(node).copied() else {
                continue;
            };
            let (Some(state), before) = (self.states.get(index), self.before.get(index)) else {
                continue;
            };
            let result = match &expectation.what {
                Claim::Runs(pods) => claims::runs(state, pods, false),
                Claim::RunsAmongOthers(pods) => claims::runs(state, pods, true),
                Claim::Serves(wanted) if *wanted == state.serving => Ok(()),
                Claim::Serves(true) => Err("its API does not answer".to_owned()),
                Claim::Serves(false) => Err("its API answers".to_owned()),
                Claim::Connected(wanted) if *wanted == state.connected => Ok(()),
                Claim::Connected(true) => Err("it is not connected".to_owned()),
                Claim::Connected(false) => Err("it is connected".to_owned()),
                Claim::Converged => desired
                    .ok_or_else(|| "the cloud does not answer".to_owned())
                    .and_then(|desired| desired.differs(node.as_str(), state)),
                Claim::OneCopy => claims::one_copy(state),
                Claim::Twin(claim) => devices::check(self.system, node, claim),
                Claim::Undisturbed => {
                    before.map_or(Ok(()), |before| claims::undisturbed(before, state))
                }
            };
            result.map_err(|why| format!("{node}: {why}"))?;
        }
        // What costs most comes last.
        if expectation.what == Claim::Converged {
            for node in &expectation.nodes {
                same_streams(self.system, node).map_err(|why| format!("{node}: {why}"))?;
            }
        }
        Ok(())
    }
}

/// Whether both ends of a node's streams hold the same.
fn same_streams(system: &mut dyn System, node: &NodeName) -> Result<(), String> {
    let streams = system
        .streams(node)
        .ok_or_else(|| "its streams cannot be compared".to_owned())?;
    streams.iter().try_for_each(Ends::differ)
}

impl Watched<'_> {
    const fn is_open(&self) -> bool {
        matches!(
            self.phase,
            Phase::Waiting | Phase::Open { .. } | Phase::Holding
        )
    }

    /// How soon to look again.
    fn poll(&self) -> Option<Duration> {
        let When::Within { within, .. } = self.expectation.when else {
            return None;
        };
        matches!(self.phase, Phase::Open { .. }).then(|| (within / 200).clamp(POLL.0, POLL.1))
    }

    fn take(&mut self, result: Result<(), String>, now: Duration) {
        let shown = super::span::show(now);
        self.phase = match (self.expectation.when, result) {
            (When::At(_), Ok(())) => Phase::Met(None),
            (When::At(_), Err(why)) => Phase::Failed(why),
            // Its time begins after what is done now.
            (When::Within { .. }, _) if matches!(self.phase, Phase::Waiting) => return,
            (When::Within { from, within }, result) => {
                let took = now.saturating_sub(from);
                match result {
                    Ok(()) if took <= within => Phase::Met(Some(took)),
                    Ok(()) => Phase::Failed("it took longer".to_owned()),
                    Err(why) if took >= within => Phase::Failed(why),
                    Err(why) => Phase::Open { why },
                }
            }
            (When::Throughout { until, .. }, Ok(())) => match until {
                Some(until) if now >= until => Phase::Met(None),
                Some(_) | None => Phase::Holding,
            },
            (When::Throughout { .. }, Err(why)) => Phase::Failed(format!("at {shown}, {why}")),
        };
    }

    fn close(self, end: Duration) -> Verdict {
        let Expectation {
            place,
            label,
            when,
            nodes: _,
            what: _,
        } = self.expectation;
        let (took, failure) = match self.phase {
            Phase::Met(took) => (took, None),
            Phase::Failed(why) | Phase::Open { why } => (None, Some(why)),
            Phase::Holding if when.last() <= end => (None, None),
            Phase::Holding | Phase::Waiting => (None, Some("the run ended before".to_owned())),
        };
        Verdict {
            place: *place,
            label: label.clone(),
            when: *when,
            took,
            failure,
        }
    }
}

/// When the nodes are looked at, whatever happens.
fn looks(scenario: &Scenario) -> BTreeSet<Duration> {
    let Scenario {
        nodes, steps, end, ..
    } = scenario;
    let mut looks = scenario.moments();
    if steps.len() <= STEPS_SHOWN {
        let starts = steps.iter().map(|step| step.at).chain([Duration::ZERO]);
        for at in starts {
            looks.insert(at);
            looks.extend(AFTER_STEP.iter().map(|after| at.saturating_add(*after)));
        }
    }
    let count = (LOOKS_MAX / nodes.len().max(1)).clamp(100, 600);
    let count = u32::try_from(count).unwrap_or(100);
    looks.extend((1..count).map(|number| *end * number / count));
    looks.retain(|at| at <= end && !at.is_zero());
    looks
}
