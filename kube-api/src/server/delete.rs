//! Delete and delete of a collection.

use axum::body::Body;
use axum::response::Response;
use causeway_projections::Entry;
use http::StatusCode;
use serde_json::Value;

use super::output::ListMetadata;
use super::read::at_version;
use super::{Call, body, output};
use crate::decide::{self, DeleteOptions, Deletion};
use crate::source::{Change, Expected, Source, Write, WriteError};
use crate::status::{Details, Status};

/// How often a delete is decided anew because the object changed in between.
const ATTEMPTS: usize = 8;

/// What a delete did.
enum Deleted {
    /// The object is gone.
    Gone,
    /// The object is still there, and ends.
    Ending(Value),
    /// The owner has yet to answer.
    Asked(Value),
}

impl<S: Source> Call<'_, S> {
    pub(super) async fn delete(&self, body: Body) -> Result<Response, Status> {
        let options = self.delete_options(body).await?;
        self.delete_named(self.name(), &options).await
    }

    /// Deletes the object of the path's namespace with this name, and answers.
    pub(super) async fn delete_named(
        &self,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Response, Status> {
        let mut warnings = Vec::new();
        for _ in 0..ATTEMPTS {
            let entry = self.server.source.view().read(|objects| {
                objects
                    .get(self.kind.stored(), self.namespace(), name)
                    .cloned()
            });
            let entry = entry.ok_or_else(|| Status::not_found(&self.kind.resource, name))?;
            let details = Details {
                name: name.to_owned(),
                group: self.kind.resource.group.to_string(),
                kind: self.kind.resource.plural.to_string(),
                uid: entry.key().uid.to_string(),
                ..Details::default()
            };
            let Some(deleted) = self.delete_entry(&entry, options, &mut warnings).await? else {
                continue;
            };
            return match deleted {
                Deleted::Gone => {
                    let answer = output::status(&Status::success(Some(details)));
                    Ok(output::warn(answer, &warnings))
                }
                Deleted::Ending(object) => {
                    let code = if options.propagation_policy.as_deref() == Some("Foreground") {
                        StatusCode::ACCEPTED
                    } else {
                        StatusCode::OK
                    };
                    self.written(code, object, &warnings)
                }
                Deleted::Asked(object) => self.written(StatusCode::OK, object, &warnings),
            };
        }
        Err(Status::stale(&self.kind.resource, name))
    }

    /// Decides and commits a delete once. `None`: the object changed in between.
    async fn delete_entry(
        &self,
        entry: &Entry,
        options: &DeleteOptions,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Deleted>, Status> {
        let current = at_version(&self.kind, entry.object());
        let decision = decide::prepare_delete(&self.kind, &current, options, &self.context())?;
        let edge = !self.server.source.authority().is_cloud();
        let delete = Change::Delete {
            grace_period_seconds: options.grace_period_seconds,
            confirm: edge && self.confirms(options),
        };
        let (change, left) = match decision {
            Deletion::Terminating => return Ok(Some(Deleted::Ending(current))),
            Deletion::Remove => (delete, None),
            // Marks are the owner's to make; at the edge the wish alone goes up.
            Deletion::Mark(marked) if edge => (delete, Some(marked.object)),
            Deletion::Mark(marked) => {
                warnings.extend(marked.warnings);
                (Change::Put(marked.object.clone()), Some(marked.object))
            }
        };
        if options.dry_run {
            return Ok(Some(left.map_or(Deleted::Gone, Deleted::Ending)));
        }
        let expected = Expected::At(entry.modified());
        let write = Write {
            key: entry.key().clone(),
            expected,
            change,
        };
        match self.server.source.commit(write).await {
            Ok(written) => {
                warnings.extend(written.warnings);
                Ok(Some(match (written.pending, written.object) {
                    (true, object) => Deleted::Asked(object.unwrap_or(current)),
                    (false, Some(object)) => Deleted::Ending(object),
                    (false, None) => left.map_or(Deleted::Gone, Deleted::Ending),
                }))
            }
            Err(WriteError::Conflict { .. }) => Ok(None),
            Err(error) => Err(self.refused(error)),
        }
    }

    /// Whether a delete at the edge is the node's word that it has finished with a pod: at once,
    /// and of one life. Anybody else asks the cloud.
    fn confirms(&self, options: &DeleteOptions) -> bool {
        self.kind.is("", "pods") && options.grace_period_seconds == Some(0) && options.uid.is_some()
    }

    pub(super) async fn delete_options(&self, body: Body) -> Result<DeleteOptions, Status> {
        let bytes = self.server.bodies.read(self.parts, body).await?;
        let media = body::media_type(self.parts);
        let mut options = if bytes.is_empty() {
            DeleteOptions::default()
        } else {
            let object = body::object(&media, &bytes)?;
            DeleteOptions::parse(object.to_string().as_bytes())?
        };
        let query = &self.query;
        options.grace_period_seconds = options.grace_period_seconds.or(query.grace_period_seconds);
        options.propagation_policy = options
            .propagation_policy
            .or_else(|| query.propagation_policy.clone());
        options.dry_run |= query.dry_run;
        Ok(options)
    }

    pub(super) async fn delete_collection(&self, body: Body) -> Result<Response, Status> {
        if self.kind.namespaced && self.object.namespace.is_none() {
            return Err(Status::method_not_allowed());
        }
        self.query.check_fields(&self.kind)?;
        let form = self.form()?;
        let options = self.delete_options(body).await?;
        let (entries, revision): (Vec<Entry>, _) = self.server.source.view().read(|objects| {
            let namespace = self.object.namespace.as_deref();
            let entries = objects
                .list(self.kind.stored(), namespace, None)
                .cloned()
                .collect();
            (entries, objects.revision())
        });
        let mut deleted = form.begin_list(&self.kind);
        for entry in entries {
            let object = entry.object();
            if !self.selects(&object) {
                continue;
            }
            match self.delete_named(&entry.key().name, &options).await {
                Ok(_) => deleted.push(at_version(&self.kind, object)),
                Err(status) if status.code == 404 => {}
                Err(status) => return Err(status),
            }
        }
        let metadata = ListMetadata {
            revision,
            ..ListMetadata::default()
        };
        Ok(deleted.end(&metadata))
    }
}
