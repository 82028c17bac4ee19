//! An API server in memory: it keeps objects, checks preconditions, and fails as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use causeway_kube_api::Status;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::kube::writeback::call::{Api, Call, CallError, Content, Identity, Method};

/// What it does to a call instead of answering it.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It cannot be reached.
    Down,
    /// It carries the call out, and the answer is lost.
    Lost,
    /// It answers this.
    Says(u16, &'static str, String),
}

type Decide = Box<dyn Fn(&Call) -> Option<Fault> + Send>;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    /// Faults of the next calls; `None`: it answers.
    script: VecDeque<Option<Fault>>,
    /// Faults of calls of a kind, for ever.
    rule: Option<Decide>,
    calls: Vec<Call>,
}

/// See the module documentation.
pub(super) struct FakeApi {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    /// Calls of this identity are not answered.
    held: watch::Sender<Option<Identity>>,
    /// What each call takes.
    delay: Mutex<Duration>,
}

impl std::fmt::Debug for FakeApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeApi").finish_non_exhaustive()
    }
}

impl FakeApi {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            held: watch::Sender::new(None),
            delay: Mutex::default(),
        })
    }

    /// Puts an object there, as somebody else would.
    pub(super) fn put(&self, path: &str, mut object: Value) {
        let mut state = self.state.lock();
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.objects.insert(path.to_owned(), object);
    }

    pub(super) fn remove(&self, path: &str) {
        self.state.lock().objects.remove(path);
    }

    pub(super) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().objects.get(path).cloned()
    }

    /// How many objects there are below a path.
    pub(super) fn count(&self, below: &str) -> usize {
        let state = self.state.lock();
        state
            .objects
            .keys()
            .filter(|path| path.starts_with(below))
            .count()
    }

    pub(super) fn script(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.state.lock().script.extend(faults);
    }

    pub(super) fn rule(&self, rule: impl Fn(&Call) -> Option<Fault> + Send + 'static) {
        self.state.lock().rule = Some(Box::new(rule));
    }

    /// Answers nobody of this identity for now.
    pub(super) fn hold(&self, identity: Identity) {
        self.held.send_replace(Some(identity));
    }

    /// Answers everybody, each call after so long.
    pub(super) fn release(&self, delay: Duration) {
        *self.delay.lock() = delay;
        self.held.send_replace(None);
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.state.lock().calls.clone()
    }

    /// Moves at each call.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until something holds; it is asked after each call.
    pub(super) async fn until<T>(&self, holds: impl Fn(&Self) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(found) = holds(self) {
                return found;
            }
            changed
                .changed()
                .await
                .expect("the server lives as long as the test");
        }
    }

    fn answer(&self, call: &Call) -> Result<Value, CallError> {
        let mut state = self.state.lock();
        state.calls.push(call.clone());
        let scripted = state.script.pop_front().flatten();
        let fault = scripted.or_else(|| state.rule.as_ref().and_then(|rule| rule(call)));
        match fault {
            None => state.carry_out(call),
            Some(Fault::Down) => Err(no_answer()),
            Some(Fault::Lost) => {
                let _ = state.carry_out(call);
                Err(no_answer())
            }
            Some(Fault::Says(code, reason, message)) => Err(refused(code, reason, &message)),
        }
    }
}

impl Api for FakeApi {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Value, CallError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let mut held = self.held.subscribe();
            let is_free = |held: &Option<Identity>| held.as_ref() != Some(&call.identity);
            if held.wait_for(is_free).await.is_err() {
                unreachable!("the server lives as long as its calls");
            }
            let delay = *self.delay.lock();
            tokio::time::sleep(delay).await;
            let answer = self.answer(&call);
            self.changed.send_modify(|count| *count += 1);
            answer
        })
    }
}

impl State {
    fn carry_out(&mut self, call: &Call) -> Result<Value, CallError> {
        let body = call.body.clone().unwrap_or_default();
        let (path, subresource) = match call.path.strip_suffix("/status") {
            Some(path) => (path.to_owned(), true),
            None => (call.path.clone(), false),
        };
        match call.method {
            Method::Get if call.query.contains("fieldSelector") => Ok(json!({"items": []})),
            Method::Get => self.find(&path),
            Method::Post => self.create(&path, body),
            Method::Patch => self.patch(&path, call.content, subresource, &body),
            Method::Delete => {
                let object = self.find(&path)?;
                check(&object, &body["preconditions"])?;
                self.objects.remove(&path);
                Ok(object)
            }
        }
    }

    fn find(&self, path: &str) -> Result<Value, CallError> {
        let found = self.objects.get(path).cloned();
        found.ok_or_else(|| refused(404, "NotFound", "not found"))
    }

    fn create(&mut self, collection: &str, mut object: Value) -> Result<Value, CallError> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{collection}/{name}");
        if self.objects.contains_key(&path) {
            return Err(refused(409, "AlreadyExists", "it exists"));
        }
        self.version += 1;
        object["metadata"]["uid"] = json!(format!("server-{}", self.version));
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path, object.clone());
        Ok(object)
    }

    fn patch(
        &mut self,
        path: &str,
        content: Content,
        subresource: bool,
        patch: &Value,
    ) -> Result<Value, CallError> {
        let mut object = self.find(path)?;
        check(&object, &patch["metadata"])?;
        if subresource {
            merge(&mut object, &json!({"status": patch["status"]}), content);
        } else {
            merge(&mut object, patch, content);
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), object.clone());
        Ok(object)
    }
}

fn check(object: &Value, preconditions: &Value) -> Result<(), CallError> {
    for field in ["uid", "resourceVersion"] {
        let wanted = preconditions.get(field).filter(|wanted| !wanted.is_null());
        if wanted.is_some_and(|wanted| object["metadata"].get(field) != Some(wanted)) {
            let message = match field {
                "uid" => "Precondition failed: UID in precondition: a, UID in object meta: b",
                _ => "the object has been modified",
            };
            return Err(refused(409, "Conflict", message));
        }
    }
    Ok(())
}

/// A merge patch; of a strategic one, conditions are merged by type.
fn merge(target: &mut Value, patch: &Value, content: Content) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (field, value) in patch {
        if value.is_null() {
            target.as_object_mut().map(|map| map.remove(field));
        } else if content == Content::StrategicPatch && field == "conditions" {
            let mut known = target[field].as_array().cloned().unwrap_or_default();
            for one in value.as_array().into_iter().flatten() {
                known.retain(|other| other["type"] != one["type"]);
                if one.get("$patch").is_none() {
                    known.push(one.clone());
                }
            }
            target[field] = Value::Array(known);
        } else {
            merge(&mut target[field], value, content);
        }
    }
}

fn refused(code: u16, reason: &str, message: &str) -> CallError {
    CallError::Refused {
        status: Box::new(Status::failure(code, reason, message)),
        retry_after: None,
    }
}

fn no_answer() -> CallError {
    CallError::NoAnswer {
        source: "the connection broke".into(),
    }
}
