//! What came of the records of a node at an API server: how far the node has got, and the answers
//! to its requests.

use causeway_kube_api::{Status, WriteError};
use causeway_log::limits::BODY_BYTES_MAX;
use causeway_log::writer::Planned;
use causeway_log::{Batch, Body, EventId, Key, NodeName, Op, Revision, Slot, StreamId};
use serde_json::Value;
use tokio::sync::oneshot;

use super::answer::Answer;
use super::{ClusterMachine, Request};
use crate::writeback::ground::{Ground, Mark};

/// What a node is told of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The object that the request is about, in the life that the request names.
    pub key: Key,
    /// Which request.
    pub id: EventId,
    /// What it was made on.
    pub ground: Ground,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It was carried out.
    Accepted {
        /// The object as the API server has it, when there is one: its life is the server's to give.
        made: Option<Box<Made>>,
    },
    /// It was not.
    Rejected {
        /// Why.
        status: Box<Status>,
    },
}

/// An object as an API server answered it to a write, without what the edge owns of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// Which object, in the life that it has there.
    pub key: Key,
    /// The object.
    pub object: Value,
    /// Its `resourceVersion`.
    pub version: Option<u64>,
    /// Whether nobody else can have written it since the request.
    pub is_fresh: bool,
}

/// See [`Request::WroteBack`].
#[derive(Debug)]
pub struct Settlement {
    /// Of which node.
    pub node: NodeName,
    /// Nothing up to here is left to do; a revision of this store.
    pub upto: Revision,
    /// Answers to requests, oldest first.
    pub answers: Vec<Answered>,
}

impl ClusterMachine {
    /// Answers and cursor are one batch. An answer that the node has been given already is not
    /// given again, so a request may be carried out, or answered, twice without harm.
    pub(super) fn plan_wrote_back(
        &mut self,
        settlement: Box<Settlement>,
        answer: oneshot::Sender<Result<(), WriteError>>,
        batch: &mut Batch,
    ) -> Planned<Request> {
        let node = settlement.node.clone();
        if self.round.dropped.contains(&node) || self.is_written_back(&node) {
            return Planned::Later(Request::WroteBack { settlement, answer });
        }
        self.round.wrote_back.insert(node.clone());
        self.round.answers.push(Answer::WroteBack(answer));
        if !matches!(self.store.stream(&StreamId::up(node.clone())), Ok(Some(_))) {
            // The node left the cluster meanwhile; nobody is there to be told.
            return Planned::InBatch;
        }
        let Settlement { upto, answers, .. } = *settlement;
        for answered in answers {
            if !self.is_answered(&node, &answered) {
                self.tell_answer(&node, answered, batch);
            }
        }
        let cursor = crate::writeback::cursor(&node);
        let before = self.store.cursor(&cursor).ok().flatten();
        if before.is_none_or(|before| before < upto.as_own_offset()) {
            batch.cursors.push((cursor, upto.as_own_offset()));
        }
        Planned::InBatch
    }

    fn is_answered(&self, node: &NodeName, answered: &Answered) -> bool {
        let stream = StreamId::down(node.clone());
        let newest = self.store.newest(&stream, &answered.key, Slot::Request);
        let cause = newest
            .ok()
            .flatten()
            .and_then(|told| told.record.header.cause);
        cause == Some(answered.id)
    }

    fn tell_answer(&mut self, node: &NodeName, answered: Answered, batch: &mut Batch) {
        let Answered {
            key,
            id,
            ground,
            verdict,
        } = answered;
        match verdict {
            Verdict::Accepted { made: None } => {
                self.send_record(batch, node, &key, Op::Apply, ground.answer(None), id);
            }
            Verdict::Accepted { made: Some(made) } => {
                let object = made.key.clone();
                let mark = made.is_fresh.then(|| Mark::of(&made.key, &made.object));
                let answer = ground.answer(mark);
                // The object goes before the answer, so the application never sees the one of before.
                self.see_made(node, *made, batch);
                self.send_record(batch, node, &key, Op::Apply, answer.clone(), id);
                if object != key {
                    // The life that the edge gave the object is over; who made the object is
                    // remembered with the life that it has.
                    self.send_record(batch, node, &object, Op::Apply, answer, id);
                    self.send_record(batch, node, &key, Op::Delete, Body::EMPTY, id);
                }
                self.stick(batch, node, &object, id);
            }
            Verdict::Rejected { status } => {
                let status = serde_json::to_value(&status).unwrap_or_default();
                let body = Body::from(status.to_string().into_bytes());
                let body = if body.len() > BODY_BYTES_MAX {
                    Body::EMPTY
                } else {
                    body
                };
                self.send_record(batch, node, &key, Op::Reject, body, id);
            }
        }
    }
}
