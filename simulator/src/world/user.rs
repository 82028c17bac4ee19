//! Users of the cloud's API: they try until they are answered, and remember what was promised.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_cloud_sync::cluster::Request;
use causeway_kube_api::decide::{
    Context, DeleteOptions, Deletion, Subresource, prepare_create, prepare_delete, prepare_patch,
};
use causeway_kube_api::patch::Patch;
use causeway_kube_api::schema::FieldValidation;
use causeway_kube_api::{
    Catalog, Change, Clock as _, Expected, ServedKind, Status, Write, WriteError, Written,
};
use causeway_log::{Key, Resource, Uid};
use causeway_projections::Entry;
use serde_json::Value;
use tokio::sync::oneshot;

use super::World;
use super::queue::Event;

/// How long a user waits before the next try.
const RETRY: Duration = Duration::from_secs(1);

/// Names an object to users.
pub(super) type Name = (Resource, String, String);

/// Somebody who wants one thing.
#[derive(Debug)]
pub(super) struct User {
    name: Name,
    wish: Wish,
    answer: Option<oneshot::Receiver<Result<Written, WriteError>>>,
    done: bool,
}

#[derive(Debug)]
enum Wish {
    Apply(Value),
    /// Which life, once it was seen.
    Delete {
        grace: Option<i64>,
        uid: Option<String>,
    },
}

/// What users were promised: LOG-2 as they see it.
#[derive(Clone, Debug, Default)]
pub(super) struct Promises {
    /// By name: the uid, and what was applied; `None` for one that is to be gone.
    pub(super) acked: BTreeMap<Name, (String, Option<Value>)>,
}

/// What a try came to.
enum Try {
    Done(Option<String>),
    Later,
    Write(Write),
    Refused(Box<Status>),
}

impl User {
    /// What is waited for.
    pub(super) fn describe(&self) -> String {
        let what = match self.wish {
            Wish::Apply(_) => "apply",
            Wish::Delete { .. } => "delete",
        };
        let (resource, namespace, name) = &self.name;
        format!("{what} of {} {namespace}/{name}", resource.plural)
    }

    pub(super) const fn is_done(&self) -> bool {
        self.done
    }
}

impl World {
    pub(super) fn apply(&mut self, manifest: Value) {
        let Some(kind) = self.kind_of(&manifest) else {
            self.trace
                .event(self.now, "refused", "cloud", format_args!("no such kind"));
            return;
        };
        let text = |field: &str| manifest["metadata"][field].as_str().unwrap_or_default();
        let namespace = match text("namespace") {
            "" if kind.namespaced => "default",
            namespace => namespace,
        };
        let name = (
            kind.resource.clone(),
            namespace.to_owned(),
            text("name").to_owned(),
        );
        self.wish(name, Wish::Apply(manifest));
    }

    pub(super) fn delete(
        &mut self,
        resource: Resource,
        namespace: &str,
        name: &str,
        grace: Option<i64>,
    ) {
        let name = (resource, namespace.to_owned(), name.to_owned());
        self.wish(name, Wish::Delete { grace, uid: None });
    }

    fn wish(&mut self, name: Name, wish: Wish) {
        let is_first = !self
            .users
            .iter()
            .any(|user| user.name == name && !user.done);
        self.users.push(User {
            name,
            wish,
            answer: None,
            done: false,
        });
        if is_first {
            let user = self.users.len() - 1;
            self.queue.push(self.now, Event::Ask { user });
        }
    }

    /// A user tries. Wishes about one name come one after the other.
    pub(super) fn ask(&mut self, u: usize) {
        let Some(user) = self
            .users
            .get(u)
            .filter(|user| !user.done && user.answer.is_none())
        else {
            return;
        };
        let outcome = match &self.cloud {
            None => Try::Later,
            Some(cloud) => {
                let (resource, namespace, name) = &user.name;
                let entry = cloud
                    .view
                    .read(|objects| objects.get(resource, namespace, name).cloned());
                self.decide(&user.name, &user.wish, entry.as_ref())
            }
        };
        match outcome {
            Try::Later => self.queue.push(self.now + RETRY, Event::Ask { user: u }),
            Try::Done(uid) => self.fulfil(u, uid),
            Try::Refused(status) => {
                let message = status.message;
                self.trace
                    .event(self.now, "refused", "cloud", format_args!("{message}"));
                self.fulfil(u, None);
            }
            Try::Write(write) => {
                let (answer, answered) = oneshot::channel();
                let user = &mut self.users[u];
                user.answer = Some(answered);
                if let Wish::Delete { uid, .. } = &mut user.wish {
                    *uid = Some(write.key.uid.to_string());
                    self.deleted.insert(write.key.uid.to_string());
                }
                self.asking.push(u);
                let write = Box::new(write);
                self.ask_cloud(Request::Write { write, answer });
            }
        }
    }

    fn decide(&self, name: &Name, wish: &Wish, entry: Option<&Entry>) -> Try {
        let (resource, namespace, own_name) = name;
        let catalog = self.served();
        let Some(kind) = catalog.find_resource(resource) else {
            return Try::Done(None);
        };
        let context = Context {
            now: self.cloud_clock.now(),
            uid: self.cloud_clock.uid(),
            namespace: namespace.clone(),
            name: own_name.clone(),
            field_validation: FieldValidation::Ignore,
        };
        match (wish, entry) {
            (Wish::Apply(manifest), None) => create(kind, name, manifest, &context),
            (Wish::Apply(manifest), Some(entry)) => update(kind, entry, manifest, &context),
            (Wish::Delete { uid, .. }, None) => Try::Done(uid.clone()),
            (Wish::Delete { grace, uid }, Some(entry)) => {
                let found = entry.key().uid.to_string();
                if uid.as_ref().is_some_and(|uid| *uid != found) {
                    return Try::Done(uid.clone());
                }
                delete(kind, entry, *grace, &context)
            }
        }
    }

    /// Takes the answers of the API.
    pub(super) fn hear_users(&mut self) {
        for u in self.asking.clone() {
            let Some(answer) = self.users[u].answer.as_mut() else {
                continue;
            };
            let answer = match answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => continue,
                Err(oneshot::error::TryRecvError::Closed) => None,
                Ok(answer) => Some(answer),
            };
            self.users[u].answer = None;
            match answer {
                Some(Ok(written)) => {
                    let uid = written.object.as_ref().and_then(|object| {
                        object["metadata"]["uid"].as_str().map(ToOwned::to_owned)
                    });
                    let asked = match &self.users[u].wish {
                        Wish::Delete { uid, .. } => uid.clone(),
                        Wish::Apply(_) => None,
                    };
                    self.fulfil(u, uid.or(asked));
                }
                Some(Err(WriteError::Conflict { .. })) => {
                    self.queue.push(self.now, Event::Ask { user: u });
                }
                Some(Err(_)) | None => {
                    self.queue.push(self.now + RETRY, Event::Ask { user: u });
                }
            }
        }
        let users = &self.users;
        self.asking.retain(|u| users[*u].answer.is_some());
    }

    /// A wish is fulfilled, or refused when there is no `uid`; the next one about the name follows.
    fn fulfil(&mut self, u: usize, uid: Option<String>) {
        let user = &mut self.users[u];
        user.done = true;
        let name = user.name.clone();
        let wish = std::mem::replace(&mut user.wish, Wish::Apply(Value::Null));
        if let Some(uid) = uid {
            let (what, promise) = match wish {
                Wish::Apply(manifest) => ("applied", Some(manifest)),
                Wish::Delete { .. } => ("deleted", None),
            };
            let (resource, namespace, own) = &name;
            self.trace.event(
                self.now,
                what,
                "cloud",
                format_args!("{}/{namespace}/{own} {uid}", resource.plural),
            );
            self.promises.acked.insert(name.clone(), (uid, promise));
        }
        let next = self
            .users
            .iter()
            .position(|user| user.name == name && !user.done);
        if let Some(user) = next {
            self.queue.push(self.now, Event::Ask { user });
        }
    }

    pub(super) fn kind_of(&self, manifest: &Value) -> Option<Arc<ServedKind>> {
        let version = manifest["apiVersion"].as_str()?;
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let catalog = self.served();
        let kind = catalog.find_kind(group, version, manifest["kind"].as_str()?)?;
        Some(Arc::clone(kind))
    }

    /// Whether the cloud serves the kind of an object: a built-in one, or one that is defined there.
    #[must_use]
    pub fn serves(&self, object: &Value) -> bool {
        self.kind_of(object).is_some()
    }

    /// The kinds that the cloud serves.
    pub(super) fn served(&self) -> Catalog {
        let cloud = self.cloud.as_ref();
        cloud.map_or_else(
            || self.catalog.clone(),
            |cloud| cloud.view.read(Catalog::of),
        )
    }
}

fn create(kind: &ServedKind, name: &Name, manifest: &Value, context: &Context) -> Try {
    let context = Context {
        name: String::new(),
        ..context.clone()
    };
    let prepared = match prepare_create(kind, manifest.clone(), &context) {
        Ok(prepared) => prepared,
        Err(status) => return Try::Refused(Box::new(status)),
    };
    let (resource, namespace, name) = name.clone();
    match Key::new(resource, &namespace, &name, Uid::Uuid(context.uid)) {
        Ok(key) => Try::Write(Write {
            key,
            expected: Expected::Absent,
            change: Change::Put(prepared.object),
        }),
        Err(_) => Try::Done(None),
    }
}

fn update(kind: &ServedKind, entry: &Entry, manifest: &Value, context: &Context) -> Try {
    let current = entry.object();
    if current["metadata"].get("deletionTimestamp").is_some() {
        // The one before must be gone first.
        return Try::Later;
    }
    let patch = Patch::Strategic(manifest.clone());
    match prepare_patch(kind, &current, &patch, Subresource::Main, context) {
        Err(status) => Try::Refused(Box::new(status)),
        Ok(prepared) if prepared.unchanged => Try::Done(Some(entry.key().uid.to_string())),
        Ok(prepared) => Try::Write(Write {
            key: entry.key().clone(),
            expected: Expected::At(entry.modified()),
            change: Change::Put(prepared.object),
        }),
    }
}

fn delete(kind: &ServedKind, entry: &Entry, grace: Option<i64>, context: &Context) -> Try {
    let options = DeleteOptions {
        grace_period_seconds: grace,
        ..DeleteOptions::default()
    };
    let change = match prepare_delete(kind, &entry.object(), &options, context) {
        Err(status) => return Try::Refused(Box::new(status)),
        Ok(Deletion::Terminating) => return Try::Done(Some(entry.key().uid.to_string())),
        Ok(Deletion::Mark(marked)) => Change::Put(marked.object),
        Ok(Deletion::Remove) => Change::Delete {
            grace_period_seconds: grace,
            confirm: false,
        },
    };
    Try::Write(Write {
        key: entry.key().clone(),
        expected: Expected::At(entry.modified()),
        change,
    })
}
