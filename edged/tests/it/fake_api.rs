//! An API in memory: objects, versions, changes that coalesce, and a door that can be shut.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_edged::api::{Answer, Api};
use causeway_kube_api::client::{ApiError, Gvr, Reflected};
use causeway_kube_api::status::Status;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::DEADLINE;

type Key = (String, String, String);

#[derive(Clone)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<State>>,
    revision: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Value>,
    /// The last state of what is gone.
    gone: BTreeMap<Key, Value>,
    /// What changed last at each revision.
    changes: BTreeMap<u64, Key>,
    changed: BTreeMap<Key, u64>,
    shut: bool,
    uids: u64,
    writes: u64,
    /// Nodes get no labels; so often they were asked for.
    refused_labels: Option<u64>,
}

impl FakeApi {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::default(),
            revision: Arc::new(watch::Sender::new(1)),
        }
    }

    /// While shut, it answers nothing and tells nothing.
    pub(crate) fn shut(&self, shut: bool) {
        self.state.lock().shut = shut;
        self.revision.send_modify(|_| {});
    }

    /// From here on nodes get no labels, as if the cloud refused each request for them.
    pub(crate) fn refuse_labels(&self) {
        self.state.lock().refused_labels = Some(0);
    }

    /// How often labels were asked for and refused.
    pub(crate) fn refused_labels(&self) -> u64 {
        self.state.lock().refused_labels.unwrap_or_default()
    }

    pub(crate) fn put(&self, kind: &str, mut object: Value) {
        let mut state = self.state.lock();
        let key = key(kind, &object);
        if object["metadata"]["uid"].is_null() {
            let known = state
                .objects
                .get(&key)
                .map(|known| known["metadata"]["uid"].clone());
            state.uids += 1;
            let uid = known.unwrap_or_else(|| format!("uid-{}", state.uids).into());
            object["metadata"]["uid"] = uid;
        }
        if let (Some(known), true) = (state.objects.get(&key), object["status"].is_null())
            && known["metadata"]["uid"] == object["metadata"]["uid"]
        {
            object["status"] = known["status"].clone();
        }
        self.store(&mut state, key, object);
    }

    fn store(&self, state: &mut State, key: Key, mut object: Value) -> Value {
        let revision = *self.revision.borrow() + 1;
        object["metadata"]["resourceVersion"] = revision.to_string().into();
        state.note(&key, revision);
        state.objects.insert(key, object.clone());
        state.writes += 1;
        self.revision.send_replace(revision);
        object
    }

    pub(crate) fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.state.lock().objects.get(&key).cloned()
    }

    pub(crate) fn forget(&self, kind: &str, namespace: &str, name: &str) {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.drop_object(&mut self.state.lock(), &key);
    }

    fn drop_object(&self, state: &mut State, key: &Key) {
        let revision = *self.revision.borrow() + 1;
        if let Some(gone) = state.objects.remove(key) {
            state.note(key, revision);
            state.gone.insert(key.clone(), gone);
        }
        self.revision.send_replace(revision);
    }

    /// Whether all objects of a kind are so.
    pub(crate) fn all(&self, kind: &str, are: impl Fn(&Value) -> bool) -> bool {
        let state = self.state.lock();
        let mut objects = state.objects.iter().filter(|((of, ..), _)| of == kind);
        objects.all(|(_, object)| are(object))
    }

    pub(crate) fn writes(&self) -> u64 {
        self.state.lock().writes
    }

    pub(crate) fn events(&self) -> Vec<(String, String)> {
        let state = self.state.lock();
        let events = state
            .objects
            .iter()
            .filter(|((kind, ..), _)| kind == "events");
        let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
        events
            .map(|(_, event)| (text(event, "reason"), text(event, "message")))
            .collect()
    }

    /// Waits until `look` finds something in the objects.
    pub(crate) async fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let mut revision = self.revision.subscribe();
        let found = async {
            loop {
                revision.mark_unchanged();
                if let Some(found) = look(self) {
                    return found;
                }
                revision.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(DEADLINE, found).await {
            Ok(found) => found,
            Err(_) => panic!("never came: {what}; {:#?}", self.state.lock().objects),
        }
    }

    fn answer<T>(&self, act: impl FnOnce(&mut State) -> Result<T, Status>) -> Result<T, ApiError> {
        let mut state = self.state.lock();
        if state.shut {
            return Err(ApiError::Connect {
                source: std::io::ErrorKind::ConnectionRefused.into(),
            });
        }
        act(&mut state).map_err(|status| ApiError::Refused {
            status: Box::new(status),
        })
    }

    fn write_patch(
        &self,
        kind: &Gvr,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, ApiError> {
        self.answer(|state| {
            let key = (plural(kind), namespace.to_owned(), name.to_owned());
            let known = state.objects.get(&key).ok_or_else(|| refuse(404))?;
            let mut object = known.clone();
            let uid = patch["metadata"].get("uid");
            if uid.is_some_and(|uid| *uid != known["metadata"]["uid"]) {
                return Err(refuse(409));
            }
            merge(&mut object, patch);
            let labels = known["metadata"]["labels"].clone();
            if state.refuses_labels_of(kind, patch) {
                object["metadata"]["labels"] = labels;
            }
            Ok(self.store(state, key, object))
        })
    }
}

impl State {
    fn note(&mut self, key: &Key, revision: u64) {
        if let Some(before) = self.changed.insert(key.clone(), revision) {
            self.changes.remove(&before);
        }
        self.changes.insert(revision, key.clone());
        self.gone.remove(key);
    }

    /// What a follower that was told everything up to `told` is told next, and what it knows then.
    fn next(&self, told: Option<u64>, is_mine: impl Fn(&Key) -> bool) -> Option<(Reflected, u64)> {
        let Some(told) = told else {
            let mine = self.objects.iter().filter(|(key, _)| is_mine(key));
            let all = mine.map(|(_, object)| object.clone()).collect();
            let last = self.changes.last_key_value().map_or(0, |(last, _)| *last);
            return Some((Reflected::Replace(all), last));
        };
        let mut news = self.changes.range(told + 1..);
        let (revision, key) = news.find(|(_, key)| is_mine(key))?;
        let told = match self.objects.get(key) {
            Some(object) => Reflected::Applied(object.clone()),
            None => Reflected::Deleted(self.gone[key].clone()),
        };
        Some((told, *revision))
    }

    /// Whether a write asks for labels of a node that it does not get.
    fn refuses_labels_of(&mut self, kind: &Gvr, asked: &Value) -> bool {
        let asks = plural(kind) == "nodes" && asked["metadata"]["labels"].is_object();
        let Some(refused) = self.refused_labels.as_mut().filter(|_| asks) else {
            return false;
        };
        *refused += 1;
        // Whoever asks so often leaves no time for the test to count.
        assert!(*refused < 100, "labels are asked for in a loop");
        true
    }
}

fn plural(kind: &Gvr) -> String {
    format!("{kind:?}")
        .split("plural: \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned()
}

fn key(kind: &str, object: &Value) -> Key {
    let text = |field: &str| {
        object["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (kind.to_owned(), text("namespace"), text("name"))
}

fn refuse(code: u16) -> Status {
    serde_json::from_value(json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "refused", "reason": "Refused", "code": code,
    }))
    .unwrap()
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let map = object.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

impl Api for FakeApi {
    fn follow(&self, kind: Gvr, fields: &str) -> BoxStream<'static, Reflected> {
        let follower = (self.clone(), self.revision.subscribe(), None, plural(&kind));
        let only = fields.strip_prefix("metadata.name=").map(ToOwned::to_owned);
        futures_util::stream::unfold(follower, move |(api, mut revision, told, kind)| {
            let only = only.clone();
            async move {
                let is_mine = |(of, _, name): &Key| {
                    *of == kind && only.as_ref().is_none_or(|only| only == name)
                };
                loop {
                    revision.mark_unchanged();
                    let news = {
                        let state = api.state.lock();
                        let is_open = (!state.shut).then_some(());
                        is_open.and_then(|()| state.next(told, is_mine))
                    };
                    if let Some((news, told)) = news {
                        revision.mark_changed();
                        return Some((news, (api, revision, Some(told), kind)));
                    }
                    revision.changed().await.unwrap();
                }
            }
        })
        .boxed()
    }

    fn find<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        name: &'a str,
    ) -> Answer<'a, Option<Value>> {
        async move {
            let key = (plural(kind), namespace.to_owned(), name.to_owned());
            self.answer(|state| Ok(state.objects.get(&key).cloned()))
        }
        .boxed()
    }

    fn create<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        object: &'a Value,
    ) -> Answer<'a, Value> {
        async move {
            self.answer(|state| {
                let mut object = object.clone();
                if !namespace.is_empty() {
                    object["metadata"]["namespace"] = namespace.into();
                }
                let key = key(&plural(kind), &object);
                if state.objects.contains_key(&key) {
                    return Err(refuse(409));
                }
                if state.refuses_labels_of(kind, &object) {
                    object["metadata"]["labels"] = json!({});
                }
                state.uids += 1;
                object["metadata"]["uid"] = format!("uid-{}", state.uids).into();
                Ok(self.store(state, key, object))
            })
        }
        .boxed()
    }

    fn patch<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        name: &'a str,
        patch: &'a Value,
    ) -> Answer<'a, Value> {
        async move { self.write_patch(kind, namespace, name, patch) }.boxed()
    }

    fn patch_status<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        name: &'a str,
        patch: &'a Value,
    ) -> Answer<'a, Value> {
        async move { self.write_patch(kind, namespace, name, patch) }.boxed()
    }

    fn remove<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        name: &'a str,
        uid: &'a str,
    ) -> Answer<'a, ()> {
        async move {
            self.answer(|state| {
                let key = (plural(kind), namespace.to_owned(), name.to_owned());
                let known = state.objects.get(&key).ok_or_else(|| refuse(404))?;
                if known["metadata"]["uid"] != uid {
                    return Err(refuse(409));
                }
                self.drop_object(state, &key);
                Ok(())
            })
        }
        .boxed()
    }
}
