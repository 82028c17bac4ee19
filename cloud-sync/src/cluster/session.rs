//! What sessions ask to be stored: records of the nodes, new epochs, acknowledgements.

use causeway_daemon::session_driver::WriteRefused;
use causeway_log::limits::BODY_BYTES_MAX;
use causeway_log::replication::{Incoming, SessionWrite};
use causeway_log::writer::Planned;
use causeway_log::{Batch, Entry, Epoch, NodeName, Offset, Place, Stored, StreamChange, StreamId};
use tokio::sync::oneshot;

use super::answer::Answer;
use super::{ClusterMachine, Request};

/// What became of a session's write.
enum Fit {
    Done,
    Later(SessionWrite),
}

impl ClusterMachine {
    pub(super) fn plan_session(
        &mut self,
        node: NodeName,
        session: u64,
        write: SessionWrite,
        answer: oneshot::Sender<Result<(), WriteRefused>>,
        batch: &mut Batch,
    ) -> Planned<Request> {
        let is_current =
            self.hub.is_current(&node, session) || causeway_log::mutant::is_on("forget-fencing");
        if !is_current {
            let _ = answer.send(Err(WriteRefused::Fenced));
            return Planned::InBatch;
        }
        if self.round.dropped.contains(&node) {
            // It came back in the round that forgets it; what the store says of it is over.
            return Planned::Later(Request::Session {
                node,
                session,
                write,
                answer,
            });
        }
        let fit = match write {
            SessionWrite::Acked { upto } => {
                let acked = self.acks.entry(node).or_default();
                *acked = upto.max(*acked);
                let _ = answer.send(Ok(()));
                return Planned::InBatch;
            }
            // It is answered when the round ends, and rounds end one after the other.
            SessionWrite::Barrier => Ok(Fit::Done),
            SessionWrite::OpenOwn { epoch } => Ok(self.plan_open(&node, epoch, batch)),
            SessionWrite::Incoming(incoming) => self.plan_incoming(&node, incoming, batch),
        };
        match fit {
            Ok(Fit::Done) => self.round.answers.push(Answer::Session(answer)),
            Ok(Fit::Later(write)) => {
                return Planned::Later(Request::Session {
                    node,
                    session,
                    write,
                    answer,
                });
            }
            Err(refused) => {
                let _ = answer.send(Err(refused));
            }
        }
        Planned::InBatch
    }

    /// Adds acknowledgements that wait to a batch that is written anyway.
    pub(super) fn flush_acks(&mut self, batch: &mut Batch) {
        for (node, upto) in std::mem::take(&mut self.acks) {
            if self.round.opened.contains(&node) {
                continue;
            }
            let stream = StreamId::down(node.clone());
            // A peer cannot have more than there is; a stream that is gone needs no acks.
            let Ok(Some(info)) = self.store.stream(&stream) else {
                continue;
            };
            let upto = upto.min(info.durable);
            if upto > info.acked {
                batch.streams.push(StreamChange::Acked { stream, upto });
                self.round.flushed_acks.insert(node, upto);
            }
        }
    }

    fn plan_open(&mut self, node: &NodeName, epoch: Epoch, batch: &mut Batch) -> Fit {
        let stream = StreamId::down(node.clone());
        let appended = batch.entries.iter().any(|entry| entry.stream == stream);
        if appended || self.round.opened.contains(node) {
            return Fit::Later(SessionWrite::OpenOwn { epoch });
        }
        // Acknowledgements of the epoch before say nothing of this one.
        self.acks.remove(node);
        batch.streams.push(StreamChange::Open { stream, epoch });
        self.round.opened.insert(node.clone());
        Fit::Done
    }

    fn plan_incoming(
        &mut self,
        node: &NodeName,
        incoming: Incoming,
        batch: &mut Batch,
    ) -> Result<Fit, WriteRefused> {
        let stream = StreamId::up(node.clone());
        let stored = self
            .store
            .stream(&stream)
            .map_err(|error| WriteRefused::ReadOnly {
                reason: causeway_daemon::telemetry::error_chain(&error).to_string(),
            })?;
        let planned = self.round.received.get(node).copied();
        let known = planned.or_else(|| stored.map(|info| (info.epoch, info.head)));
        let head = match known {
            Some((epoch, head)) if epoch == incoming.epoch => head,
            // Streams change before records are appended, so an epoch begins a round.
            Some(_) if planned.is_some() => {
                return Ok(Fit::Later(SessionWrite::Incoming(incoming)));
            }
            Some(_) | None => {
                let epoch = incoming.epoch;
                batch.streams.push(StreamChange::Open {
                    stream: stream.clone(),
                    epoch,
                });
                Offset::ZERO
            }
        };
        let mut incoming = incoming;
        // Sent again after a session that ended before its write was known to be done.
        incoming.records.retain(|(offset, _)| *offset > head);
        let head = check(&incoming, head)?;
        let Incoming {
            epoch,
            records,
            upto,
            caught_up: _,
        } = incoming;
        if let Some(upto) = upto {
            batch.streams.push(StreamChange::Received {
                stream: stream.clone(),
                upto,
            });
        }
        for (offset, draft) in records {
            let (stream, place) = (stream.clone(), Place::At(offset));
            batch.entries.push(Entry {
                stream,
                place,
                draft,
            });
        }
        self.round.received.insert(node.clone(), (epoch, head));
        Ok(Fit::Done)
    }

    /// Wakes the sessions of nodes for which records became durable.
    pub(super) fn tell_sessions(&self, batch: &Batch, records: &[Stored]) {
        for (entry, stored) in batch.entries.iter().zip(records) {
            if let StreamId::Node(node, causeway_log::Direction::Down) = &entry.stream {
                self.hub.tell_head(node, stored.revision.as_own_offset());
            }
        }
    }
}

/// Records from a peer must fit, or they would take the requests of others down with them.
fn check(incoming: &Incoming, mut head: Offset) -> Result<Offset, WriteRefused> {
    for (offset, draft) in &incoming.records {
        if *offset <= head {
            let reason = format!("offset {offset} is not above {head}");
            return Err(WriteRefused::Invalid { reason });
        }
        if draft.body.len() > BODY_BYTES_MAX {
            let reason = format!("a body of {} bytes", draft.body.len());
            return Err(WriteRefused::Invalid { reason });
        }
        head = *offset;
    }
    Ok(head)
}
