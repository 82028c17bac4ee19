//! Telling an API server of what happened at an edge: one Event, however often it is told of.
//!
//! ```text
//!   the first time ──▶ create ──exists──▶ over
//!   again ──▶ look ──▶ says as much? over : count ──conflict──▶ look
//!               └─gone──▶ create ──exists──▶ look
//! ```
//!
//! Nodes may create and patch Events, not read them: looking is a patch that changes nothing.

use causeway_log::NodeName;
use serde_json::{Value, json};

use super::call::{Call, Content, Identity, Place};
use crate::writeback::happening::{Happening, is_of};

/// An Event to be told of, as its node.
#[derive(Clone, Debug, PartialEq)]
pub struct Telling {
    node: NodeName,
    place: Place,
    told: Happening,
}

/// What is to be done about an Event that is there.
#[derive(Debug, PartialEq)]
pub enum Repeat {
    /// It says as much.
    Known,
    /// It is somebody else's.
    Foreign,
    /// This, if nobody writes it meanwhile.
    Count(Call),
}

impl Telling {
    /// Telling of `told`.
    #[must_use]
    pub fn new(node: &NodeName, told: Happening) -> Self {
        Self {
            node: node.clone(),
            place: Place::core("events", &told.namespace, &told.name),
            told,
        }
    }

    /// Whether it says of itself that it is told for the first time.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.told.is_first()
    }

    /// Creates it.
    #[must_use]
    pub fn create(&self) -> Call {
        self.place.create(self.identity(), self.told.event.clone())
    }

    /// Answers with what is there.
    #[must_use]
    pub fn look(&self) -> Call {
        self.patch(json!({}))
    }

    /// What follows from what is there.
    #[must_use]
    pub fn repeat(&self, current: &Value) -> Repeat {
        if !is_of(current, &self.node) {
            return Repeat::Foreign;
        }
        let Some(mut repeated) = self.told.repeats(current) else {
            return Repeat::Known;
        };
        if let Some(version) = current.pointer("/metadata/resourceVersion") {
            repeated["metadata"] = json!({"resourceVersion": version});
        }
        Repeat::Count(self.patch(repeated))
    }

    fn patch(&self, patch: Value) -> Call {
        let identity = self.identity();
        self.place.patch(identity, "", Content::MergePatch, patch)
    }

    fn identity(&self) -> Identity {
        Identity::Node(self.node.clone())
    }
}
