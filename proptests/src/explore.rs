//! A model explored completely, and what came of it.

use std::fmt::{self, Debug};
use std::hash::Hash;

use stateright::{Checker as _, Expectation, HasDiscoveries, Model};

/// What an exploration came to.
#[derive(Clone, Debug)]
pub struct Explored {
    /// How many different states there are.
    pub states: usize,
    /// How many steps lead to them.
    pub steps: usize,
    /// The longest way to one of them, in steps.
    pub depth: usize,
    /// What was found wrong, with the way there; nothing when all is well.
    pub wrong: Option<String>,
}

impl Explored {
    /// Visits every state of a model on so many threads, or stops at the first that is wrong.
    pub fn all_of<M>(model: M, threads: usize) -> Self
    where
        M: Model + Send + Sync + 'static,
        M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
        M::Action: Clone + Debug + PartialEq,
    {
        let checker = model
            .checker()
            .threads(threads)
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        Self {
            states: checker.unique_state_count(),
            steps: checker.state_count(),
            depth: checker.max_depth(),
            wrong: wrong(&checker),
        }
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} states, {} steps, depth {}",
            self.states, self.steps, self.depth
        )
    }
}

/// A counterexample counts first: it ends the exploration before all there is was seen.
fn wrong<M>(checker: &impl stateright::Checker<M>) -> Option<String>
where
    M: Model,
    M::State: Clone + Debug + Hash + PartialEq,
    M::Action: Clone + Debug + PartialEq,
{
    let mut properties = checker.model().properties();
    properties.sort_by_key(|property| property.expectation == Expectation::Sometimes);
    for property in properties {
        let name = property.name;
        match (property.expectation, checker.discovery(name)) {
            (Expectation::Sometimes, Some(_))
            | (Expectation::Always | Expectation::Eventually, None) => {}
            (Expectation::Sometimes, None) => return Some(format!("never: {name}")),
            (Expectation::Always | Expectation::Eventually, Some(path)) => {
                let last = format!("{:#?}", path.last_state());
                let way = path.into_actions();
                return Some(format!("not so: {name}\nafter {way:#?}\nin {last}"));
            }
        }
    }
    (!checker.is_done()).then(|| "not every state was visited".to_owned())
}
