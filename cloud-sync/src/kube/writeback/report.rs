//! What is said of the write-back: counted always, said in the log once for each kind of trouble.

use std::collections::BTreeSet;
use std::sync::Arc;

use causeway_daemon::telemetry::error_chain;
use causeway_log::{NodeName, Record};

use super::call::{Call, CallError, Identity};
use super::judge::Meaning;
use super::plan::Class;
use super::stats::WriteStats;
use super::work::Finished;
use crate::cluster::Verdict;
use crate::writeback::Outcome;

/// Kinds of trouble that are remembered as said.
const TOLD_MAX: usize = 1024;

/// Counts, and says.
#[derive(Debug)]
pub(super) struct Reporter {
    stats: Arc<WriteStats>,
    told: BTreeSet<(NodeName, &'static str, String)>,
    troubled: bool,
}

impl Reporter {
    pub(super) const fn new(stats: Arc<WriteStats>) -> Self {
        Self {
            stats,
            told: BTreeSet::new(),
            troubled: false,
        }
    }

    /// A thing is over.
    pub(super) fn over(
        &mut self,
        node: &NodeName,
        class: Class,
        record: &Record,
        finished: &Finished,
    ) {
        if std::mem::take(&mut self.troubled) {
            tracing::info!("the API server takes writes again");
        }
        self.judged(node, class, record, finished);
    }

    /// A record is over, maybe without a word with the API server.
    pub(super) fn judged(
        &mut self,
        node: &NodeName,
        class: Class,
        record: &Record,
        finished: &Finished,
    ) {
        let Finished {
            outcome,
            verdict,
            refusal,
        } = finished;
        let (what, became) = (("class", class.as_str()), ("outcome", outcome.as_str()));
        WriteStats::count(&self.stats.records, what, became);
        let key = &record.header.key;
        if let Some(error) = refusal {
            let (part, resource) = (("part", class.as_str()), key.resource.to_string());
            WriteStats::count(&self.stats.refused, part, ("resource", &resource));
            let error = error_chain(error).to_string();
            tracing::warn!(%node, %key, error, "the API server will never take this; it is passed over");
            return;
        }
        match outcome {
            Outcome::Refused | Outcome::Malformed => {
                // A hostile node must not fill the log.
                if self.is_new(node, outcome.as_str(), key.resource.to_string()) {
                    let op = record.header.op;
                    tracing::warn!(%node, ?op, %key, outcome = outcome.as_str(), "record not applied");
                }
            }
            Outcome::Rejected => {
                let reason = match verdict {
                    Some(Verdict::Rejected { status }) => &*status.message,
                    Some(Verdict::Accepted { .. }) | None => "",
                };
                tracing::info!(%node, %key, reason, "request rejected");
            }
            Outcome::Applied | Outcome::Unchanged | Outcome::Stale | Outcome::Kept => {
                tracing::debug!(%node, %key, outcome = outcome.as_str(), "written back");
            }
        }
    }

    /// A thing is put off.
    pub(super) fn failed(
        &mut self,
        node: &NodeName,
        class: Class,
        call: &Call,
        meaning: Meaning,
        error: &CallError,
    ) {
        let why = meaning.as_str();
        let part = ("part", class.as_str());
        WriteStats::count(&self.stats.retries, part, ("why", why));
        let code = match error {
            CallError::Refused { status, .. } => status.code.to_string(),
            CallError::NoAnswer { .. } | CallError::Malformed { .. } => "none".to_owned(),
        };
        let resource = ("resource", &*call.resource);
        WriteStats::count(&self.stats.failures, resource, ("code", &code));
        let (verb, resource) = (call.method.verb(), &call.resource);
        let error = error_chain(error).to_string();
        match meaning {
            Meaning::Unavailable { .. } if !self.troubled => {
                self.troubled = true;
                tracing::warn!(error, "the API server takes no writes; they wait");
            }
            Meaning::Misconfigured if !self.troubled => {
                self.troubled = true;
                tracing::warn!(
                    error,
                    "this service may not write for nodes; it needs the right to impersonate them"
                );
            }
            Meaning::Denied if self.is_new(node, why, format!("{verb} {resource}")) => {
                let subject = match &call.identity {
                    Identity::Cloud => "this service".to_owned(),
                    Identity::Node(node) => format!("system:node:{node}"),
                };
                tracing::warn!(subject, verb, resource, error, "a right is missing");
            }
            Meaning::Unavailable { .. }
            | Meaning::Misconfigured
            | Meaning::Denied
            | Meaning::Conflict
            | Meaning::Exists
            | Meaning::Gone
            | Meaning::Never => tracing::debug!(%node, verb, resource, error, "to be tried again"),
        }
    }

    fn is_new(&mut self, node: &NodeName, why: &'static str, what: String) -> bool {
        if self.told.len() >= TOLD_MAX {
            self.told.clear();
        }
        self.told.insert((node.clone(), why, what))
    }
}
