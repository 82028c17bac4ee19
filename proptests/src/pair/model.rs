//! The pair as a state machine: which steps there are, and what must hold.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use causeway_log::digest::Digest;
use causeway_log::limits::ACKED_WRITE_INTERVAL;
use causeway_log::replication::{Invariant, Moment};
use stateright::{Model, Property};

use super::end::{End, Side, Write};

/// More sessions than faults can explain mean that the pair never comes to rest.
const SESSIONS_BEYOND_FAULTS: u64 = 3;

/// What happens, and how much of it may go wrong.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The changes of the edge, in order.
    pub edge: &'static [Write],
    /// The changes of the cloud, in order.
    pub cloud: &'static [Write],
    /// How often what may go wrong.
    pub budget: Budget,
}

/// How often what may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// The link is cut, with what is on it.
    pub cuts: u8,
    /// The edge loses power, and what is not synced.
    pub edge_crashes: u8,
    /// The same of the cloud.
    pub cloud_crashes: u8,
    /// The edge's disk is replaced by an empty one.
    pub wipes: u8,
    /// The cloud lets go of its history and of tombstones that the edge has.
    pub trims: u8,
    /// Time passes until lazy acknowledgements are due.
    pub passes: u8,
}

/// One thing that one party does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A change of its own is written.
    Write(Side),
    /// What its session asked for is written.
    WriteAsked(Side),
    /// What is written becomes durable.
    Sync(Side),
    /// The next frame leaves this side.
    Send(Side),
    /// The oldest frame under way reaches this side.
    Deliver(Side),
    /// New sessions on a new link.
    Connect,
    /// Both sides see the end of a session that one of them ended.
    HangUp,
    /// The link is cut.
    Cut,
    /// Power goes.
    Crash(Side),
    /// The edge gets an empty disk.
    Wipe,
    /// The cloud's history goes.
    Trim,
    /// Time passes.
    Pass,
}

/// A state. See the module documentation of [`super`].
#[derive(Clone)]
pub struct Pair {
    ends: [End; 2],
    /// Frames under way: to the edge, to the cloud.
    pipes: [VecDeque<Bytes>; 2],
    now: Moment,
    sessions: u64,
    left: Budget,
}

impl Pair {
    fn end(&self, side: Side) -> &End {
        &self.ends[side as usize]
    }

    fn end_mut(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    fn observe(&self) -> String {
        let mut text = format!(
            "{:?} {:?} {} {:?} ",
            self.pipes, self.now, self.sessions, self.left
        );
        for end in &self.ends {
            end.observe(&mut text);
        }
        text
    }

    fn cut(&mut self) {
        self.pipes.iter_mut().for_each(VecDeque::clear);
        self.ends.iter_mut().for_each(End::disconnect);
    }

    /// What went wrong, if anything.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.ends.iter().find_map(|end| end.broken.as_deref())
    }

    /// SYNC-4: each side has what the other sends.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        let [edge, cloud] = &self.ends;
        [edge.own(), cloud.own()].iter().all(|stream| {
            let [at_edge, at_cloud] = [edge, cloud].map(|end| {
                Digest::of_stream(end.store(), stream)
                    .expect("memory can be read")
                    .root()
            });
            at_edge == at_cloud
        })
    }
}

/// What a person needs of the state that a counterexample leads to.
impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("broken", &self.broken())
            .field("is_equal", &self.is_equal())
            .field("sessions", &self.sessions)
            .field("left", &self.left)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

/// Where states are equal, all that follows is.
impl Hash for Pair {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.observe().hash(state);
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.observe() == other.observe()
    }
}

impl Setting {
    const fn writes(&self, side: Side) -> &'static [Write] {
        match side {
            Side::Edge => self.edge,
            Side::Cloud => self.cloud,
        }
    }

    fn sessions_max(&self) -> u64 {
        let budget = &self.budget;
        let faults = [
            budget.cuts,
            budget.edge_crashes,
            budget.cloud_crashes,
            budget.wipes,
            budget.trims,
        ];
        faults.iter().map(|count| u64::from(*count)).sum::<u64>() + 1 + SESSIONS_BEYOND_FAULTS
    }

    /// What the parties do by themselves.
    fn steps(&self, pair: &Pair, steps: &mut Vec<Step>) {
        for side in Side::ALL {
            let end = pair.end(side);
            if end.is_writing() {
                steps.push(Step::Sync(side));
            } else {
                if end.done < self.writes(side).len() {
                    steps.push(Step::Write(side));
                }
                if end.is_asked() {
                    steps.push(Step::WriteAsked(side));
                }
            }
            if end.is_connected() && end.clone().send(pair.now).is_some() {
                steps.push(Step::Send(side));
            }
            if end.is_connected() && !pair.pipes[side as usize].is_empty() {
                steps.push(Step::Deliver(side));
            }
        }
        let [edge, cloud] = &pair.ends;
        if edge.may_connect() && cloud.may_connect() && pair.sessions < self.sessions_max() {
            steps.push(Step::Connect);
        }
        if edge.has_ended() || cloud.has_ended() {
            steps.push(Step::HangUp);
        }
    }

    fn faults(pair: &Pair, steps: &mut Vec<Step>) {
        let left = &pair.left;
        let is_connected = pair.end(Side::Edge).is_connected();
        if left.cuts > 0 && is_connected {
            steps.push(Step::Cut);
        }
        if left.edge_crashes > 0 {
            steps.push(Step::Crash(Side::Edge));
        }
        if left.cloud_crashes > 0 {
            steps.push(Step::Crash(Side::Cloud));
        }
        if left.wipes > 0 {
            steps.push(Step::Wipe);
        }
        if left.passes > 0 && is_connected {
            steps.push(Step::Pass);
        }
        if left.trims > 0 && !pair.end(Side::Cloud).is_writing() {
            steps.push(Step::Trim);
        }
    }

    fn play(&self, pair: &mut Pair, step: Step) {
        let now = pair.now;
        match step {
            Step::Write(side) => {
                let write = self.writes(side)[pair.end(side).done];
                pair.end_mut(side).write(write);
            }
            Step::WriteAsked(side) => pair.end_mut(side).write_asked(),
            Step::Sync(side) => {
                let peer = pair.end(side.other()).clone();
                pair.end_mut(side).sync(now, &peer);
            }
            Step::Send(side) => {
                let frame = pair.end_mut(side).send(now);
                pair.pipes[side.other() as usize].extend(frame);
            }
            Step::Deliver(side) => {
                if let Some(frame) = pair.pipes[side as usize].pop_front() {
                    pair.end_mut(side).receive(now, &frame);
                }
            }
            Step::Connect => {
                pair.sessions += 1;
                let number = pair.sessions;
                pair.ends
                    .iter_mut()
                    .for_each(|end| end.connect(now, number));
            }
            Step::HangUp => pair.cut(),
            Step::Cut => {
                pair.left.cuts -= 1;
                pair.cut();
            }
            Step::Crash(side) => {
                match side {
                    Side::Edge => pair.left.edge_crashes -= 1,
                    Side::Cloud => pair.left.cloud_crashes -= 1,
                }
                pair.end_mut(side).crash();
                pair.cut();
            }
            Step::Wipe => {
                pair.left.wipes -= 1;
                pair.end_mut(Side::Edge).wipe();
                pair.cut();
            }
            Step::Trim => {
                pair.left.trims -= 1;
                pair.end_mut(Side::Cloud).trim();
            }
            Step::Pass => {
                pair.left.passes -= 1;
                pair.now = Moment(now.0 + ACKED_WRITE_INTERVAL + Duration::from_millis(1));
                let now = pair.now;
                pair.ends.iter_mut().for_each(|end| end.pass(now));
            }
        }
    }
}

impl Model for Setting {
    type State = Pair;
    type Action = Step;

    fn init_states(&self) -> Vec<Pair> {
        vec![Pair {
            ends: Side::ALL.map(End::new),
            pipes: Default::default(),
            now: Moment::default(),
            sessions: 0,
            left: self.budget,
        }]
    }

    fn actions(&self, state: &Pair, actions: &mut Vec<Step>) {
        if state.broken().is_none() {
            self.steps(state, actions);
            Self::faults(state, actions);
        }
    }

    fn next_state(&self, state: &Pair, step: Step) -> Option<Pair> {
        let mut next = state.clone();
        // An assertion of the engine is an answer like any other.
        let played = catch_unwind(AssertUnwindSafe(|| self.play(&mut next, step)));
        if played.is_err() {
            next = state.clone();
            next.end_mut(Side::Edge).broken = Some(format!("{step:?} made the engine panic"));
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("SYNC-1, SYNC-2 hold", |_: &Self, pair: &Pair| {
                pair.broken().is_none()
            }),
            Property::always("SYNC-4 holds at rest", |setting: &Self, pair: &Pair| {
                let mut steps = Vec::new();
                setting.steps(pair, &mut steps);
                !steps.is_empty() || pair.is_equal()
            }),
            Property::sometimes("the pair comes to rest", |setting: &Self, pair: &Pair| {
                let mut steps = Vec::new();
                setting.steps(pair, &mut steps);
                steps.is_empty() && pair.is_equal()
            }),
        ]
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writes = self.edge.len() + self.cloud.len();
        write!(
            f,
            "{writes} writes, {:?}, {}",
            self.budget,
            Invariant::DigestsEqual
        )
    }
}
