//! One object in one life: the layers it is made of, and how they show.

use causeway_log::{Body, EventId, Key, Revision, Stored, Uid, Version, WallTime};
use serde_json::{Map, Value, json};

use crate::request::{Request, Verb};
use crate::twin::Reported;
use crate::twin::status::device_status;

/// Annotation of an object that shows a write which its owner has yet to answer.
pub const PENDING_ANNOTATION: &str = "causeway.dev/pending";
/// Annotation of an object whose last write was refused by its owner: the reason.
pub const REJECTED_ANNOTATION: &str = "causeway.dev/rejected";

/// The newest record of one slot of a key, without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) revision: Revision,
    pub(super) since: Revision,
    pub(super) version: Version,
    pub(super) id: EventId,
    pub(super) cause: Option<EventId>,
    pub(super) time: WallTime,
    pub(super) body: Body,
}

impl Layer {
    pub(super) fn of(stored: &Stored) -> Self {
        let header = &stored.record.header;
        Self {
            revision: stored.revision,
            since: stored.since,
            version: header.version,
            id: header.id,
            cause: header.cause,
            time: header.time,
            body: stored.record.body.clone(),
        }
    }
}

/// What the owner last said of the object itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owned {
    /// It is there.
    Put(Layer),
    /// Of a DeviceStatus: its Device is there.
    Device {
        /// Since when it is as it is.
        revision: Revision,
        /// Since when it is there.
        since: Revision,
    },
    /// It is gone.
    Deleted {
        /// Since when.
        revision: Revision,
        /// Since when it had been there; the same when it never was.
        since: Revision,
    },
}

impl Owned {
    pub(super) const fn revision(&self) -> Revision {
        match self {
            Self::Put(layer) => layer.revision,
            Self::Device { revision, .. } | Self::Deleted { revision, .. } => *revision,
        }
    }
}

/// A write request that went up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) layer: Layer,
    pub(super) verb: Verb,
}

/// The owner's newest answer to a request for the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) revision: Revision,
    pub(super) request: Option<EventId>,
    /// Why it was refused: the JSON of a `Status`.
    pub(super) refusal: Option<Body>,
}

/// One object in one life, as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(super) key: Key,
    pub(super) owned: Option<Owned>,
    pub(super) status: Option<Box<Layer>>,
    pub(super) asked: Option<Box<Asked>>,
    /// The owner's newest answer to a request for this life.
    pub(super) told: Option<Box<Answer>>,
    /// The node has finished with the object, as it was known then: see [`Entry::finished`].
    pub(super) finished: Option<Revision>,
    /// Where the tombstone of this life stands.
    pub(super) buried: Option<Revision>,
    /// It is a DeviceStatus: `status` is what its device reports, and `owned` and `finished` are of
    /// the Device.
    pub(super) is_projected: bool,
}

/// An edge holds hundreds of these in few megabytes.
const _: () = assert!(size_of::<Entry>() <= 256);

impl Entry {
    pub(super) const fn new(key: Key) -> Self {
        Self {
            key,
            owned: None,
            status: None,
            asked: None,
            told: None,
            finished: None,
            buried: None,
            is_projected: false,
        }
    }

    /// Resource, namespace, name and uid.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// When the object came to be here: the revision of its first record.
    #[must_use]
    pub fn created(&self) -> Revision {
        if self.is_projected {
            return self.status.as_ref().map(|it| it.since).unwrap_or_default();
        }
        let owned = self.put().map(|layer| layer.since);
        let asked = self.asked.as_ref().map(|asked| asked.layer.since);
        owned.into_iter().chain(asked).min().unwrap_or_default()
    }

    /// When what is served last changed: the revision of the newest record that shows. It is the
    /// `resourceVersion` of the object at the local API.
    #[must_use]
    pub fn modified(&self) -> Revision {
        if self.is_projected {
            let status = self.reported().map(|layer| layer.revision);
            return status.unwrap_or_default();
        }
        let owned = self.owned.as_ref().map(Owned::revision);
        let status = self.reported().map(|layer| layer.revision);
        let asked = self.asked.as_ref().map(|asked| asked.layer.revision);
        let answered = self.answer().map(|answer| answer.revision);
        let revisions = [owned, status, asked, answered, self.finished];
        revisions.into_iter().flatten().max().unwrap_or_default()
    }

    /// The object as its owner wants it; `None` while only a request to create it is there.
    #[must_use]
    pub fn desired(&self) -> Option<&Body> {
        self.put().map(|layer| &layer.body)
    }

    /// The version of [`Entry::desired`] at its owner; zero when there is none.
    #[must_use]
    pub fn version(&self) -> Version {
        self.put().map(|layer| layer.version).unwrap_or_default()
    }

    /// The version at its owner of what is served: [`Entry::version`], unless a request that waits
    /// shows in its place, which was made on an older one.
    #[must_use]
    pub fn seen(&self) -> Option<Version> {
        let put = self.put()?;
        let Some(asked) = self.waiting().filter(|it| it.verb != Verb::Delete) else {
            return Some(put.version);
        };
        // It came of that request, or of the one answered last, on which that one was made.
        let answered = self.told.as_ref().and_then(|answer| answer.request);
        let is_own = |cause| cause == asked.layer.id || Some(cause) == answered;
        if put.cause.is_some_and(is_own) {
            return Some(put.version);
        }
        let request = Request::decode(asked.layer.body.bytes());
        request.ok().and_then(|request| request.base)
    }

    /// The event that caused the newest [`Entry::desired`], such as the request it answers.
    #[must_use]
    pub fn cause(&self) -> Option<EventId> {
        self.put().and_then(|layer| layer.cause)
    }

    /// The request that the owner has yet to answer.
    #[must_use]
    pub fn pending(&self) -> Option<EventId> {
        self.waiting().map(|asked| asked.layer.id)
    }

    /// The `status` that the edge reports, as JSON bytes.
    #[must_use]
    pub fn status_body(&self) -> Option<&Body> {
        self.reported().map(|layer| &layer.body)
    }

    /// What the edge reports, unless that ended with the object and the object is back.
    fn reported(&self) -> Option<&Layer> {
        let status = self.status.as_deref()?;
        let is_over = self.finished.is_some_and(|end| status.revision < end);
        let is_last = !self.is_projected && self.finished().is_some();
        (!is_over || is_last).then_some(status)
    }

    /// The uid of this life.
    #[must_use]
    pub const fn uid(&self) -> &Uid {
        &self.key.uid
    }

    pub(super) const fn put(&self) -> Option<&Layer> {
        match &self.owned {
            Some(Owned::Put(layer)) => Some(layer),
            Some(Owned::Device { .. } | Owned::Deleted { .. }) | None => None,
        }
    }

    /// When the node finished with the object. What the owner says later counts: an object that it
    /// puts once more is back (a restored owner forgets that it deleted it), and so is one whose
    /// deletion was only asked for and is refused. Nobody asks for anything of one that is gone.
    fn finished(&self) -> Option<Revision> {
        let put = self.put().map(|layer| layer.revision);
        let asked = self.asked.as_deref();
        let kept = self
            .answer()
            .filter(|it| it.refusal.is_some() && asked.is_some_and(|it| it.verb == Verb::Delete))
            .map(|answer| answer.revision);
        let asked = asked.map(|asked| asked.layer.revision);
        self.finished
            .filter(|end| Some(*end) > put.max(kept).max(asked))
    }

    /// The owner's answer to `asked`.
    fn answer(&self) -> Option<&Answer> {
        let asked = self.asked.as_ref()?.layer.id;
        self.told
            .as_deref()
            .filter(|answer| answer.request == Some(asked))
    }

    fn waiting(&self) -> Option<&Asked> {
        self.asked.as_deref().filter(|_| self.answer().is_none())
    }

    /// The request that shows: one that waits, or a create that was accepted and whose object is
    /// still to come.
    fn shown(&self) -> Option<&Asked> {
        let coming = self.owned.is_none() && self.is_alive();
        self.asked
            .as_deref()
            .filter(|_| coming || self.answer().is_none())
    }

    /// Whether there is an object to serve.
    pub(super) fn is_alive(&self) -> bool {
        if self.is_projected {
            let is_owned = matches!(self.owned, Some(Owned::Device { .. }));
            return is_owned && self.reported().is_some();
        }
        if self.finished().is_some() {
            return false;
        }
        match &self.owned {
            Some(Owned::Put(_) | Owned::Device { .. }) => true,
            Some(Owned::Deleted { .. }) => false,
            None => {
                let refused = self.answer().is_some_and(|answer| answer.refusal.is_some());
                self.asked
                    .as_ref()
                    .is_some_and(|asked| asked.verb == Verb::Create)
                    && !refused
            }
        }
    }

    /// When a life that may have been served ended, and when it began, if known.
    pub(super) fn end(&self) -> Option<(Revision, Revision)> {
        if self.is_projected {
            return self.end_of_status();
        }
        match &self.owned {
            // The node may have finished with it more than once: see `finished`.
            Some(Owned::Deleted { revision, since }) => {
                Some((self.finished.max(Some(*revision))?, *since))
            }
            Some(Owned::Put(_) | Owned::Device { .. }) | None if self.finished().is_some() => {
                Some((self.finished()?, self.created()))
            }
            Some(Owned::Put(_) | Owned::Device { .. }) => None,
            None => {
                let refused = self.answer().filter(|answer| answer.refusal.is_some())?;
                Some((refused.revision, self.created()))
            }
        }
    }

    /// As [`Entry::end`], of a DeviceStatus: with the Device, or with what is reported of it.
    fn end_of_status(&self) -> Option<(Revision, Revision)> {
        let status = self.status.as_ref()?;
        let gone = match &self.owned {
            Some(Owned::Deleted { revision, .. }) => Some(*revision),
            Some(Owned::Put(_) | Owned::Device { .. }) | None => None,
        };
        let over = self.finished.filter(|end| *end > status.revision);
        Some((gone.max(over)?, status.since))
    }

    /// Which of several lives of a name counts: the one that began last, even when it is over. A
    /// life of which nothing but an end or a status is known does not count.
    pub(super) fn rank(&self) -> Option<Revision> {
        match &self.owned {
            Some(Owned::Put(layer)) => Some(layer.since),
            Some(Owned::Device { since, .. }) => Some(*since),
            Some(Owned::Deleted { revision, since }) => (since < revision).then_some(*since),
            None => self
                .asked
                .as_ref()
                .filter(|_| self.is_alive())
                .map(|asked| asked.layer.since),
        }
    }

    /// Bytes of bodies held.
    pub(super) fn bytes(&self) -> usize {
        self.desired().map_or(0, Body::len)
            + self.status.as_ref().map_or(0, |layer| layer.body.len())
            + self
                .asked
                .as_ref()
                .map_or(0, |asked| asked.layer.body.len())
    }

    /// The object as it is served: the layers merged, with `metadata.resourceVersion` and the
    /// annotations that tell of pending and refused writes.
    ///
    /// A body that is not a JSON object shows as an object of nothing but metadata.
    #[must_use]
    pub fn object(&self) -> Value {
        let mut object = self.base();
        if !self.is_projected
            && let Some(status) = self.status_body()
            && let Ok(status) = serde_json::from_slice(status.bytes())
        {
            object.insert("status".to_owned(), status);
        }
        let mut metadata = match object.remove("metadata") {
            Some(Value::Object(metadata)) => metadata,
            _ => Map::new(),
        };
        self.identify(&mut metadata);
        self.annotate(&mut metadata);
        object.insert("metadata".to_owned(), Value::Object(metadata));
        Value::Object(object)
    }

    /// The object without the status layer: as wanted, or as asked for.
    fn base(&self) -> Map<String, Value> {
        if self.is_projected {
            let reported = self.status.as_ref();
            let reported = reported.and_then(|it| Reported::decode(it.body.bytes()).ok());
            let status = device_status(&self.key, &reported.unwrap_or_default());
            let Value::Object(object) = status else {
                return Map::new();
            };
            return object;
        }
        let desired = self
            .desired()
            .map_or_else(Map::new, |body| parse_object(body.bytes()));
        let Some(asked) = self.shown() else {
            return desired;
        };
        let wanted = Request::decode(asked.layer.body.bytes())
            .ok()
            .and_then(|it| it.object);
        match (asked.verb, wanted) {
            (Verb::Create | Verb::Update, Some(Value::Object(mut wanted))) => {
                if let Some(status) = desired.get("status") {
                    wanted.insert("status".to_owned(), status.clone());
                } else if self.put().is_some() {
                    wanted.remove("status");
                }
                wanted
            }
            (Verb::Status, Some(Value::Object(mut wanted))) => {
                let mut object = desired;
                object.insert(
                    "status".to_owned(),
                    wanted.remove("status").unwrap_or_default(),
                );
                object
            }
            (Verb::Create | Verb::Update | Verb::Status | Verb::Delete, _) => desired,
        }
    }

    fn identify(&self, metadata: &mut Map<String, Value>) {
        metadata.insert("name".to_owned(), json!(&*self.key.name));
        if !self.key.namespace.is_empty() {
            metadata.insert("namespace".to_owned(), json!(&*self.key.namespace));
        }
        if !self.key.uid.is_none() {
            metadata.insert("uid".to_owned(), json!(self.key.uid.to_string()));
        }
        metadata.insert(
            "resourceVersion".to_owned(),
            json!(self.modified().to_string()),
        );
    }

    fn annotate(&self, metadata: &mut Map<String, Value>) {
        let (name, value) = if let Some(asked) = self.waiting() {
            if asked.verb == Verb::Delete && !metadata.contains_key("deletionTimestamp") {
                let time = format_time(asked.layer.time);
                metadata.insert("deletionTimestamp".to_owned(), json!(time));
            }
            (PENDING_ANNOTATION, "true".to_owned())
        } else if let Some(reason) = self.refusal() {
            (REJECTED_ANNOTATION, reason)
        } else {
            return;
        };
        let annotations = metadata.entry("annotations").or_insert(Value::Null);
        if !annotations.is_object() {
            *annotations = json!({});
        }
        annotations[name] = Value::String(value);
    }

    /// Why the last request was refused, unless the object changed since.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let answer = self.answer()?;
        let refusal = answer.refusal.as_ref()?;
        if self
            .put()
            .is_some_and(|layer| layer.revision > answer.revision)
        {
            return None;
        }
        let status: Value = serde_json::from_slice(refusal.bytes()).unwrap_or_default();
        let told = status["message"]
            .as_str()
            .or_else(|| status["reason"].as_str());
        Some(told.unwrap_or("refused").to_owned())
    }
}

fn parse_object(bytes: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// RFC 3339 in UTC, whole seconds.
fn format_time(time: WallTime) -> String {
    let seconds = i64::try_from(time.unix_millis() / 1000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}
