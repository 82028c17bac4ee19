//! Answers of a round: kept until it is durable.

use causeway_daemon::session_driver::WriteRefused;
use causeway_kube_api::{View, WriteError, Written};
use causeway_log::error::{AppendError, SyncError};
use causeway_log::writer::RoundError;
use causeway_log::{Revision, Stored};
use tokio::sync::oneshot;

use super::Request;
use crate::interest::Name;
use crate::writeback::WroteBack;

/// One request of the round and what became of it. A receiver that is gone wants no answer.
#[derive(Debug)]
pub(super) enum Answer {
    Write {
        answer: oneshot::Sender<Result<Written, WriteError>>,
        outcome: WriteOutcome,
    },
    Session(oneshot::Sender<Result<(), WriteRefused>>),
    WriteBack {
        answer: oneshot::Sender<Result<WroteBack, WriteError>>,
        wrote: WroteBack,
    },
    WroteBack(oneshot::Sender<Result<(), WriteError>>),
    Mirror(oneshot::Sender<Result<(), WriteError>>),
    Forget {
        answer: oneshot::Sender<Result<bool, WriteError>>,
        gone: bool,
    },
}

#[derive(Debug)]
pub(super) enum WriteOutcome {
    /// The object is what this entry of the batch says.
    Put { name: Name, entry: usize },
    /// The object is gone with this entry of the batch.
    Gone { entry: usize },
    /// It was so already.
    Unchanged { name: Name, revision: Revision },
}

impl Answer {
    pub(super) fn committed(self, view: &View, records: &[Stored]) {
        let revision = |entry: usize| records.get(entry).map_or(Revision::ZERO, |r| r.revision);
        match self {
            Self::Write { answer, outcome } => {
                let (revision, name) = match outcome {
                    WriteOutcome::Put { name, entry } => (revision(entry), Some(name)),
                    WriteOutcome::Gone { entry } => (revision(entry), None),
                    WriteOutcome::Unchanged { name, revision } => (revision, Some(name)),
                };
                let object = name.and_then(
                    |Name {
                         resource,
                         namespace,
                         name,
                     }| {
                        view.read(|objects| {
                            Some(objects.get(&resource, &namespace, &name)?.object())
                        })
                    },
                );
                let written = Written {
                    revision,
                    pending: false,
                    object,
                    warnings: Vec::new(),
                };
                let _ = answer.send(Ok(written));
            }
            Self::Session(answer) => {
                let _ = answer.send(Ok(()));
            }
            Self::WriteBack { answer, wrote } => {
                let _ = answer.send(Ok(wrote));
            }
            Self::WroteBack(answer) | Self::Mirror(answer) => {
                let _ = answer.send(Ok(()));
            }
            Self::Forget { answer, gone } => {
                let _ = answer.send(Ok(gone));
            }
        }
    }

    pub(super) fn failed(self, error: &RoundError) {
        match self {
            Self::Write { answer, .. } => {
                let _ = answer.send(Err(write_error(error)));
            }
            Self::Session(answer) => {
                let reason = causeway_daemon::telemetry::error_chain(error).to_string();
                let _ = answer.send(Err(WriteRefused::ReadOnly { reason }));
            }
            Self::WriteBack { answer, .. } => {
                let _ = answer.send(Err(write_error(error)));
            }
            Self::WroteBack(answer) | Self::Mirror(answer) => {
                let _ = answer.send(Err(write_error(error)));
            }
            Self::Forget { answer, .. } => {
                let _ = answer.send(Err(write_error(error)));
            }
        }
    }
}

/// Answers a request that is not even planned, because the store only reads.
pub(super) fn refuse(request: Request, reason: &str) {
    let read_only = || WriteError::ReadOnly {
        reason: reason.to_owned(),
    };
    match request {
        Request::Write { answer, .. } => {
            let _ = answer.send(Err(read_only()));
        }
        Request::Session { answer, .. } => {
            let _ = answer.send(Err(WriteRefused::ReadOnly {
                reason: reason.to_owned(),
            }));
        }
        Request::WriteBack { answer, .. } => {
            let _ = answer.send(Err(read_only()));
        }
        Request::WroteBack { answer, .. } | Request::Mirror { answer, .. } => {
            let _ = answer.send(Err(read_only()));
        }
        Request::Forget { answer, .. } => {
            let _ = answer.send(Err(read_only()));
        }
        Request::FlushAcks => {}
    }
}

fn write_error(error: &RoundError) -> WriteError {
    match error {
        RoundError::Append(AppendError::ReadOnly { reason })
        | RoundError::Sync(SyncError::ReadOnly { reason }) => WriteError::ReadOnly {
            reason: reason.clone(),
        },
        RoundError::Append(AppendError::TooLarge { size, limit, .. }) => WriteError::TooLarge {
            size: *size,
            limit: *limit,
        },
        RoundError::Append(AppendError::Engine(_)) | RoundError::Sync(SyncError::Engine(_)) => {
            WriteError::ReadOnly {
                reason: causeway_daemon::telemetry::error_chain(error).to_string(),
            }
        }
        RoundError::Append(
            AppendError::Conflict { .. }
            | AppendError::NotOpen { .. }
            | AppendError::Order { .. }
            | AppendError::Read(_),
        ) => WriteError::Unavailable {
            reason: causeway_daemon::telemetry::error_chain(error).to_string(),
        },
    }
}
