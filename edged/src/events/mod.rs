//! Kubernetes Events: what edged does and why, for `kubectl describe`.
//!
//! Events are best effort and bounded: a full queue drops, a repetition within its interval is
//! only counted, and the interval doubles with every event told. One object stands for all
//! repetitions, its `count` says how many there were.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_kube_api::client::EVENTS;
use causeway_log::replication::Moment;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::api::Api;
use crate::hash::Fnv;
use crate::status::time;

/// Events waiting to be written; more are dropped.
pub(crate) const QUEUE_MAX: usize = 256;
/// Distinct events remembered for counting; the oldest go first.
const REMEMBERED_MAX: usize = 512;
/// Repetitions within this are only counted, at first.
const INTERVAL_MIN: Duration = Duration::from_secs(10);
/// The interval doubles up to this.
const INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// A message is cut at this many characters.
const MESSAGE_CHARS_MAX: usize = 1000;

/// Something worth telling about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Which life of which pod.
    pub pod: PodName,
    /// The container it is about; empty for the pod.
    pub container: String,
    /// Something is wrong.
    pub warning: bool,
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// Names one life of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Takes notes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Notes(mpsc::Sender<Note>);

impl Notes {
    /// Both ends of the queue.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Note>) {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        (Self(sender), receiver)
    }

    /// Tells, or drops it when too much is to be told.
    pub fn tell(&self, note: Note) {
        if self.0.try_send(note).is_err() {
            tracing::debug!("an event was dropped: too many are waiting");
        }
    }
}

/// Decides which notes become events: pure.
#[derive(Debug)]
pub struct Recorder {
    node: String,
    series: BTreeMap<Topic, Series>,
}

/// What makes two notes the same.
type Topic = (PodName, String, &'static str, String);

#[derive(Debug)]
struct Series {
    first: Timestamp,
    count: u64,
    next: Moment,
    interval: Duration,
}

impl Recorder {
    /// A recorder of the edged of a node.
    #[must_use]
    pub const fn new(node: String) -> Self {
        Self {
            node,
            series: BTreeMap::new(),
        }
    }

    /// The event object to write for a note, if any.
    pub fn record(&mut self, note: &Note, now: Moment, wall: Timestamp) -> Option<Value> {
        let message: String = note.message.chars().take(MESSAGE_CHARS_MAX).collect();
        let topic = (
            note.pod.clone(),
            note.container.clone(),
            note.reason,
            message.clone(),
        );
        if self.series.len() >= REMEMBERED_MAX && !self.series.contains_key(&topic) {
            let oldest = self.series.iter().min_by_key(|(_, series)| series.next);
            if let Some(oldest) = oldest.map(|(topic, _)| topic.clone()) {
                self.series.remove(&oldest);
            }
        }
        let series = self.series.entry(topic).or_insert_with(|| Series {
            first: wall,
            count: 0,
            next: now,
            interval: INTERVAL_MIN,
        });
        series.count += 1;
        if now < series.next {
            return None;
        }
        series.next = Moment(now.0.saturating_add(series.interval));
        series.interval = series.interval.saturating_mul(2).min(INTERVAL_MAX);
        Some(object(note, &message, series, &self.node, wall))
    }
}

/// `<pod>.<16 hex digits>`, as the kubelet names its events.
fn object_name(note: &Note, message: &str, wall: Timestamp) -> String {
    let unique = Fnv::new()
        .field(note.pod.uid.as_bytes())
        .field(note.container.as_bytes())
        .field(note.reason.as_bytes())
        .field(message.as_bytes())
        .field(&wall.as_nanosecond().to_be_bytes())
        .finish();
    format!("{}.{unique:016x}", note.pod.name)
}

fn object(note: &Note, message: &str, series: &Series, node: &str, wall: Timestamp) -> Value {
    let mut involved = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": note.pod.namespace,
        "name": note.pod.name,
        "uid": note.pod.uid,
    });
    if !note.container.is_empty() {
        involved["fieldPath"] = format!("spec.containers{{{}}}", note.container).into();
    }
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": note.pod.namespace, "name": object_name(note, message, wall)},
        "involvedObject": involved,
        "type": if note.warning { "Warning" } else { "Normal" },
        "reason": note.reason,
        "message": message,
        "count": series.count,
        "firstTimestamp": time(series.first),
        "lastTimestamp": time(wall),
        "source": {"component": "edged", "host": node},
        "reportingComponent": "edged",
        "reportingInstance": node,
    })
}

/// Writes events for as long as notes come. What the API does not take is dropped: the pod's
/// status tells the essence.
pub(crate) async fn write(api: Arc<dyn Api>, node: String, mut notes: mpsc::Receiver<Note>) {
    let began = tokio::time::Instant::now();
    let mut recorder = Recorder::new(node);
    while let Some(note) = notes.recv().await {
        let now = Moment(began.elapsed());
        let Some(event) = recorder.record(&note, now, Timestamp::now()) else {
            continue;
        };
        if let Err(error) = api.create(&EVENTS, &note.pod.namespace, &event).await {
            tracing::debug!(
                error = %causeway_daemon::telemetry::error_chain(&error),
                reason = note.reason,
                "an event could not be written"
            );
        }
    }
}

#[cfg(test)]
mod tests;
