//! One thing to do at the API server, call by call: a pure machine that is given each answer.
//!
//! ```text
//!   report ──▶ one call
//!   tell ──▶ see `event`
//!   register ──▶ create ──exists──▶ adopt ──▶ mark as edge
//!   create ──▶ create ──exists──▶ look ──▶ done before? else as a change
//!   change, delete ──▶ look ──▶ decide ──▶ write ──conflict──▶ look
//! ```
//!
//! Every call may be repeated: what it asks for is either so already, or is recognised.

use causeway_kube_api::Status;
use causeway_log::{Key, NodeName, Uid};
use causeway_projections::Verb;
use serde_json::Value;

use super::call::{Call, CallError};
use super::edit::{Asked, Move};
use super::event::{Repeat, Telling};
use super::judge::{Meaning, is_too_large, judge};
use super::node;
use crate::cluster::{Made, Verdict};
use crate::writeback::Outcome;

/// How often an object may be written by others between a look and the write, in one attempt.
const CONFLICTS_MAX: u32 = 4;
/// Longest message of a refusal that is sent to a node.
const MESSAGE_BYTES_MAX: usize = 4096;

/// See the module documentation.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    step: Step,
    conflicts: u32,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// What a node reports: a status, an end, how often an Event happened.
    Report(Box<Call>),
    /// An Event that may not be there yet.
    Tell(Box<Telling>),
    /// An Event that may be there.
    TellAgain(Box<Telling>),
    Register {
        node: NodeName,
        object: Box<Value>,
        key: Key,
    },
    Adopt {
        node: NodeName,
        object: Box<Value>,
        key: Key,
    },
    Mark {
        node: NodeName,
        key: Key,
    },
    Create(Box<Asked>),
    Look(Box<Asked>),
    Write {
        asked: Box<Asked>,
        call: Box<Call>,
    },
}

/// What follows an answer.
#[derive(Debug)]
pub enum Turn {
    /// There is another call to make.
    Next(Work),
    /// It is over.
    Finished(Finished),
    /// Not this time; to be begun anew later.
    Failed(Meaning, CallError),
}

/// What became of it.
#[derive(Debug)]
pub struct Finished {
    /// For counting.
    pub outcome: Outcome,
    /// For requests: what the node is told.
    pub verdict: Option<Verdict>,
    /// Why it was refused, for people.
    pub refusal: Option<CallError>,
}

impl Finished {
    /// Over, with nothing to tell the node.
    #[must_use]
    pub const fn plain(outcome: Outcome) -> Self {
        Self {
            outcome,
            verdict: None,
            refusal: None,
        }
    }

    fn accepted(outcome: Outcome, made: Option<Made>) -> Turn {
        let made = made.map(Box::new);
        Turn::Finished(Self {
            outcome,
            verdict: Some(Verdict::Accepted { made }),
            refusal: None,
        })
    }

    /// Over: the node is told why not.
    #[must_use]
    pub fn rejected(mut status: Box<Status>) -> Self {
        if status.message.len() > MESSAGE_BYTES_MAX {
            let mut cut = MESSAGE_BYTES_MAX;
            while !status.message.is_char_boundary(cut) {
                cut -= 1;
            }
            status.message.truncate(cut);
        }
        if let Some(details) = &mut status.details {
            details.causes.truncate(16);
        }
        Self {
            outcome: Outcome::Rejected,
            verdict: Some(Verdict::Rejected { status }),
            refusal: None,
        }
    }
}

impl Work {
    const fn of(step: Step) -> Self {
        Self { step, conflicts: 0 }
    }

    /// What a node reports.
    #[must_use]
    pub fn report(call: Call) -> Self {
        Self::of(Step::Report(Box::new(call)))
    }

    /// What happened at a node.
    #[must_use]
    pub fn tell(telling: Telling) -> Self {
        let is_first = telling.is_first();
        let telling = Box::new(telling);
        Self::of(if is_first {
            Step::Tell(telling)
        } else {
            Step::TellAgain(telling)
        })
    }

    /// A node that registers itself as `object`; `key` is of its request.
    #[must_use]
    pub fn register(node: NodeName, object: Value, key: Key) -> Self {
        let object = Box::new(object);
        Self::of(Step::Register { node, object, key })
    }

    /// Saying that a node that is there is at the edge.
    #[must_use]
    pub const fn mark(node: NodeName, key: Key) -> Self {
        Self::of(Step::Mark { node, key })
    }

    /// The creation that an edge application asks for.
    #[must_use]
    pub fn create(asked: Asked) -> Self {
        Self::of(Step::Create(Box::new(asked)))
    }

    /// The change or delete that an edge application asks for.
    #[must_use]
    pub fn change(asked: Asked) -> Self {
        Self::of(Step::Look(Box::new(asked)))
    }

    /// What to call now.
    #[must_use]
    pub fn call(&self) -> Call {
        match &self.step {
            Step::Report(call) => Call::clone(call),
            Step::Tell(telling) => telling.create(),
            Step::TellAgain(telling) => telling.look(),
            Step::Register { node, object, .. } => node::register(node, Value::clone(object)),
            Step::Adopt { node, object, .. } => node::adopt(node, object),
            Step::Mark { node, .. } => node::mark_as_edge(node),
            Step::Create(asked) => asked.create(),
            Step::Look(asked) => asked.look(),
            Step::Write { call, .. } => Call::clone(call),
        }
    }

    /// Takes the answer of the call.
    #[must_use]
    pub fn answered(self, answer: Result<Value, CallError>) -> Turn {
        let conflicts = self.conflicts;
        match self.step {
            Step::Report(_) => reported(answer),
            Step::Tell(telling) => told(telling, answer, conflicts),
            Step::TellAgain(telling) => told_again(telling, answer, conflicts),
            Step::Register { node, object, key } => match answer {
                Ok(_) => Turn::Next(Self::mark(node, key)),
                Err(error) if judge(&error) == Meaning::Exists => {
                    Turn::Next(Self::of(Step::Adopt { node, object, key }))
                }
                Err(error) => rejected_or_failed(error, true),
            },
            Step::Adopt { node, object, key } => match answer {
                Ok(_) => Turn::Next(Self::mark(node, key)),
                // It went between the two.
                Err(error) if judge(&error) == Meaning::Gone => {
                    Turn::Next(Self::of(Step::Register { node, object, key }))
                }
                Err(error) => rejected_or_failed(error, true),
            },
            Step::Mark { key, .. } => match answer {
                Ok(object) => Finished::accepted(Outcome::Applied, made(&key, object)),
                // The Node stands; a label less is no reason to refuse it.
                Err(error) if matches!(judge(&error), Meaning::Never | Meaning::Denied) => {
                    Turn::Finished(Finished {
                        outcome: Outcome::Applied,
                        verdict: Some(Verdict::Accepted { made: None }),
                        refusal: Some(error),
                    })
                }
                Err(error) => rejected_or_failed(error, true),
            },
            Step::Create(asked) => created(asked, answer),
            Step::Look(asked) => looked(asked, answer, conflicts),
            Step::Write { asked, .. } => written(asked, answer, conflicts),
        }
    }
}

fn reported(answer: Result<Value, CallError>) -> Turn {
    let Err(error) = answer else {
        return Turn::Finished(Finished::plain(Outcome::Applied));
    };
    match judge(&error) {
        Meaning::Exists => Turn::Finished(Finished::plain(Outcome::Unchanged)),
        Meaning::Gone => Turn::Finished(Finished::plain(Outcome::Stale)),
        Meaning::Never => Turn::Finished(Finished {
            refusal: Some(error),
            ..Finished::plain(Outcome::Refused)
        }),
        meaning @ (Meaning::Unavailable { .. }
        | Meaning::Misconfigured
        | Meaning::Denied
        | Meaning::Conflict) => Turn::Failed(meaning, error),
    }
}

fn told(telling: Box<Telling>, answer: Result<Value, CallError>, conflicts: u32) -> Turn {
    match &answer {
        Err(error) if judge(error) == Meaning::Exists && !telling.is_first() => {
            anew(Step::TellAgain(telling), conflicts, answer)
        }
        Ok(_) | Err(_) => reported(answer),
    }
}

fn told_again(telling: Box<Telling>, answer: Result<Value, CallError>, conflicts: u32) -> Turn {
    match &answer {
        Ok(current) => match telling.repeat(current) {
            Repeat::Known => Turn::Finished(Finished::plain(Outcome::Unchanged)),
            Repeat::Foreign => Turn::Finished(Finished::plain(Outcome::Refused)),
            Repeat::Count(call) => Turn::Next(Work::report(call)),
        },
        // An API server forgets Events after an hour.
        Err(error) if judge(error) == Meaning::Gone => anew(Step::Tell(telling), conflicts, answer),
        Err(_) => reported(answer),
    }
}

/// Goes on another way, but not to and fro for ever.
fn anew(step: Step, conflicts: u32, answer: Result<Value, CallError>) -> Turn {
    match answer {
        Err(error) if conflicts >= CONFLICTS_MAX => Turn::Failed(Meaning::Conflict, error),
        Ok(_) | Err(_) => Turn::Next(Work {
            step,
            conflicts: conflicts + 1,
        }),
    }
}

fn created(asked: Box<Asked>, answer: Result<Value, CallError>) -> Turn {
    match answer {
        Ok(object) => Finished::accepted(Outcome::Applied, made(&asked.key, object)),
        Err(error) if judge(&error) == Meaning::Exists => Turn::Next(Work::of(Step::Look(asked))),
        Err(error) => rejected_or_failed(error, false),
    }
}

fn looked(asked: Box<Asked>, answer: Result<Value, CallError>, conflicts: u32) -> Turn {
    let object = match answer {
        Ok(object) => object,
        Err(error) if judge(&error) == Meaning::Gone => {
            return match asked.verb {
                // A create whose object went between the two.
                Verb::Create => Turn::Failed(Meaning::Conflict, error),
                // What is wanted is so.
                Verb::Delete => Finished::accepted(Outcome::Unchanged, None),
                Verb::Update | Verb::Status => rejected_or_failed(error, false),
            };
        }
        Err(error) => return rejected_or_failed(error, false),
    };
    let life = life_of(&asked.key, &object);
    if asked.verb == Verb::Delete && life.as_ref() != Some(&asked.key) {
        return Finished::accepted(Outcome::Unchanged, None);
    }
    let is_known = || asked.is_done(&object) || asked.is_followed(&object);
    if asked.verb == Verb::Create && !is_known() {
        let (resource, name) = (&asked.key.resource, &asked.key.name);
        let status = Status::already_exists(resource, name);
        return Turn::Finished(Finished::rejected(Box::new(status)));
    }
    match asked.decide(&object) {
        Move::Nothing => {
            // What was done a while ago may have been changed since.
            let is_fresh = !asked.is_done(&object);
            let made = made(&asked.key, object).map(|made| Made { is_fresh, ..made });
            Finished::accepted(Outcome::Unchanged, made)
        }
        Move::Reject(status) => Turn::Finished(Finished::rejected(status)),
        Move::Send(call) => Turn::Next(Work {
            step: Step::Write { asked, call },
            conflicts,
        }),
    }
}

fn written(asked: Box<Asked>, answer: Result<Value, CallError>, conflicts: u32) -> Turn {
    match answer {
        Ok(object) => {
            // A delete answers with what it deleted, or with a `Status`.
            let made = made(&asked.key, object).filter(|_| asked.verb != Verb::Delete);
            Finished::accepted(Outcome::Applied, made)
        }
        Err(error) if judge(&error) == Meaning::Conflict && conflicts < CONFLICTS_MAX => {
            Turn::Next(Work {
                step: Step::Look(asked),
                conflicts: conflicts + 1,
            })
        }
        Err(error) if judge(&error) == Meaning::Gone && asked.verb == Verb::Delete => {
            Finished::accepted(Outcome::Unchanged, None)
        }
        Err(error) => rejected_or_failed(error, false),
    }
}

/// A request is refused by whatever cannot be helped by asking again. `patient`: rights may yet be
/// given, as those of a node that has just been made.
fn rejected_or_failed(error: CallError, patient: bool) -> Turn {
    let meaning = judge(&error);
    let final_ = match meaning {
        Meaning::Unavailable { .. } | Meaning::Misconfigured | Meaning::Conflict => false,
        Meaning::Denied => !patient,
        Meaning::Exists | Meaning::Gone | Meaning::Never => true,
    };
    if !final_ {
        return Turn::Failed(meaning, error);
    }
    Turn::Finished(Finished::rejected(refusal(&error)))
}

/// What a node is told of an error that ends its request.
#[must_use]
pub fn refusal(error: &CallError) -> Box<Status> {
    match error {
        CallError::Refused { status, .. } if is_too_large(status) => {
            let message = format!("the cluster takes no object this large: {}", status.message);
            Box::new(Status::failure(413, "RequestEntityTooLarge", message))
        }
        CallError::Refused { status, .. } => status.clone(),
        CallError::NoAnswer { .. } | CallError::Malformed { .. } => Box::new(Status::bad_request(
            causeway_daemon::telemetry::error_chain(error).to_string(),
        )),
    }
}

/// The object as the cluster's copy has it, just written.
fn made(key: &Key, mut object: Value) -> Option<Made> {
    let key = life_of(key, &object)?;
    let fields = object.as_object_mut()?;
    if key.resource.is("", "pods") || key.resource.is("", "nodes") {
        fields.remove("status");
    }
    let metadata = fields.get_mut("metadata")?.as_object_mut()?;
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    let version = metadata.remove("resourceVersion");
    let version = version.and_then(|version| version.as_str()?.parse().ok());
    Some(Made {
        key,
        object,
        version,
        is_fresh: true,
    })
}

/// The key of the object in the life that the API server says it has.
fn life_of(key: &Key, object: &Value) -> Option<Key> {
    let uid = object.get("metadata")?.get("uid")?.as_str()?;
    Some(Key {
        uid: Uid::parse(uid),
        ..key.clone()
    })
}
