//! Create, update and patch: decided purely, committed if nothing changed in between, else decided
//! anew.

use axum::body::Body;
use axum::response::Response;
use causeway_log::{Key, Uid};
use causeway_projections::Entry;
use http::StatusCode;
use serde_json::Value;

use super::read::at_version;
use super::{Call, body, output};
use crate::catalog::needs_controller;
use crate::decide::{self, Context, Prepared, Subresource};
use crate::patch::Patch;
use crate::source::{Change, Expected, Source, Write, WriteError, Written};
use crate::status::Status;

/// How often a write is decided anew because the object changed in between, or a generated name
/// was taken.
const ATTEMPTS: usize = 8;

/// A write to be decided again and again until it fits.
enum Wanted<'a> {
    Replace(&'a Value),
    Patch(&'a Patch),
}

impl<S: Source> Call<'_, S> {
    pub(super) fn context(&self) -> Context {
        Context {
            now: self.server.config.clock.now(),
            uid: self.server.config.clock.uid(),
            namespace: self.namespace().to_owned(),
            name: self.name().to_owned(),
            field_validation: self.query.field_validation,
        }
    }

    pub(super) async fn read_object(&self, body: Body) -> Result<Value, Status> {
        let bytes = self.server.bodies.read(self.parts, body).await?;
        body::object(&body::media_type(self.parts), &bytes)
    }

    pub(super) async fn create(&self, body: Body) -> Result<Response, Status> {
        if self.kind.namespaced && self.object.namespace.is_none() {
            return Err(Status::bad_request(
                "an empty namespace may not be set during creation",
            ));
        }
        let object = self.read_object(body).await?;
        self.check_namespace()?;
        let generated = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .is_empty();
        for attempt in 1.. {
            let prepared = decide::prepare_create(&self.kind, object.clone(), &self.context())?;
            let name = name_of(&prepared.object).to_owned();
            match self.insert(prepared).await {
                Err(status)
                    if status.reason == "AlreadyExists" && generated && attempt < ATTEMPTS => {}
                Err(status) if status.reason == "AlreadyExists" && generated => {
                    return Err(Status::generate_name_conflict(&self.kind.resource, &name));
                }
                answer => return answer,
            }
        }
        Err(Status::internal("a create was not decided"))
    }

    async fn insert(&self, prepared: Prepared) -> Result<Response, Status> {
        let Prepared {
            object,
            mut warnings,
            ..
        } = prepared;
        let name = name_of(&object);
        let key = self.key(name, object["metadata"]["uid"].as_str().unwrap_or_default())?;
        let taken = || Status::already_exists(&self.kind.resource, name);
        let view = self.server.source.view();
        if view.read(|objects| objects.get(&key.resource, &key.namespace, name).is_some()) {
            return Err(taken());
        }
        self.warn_uncontrolled(&mut warnings);
        let admitted = self.server.source.admit(&key.resource, None, &object);
        admitted.map_err(|status| *status)?;
        if self.query.dry_run {
            return self.written(StatusCode::CREATED, object, &warnings);
        }
        let change = self.change(Subresource::Main, object.clone());
        let write = Write {
            key,
            expected: Expected::Absent,
            change,
        };
        match self.server.source.commit(write).await {
            Ok(written) => {
                warnings.extend(written.warnings);
                let object = written.object.unwrap_or(object);
                self.written(StatusCode::CREATED, object, &warnings)
            }
            Err(WriteError::Conflict { .. }) => Err(taken()),
            Err(error) => Err(self.refused(error)),
        }
    }

    pub(super) async fn update(&self, body: Body) -> Result<Response, Status> {
        let object = self.read_object(body).await?;
        self.replace(Wanted::Replace(&object), self.subresource())
            .await
    }

    pub(super) async fn patch(&self, body: Body) -> Result<Response, Status> {
        let bytes = self.server.bodies.read(self.parts, body).await?;
        let patch = Patch::parse(&body::media_type(self.parts), &bytes, &self.kind)?;
        self.replace(Wanted::Patch(&patch), self.subresource())
            .await
    }

    fn subresource(&self) -> Subresource {
        match self.object.subresource.as_deref() {
            Some("status") => Subresource::Status,
            _ => Subresource::Main,
        }
    }

    /// Decides and commits until it fits. A writer that named a `resourceVersion` is told of the
    /// conflict when the write is decided anew; others never notice.
    async fn replace(
        &self,
        wanted: Wanted<'_>,
        subresource: Subresource,
    ) -> Result<Response, Status> {
        for _ in 0..ATTEMPTS {
            let entry = self.current()?;
            let current = at_version(&self.kind, entry.object());
            let context = self.context();
            let prepared = match &wanted {
                Wanted::Replace(object) => decide::prepare_update(
                    &self.kind,
                    &current,
                    (*object).clone(),
                    subresource,
                    &context,
                )?,
                Wanted::Patch(patch) => {
                    decide::prepare_patch(&self.kind, &current, patch, subresource, &context)?
                }
            };
            if let Some(answer) = self.put(entry, current, prepared, subresource).await? {
                return Ok(answer);
            }
        }
        Err(Status::stale(&self.kind.resource, self.name()))
    }

    /// Commits a decided update. `None`: the object changed in between.
    async fn put(
        &self,
        entry: Entry,
        current: Value,
        prepared: Prepared,
        subresource: Subresource,
    ) -> Result<Option<Response>, Status> {
        let Prepared {
            object,
            unchanged,
            remove,
            mut warnings,
        } = prepared;
        if subresource == Subresource::Main && !unchanged {
            self.warn_uncontrolled(&mut warnings);
        }
        if unchanged && !remove {
            return self.written(StatusCode::OK, current, &warnings).map(Some);
        }
        if subresource == Subresource::Main {
            let resource = &self.kind.resource;
            let admitted = (self.server.source).admit(resource, Some(&current), &object);
            admitted.map_err(|status| *status)?;
        }
        if self.query.dry_run {
            let object = with_revision(object, &current);
            return self.written(StatusCode::OK, object, &warnings).map(Some);
        }
        let change = if remove {
            Change::Delete {
                grace_period_seconds: Some(0),
                confirm: false,
            }
        } else {
            self.change(subresource, object.clone())
        };
        let expected = Expected::At(entry.modified());
        let write = Write {
            key: entry.key().clone(),
            expected,
            change,
        };
        match self.server.source.commit(write).await {
            Ok(Written {
                object: shown,
                warnings: more,
                ..
            }) => {
                warnings.extend(more);
                let shown = shown.unwrap_or_else(|| with_revision(object, &current));
                self.written(StatusCode::OK, shown, &warnings).map(Some)
            }
            Err(WriteError::Conflict { .. }) => Ok(None),
            Err(error) => Err(self.refused(error)),
        }
    }

    /// What a decided object becomes: at the edge, Events are facts of the edge's own.
    fn change(&self, subresource: Subresource, object: Value) -> Change {
        let object = self.kind.store(object);
        let edge = !self.server.source.authority().is_cloud();
        match subresource {
            Subresource::Status => Change::Status(object),
            Subresource::Main if edge && self.kind.stored().is("", "events") => {
                Change::Fact(object)
            }
            Subresource::Main => Change::Put(object),
        }
    }

    pub(super) fn key(&self, name: &str, uid: &str) -> Result<Key, Status> {
        let key = Key::new(
            self.kind.stored().clone(),
            self.namespace(),
            name,
            Uid::parse(uid),
        );
        key.map_err(|error| Status::bad_request(error.to_string()))
    }

    pub(super) fn written(
        &self,
        code: StatusCode,
        object: Value,
        warnings: &[String],
    ) -> Result<Response, Status> {
        let object = at_version(&self.kind, object);
        let shown = self.form()?.object(&self.kind, object);
        Ok(output::warn(output::json(code, &shown), warnings))
    }

    /// Says so when a kind is stored but nothing acts on it.
    fn warn_uncontrolled(&self, warnings: &mut Vec<String>) {
        let resource = &self.kind.resource;
        if self.server.config.warn_uncontrolled && needs_controller(resource) {
            warnings.push(format!(
                "{resource}: no controller for this kind runs here; the object is stored, but \
                 nothing acts on it"
            ));
        }
    }

    /// A source's refusal in the words of the API.
    pub(super) fn refused(&self, error: WriteError) -> Status {
        let resource = &self.kind.resource;
        match error {
            WriteError::Conflict { .. } => Status::stale(resource, self.name()),
            WriteError::Forbidden { reason } => Status::forbidden(resource, self.name(), &reason),
            WriteError::Rejected(status) => *status,
            WriteError::ReadOnly { reason } => Status::service_unavailable(format!(
                "nothing can be written, the store is read-only: {reason}"
            )),
            WriteError::TooLarge { limit, .. } => Status::too_large(limit),
            WriteError::Unavailable { reason } => Status::service_unavailable(reason),
        }
    }
}

pub(super) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// A decided object with the revision that the current one shows.
fn with_revision(mut object: Value, current: &Value) -> Value {
    object["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
    object
}
