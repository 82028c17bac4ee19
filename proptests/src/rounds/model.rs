//! Which steps there are, and what must hold.

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use causeway_log::store::memory::Fault;
use stateright::{Model, Property};

use super::site::{Asker, Site};

/// What may happen how often.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// How the disk fails, once; if it does.
    pub fault: Option<Fault>,
    /// How often power goes.
    pub crashes: u8,
    /// How many writes the old session asks for, in all.
    pub old: usize,
    /// How many writes the new session asks for.
    pub new: usize,
    /// How many of the user's writes there are.
    pub user: usize,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Somebody asks for the next write.
    Ask(Asker),
    /// The writer plans and appends the oldest request.
    PlanOne,
    /// The writer plans and appends all that waits.
    PlanAll,
    /// What is appended becomes durable, or not, and is answered.
    Sync,
    /// The disk fails from here on.
    Fail(Fault),
    /// The disk works again.
    Mend,
    /// Power goes.
    Crash,
}

/// A state: the way to it, and what was seen there.
#[derive(Clone)]
pub struct Walked {
    way: Vec<Step>,
    seen: String,
    steps: Vec<Step>,
    wrong: Option<String>,
    is_done: bool,
}

impl Walked {
    /// What is wrong here.
    #[must_use]
    pub fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }
}

impl std::fmt::Debug for Walked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walked")
            .field("wrong", &self.wrong)
            .field("is_done", &self.is_done)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl Hash for Walked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.seen.hash(state);
    }
}

impl PartialEq for Walked {
    fn eq(&self, other: &Self) -> bool {
        self.seen == other.seen
    }
}

impl Rounds {
    fn walk(&self, way: Vec<Step>) -> Walked {
        let walked = catch_unwind(AssertUnwindSafe(|| {
            let mut site = Site::new();
            for step in &way {
                Self::play(&mut site, *step);
            }
            let wrong = site.wrong();
            let steps = self.steps(&site, &way);
            (site.observe(), steps, wrong, site.is_done(self.user))
        }));
        match walked {
            Ok((mut seen, steps, wrong, is_done)) => {
                // What may still happen is part of the state.
                seen.push_str(&format!("{steps:?} {wrong:?}"));
                Walked {
                    way,
                    seen,
                    steps,
                    wrong,
                    is_done,
                }
            }
            // An assertion of the engine is an answer like any other.
            Err(panic) => {
                let text = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&'static str>().copied());
                let wrong = format!("panic: {}", text.unwrap_or("no message"));
                Walked {
                    way,
                    seen: wrong.clone(),
                    steps: Vec::new(),
                    wrong: Some(wrong),
                    is_done: false,
                }
            }
        }
    }

    fn play(site: &mut Site, step: Step) {
        match step {
            Step::Ask(asker) => site.ask(asker),
            Step::PlanOne => site.plan(false),
            Step::PlanAll => site.plan(true),
            Step::Sync => site.sync(),
            Step::Fail(fault) => site.fail(fault),
            Step::Mend => site.mend(),
            Step::Crash => site.crash(),
        }
    }

    fn steps(&self, site: &Site, way: &[Step]) -> Vec<Step> {
        let mut steps = Vec::new();
        if site.is_written() {
            steps.push(Step::Sync);
        } else {
            if site.waiting() > 0 {
                steps.push(Step::PlanOne);
            }
            if site.waiting() > 1 {
                steps.push(Step::PlanAll);
            }
            if site.is_faulty() {
                steps.push(Step::Mend);
            }
        }
        for (asker, most) in [
            (Asker::Old, self.old),
            (Asker::New, self.new),
            (Asker::User, self.user),
        ] {
            if site.may_ask(asker, most) {
                steps.push(Step::Ask(asker));
            }
        }
        let has_failed = way.iter().any(|step| matches!(step, Step::Fail(_)));
        steps.extend(self.fault.filter(|_| !has_failed).map(Step::Fail));
        let crashes = way.iter().filter(|step| **step == Step::Crash).count();
        if crashes < usize::from(self.crashes) {
            steps.push(Step::Crash);
        }
        steps
    }
}

impl Model for Rounds {
    type State = Walked;
    type Action = Step;

    fn init_states(&self) -> Vec<Walked> {
        vec![self.walk(Vec::new())]
    }

    fn actions(&self, state: &Walked, actions: &mut Vec<Step>) {
        if state.wrong.is_none() {
            actions.extend(&state.steps);
        }
    }

    fn next_state(&self, state: &Walked, step: Step) -> Option<Walked> {
        let mut way = state.way.clone();
        way.push(step);
        Some(self.walk(way))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "SYNC-3 holds, and what is stored is what was answered",
                |_: &Self, state: &Walked| state.wrong.is_none(),
            ),
            Property::sometimes("everything is done", |_: &Self, state: &Walked| {
                state.is_done
            }),
        ]
    }
}
