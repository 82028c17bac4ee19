//! Get and list.

use std::time::Duration;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use causeway_log::Revision;
use causeway_projections::{Entry, Objects};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::output::{Form, ListMetadata, ListWriter};
use super::query::RevisionMatch;
use super::{Call, accept, output};
use crate::catalog::ServedKind;
use crate::source::Source;
use crate::status::{Cause, Details, Status};
use crate::watch::WatchRequest;

/// Objects looked at under one hold of the lock.
const PAGE: usize = 512;
/// How long a list waits for a revision that is not there yet.
const FRESH_WAIT: Duration = Duration::from_secs(3);

/// Where a list goes on, and the revision at which it began.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    rv: u64,
    ns: String,
    name: String,
}

impl Continue {
    fn encode(&self) -> String {
        let text = serde_json::to_vec(self).expect("a token has only string keys");
        URL_SAFE_NO_PAD.encode(text)
    }

    fn decode(text: &str) -> Result<Self, Status> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        let token = bytes
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        token.ok_or_else(|| Status::bad_request("continue key is not valid: it was not made here"))
    }
}

/// An object as it is served at a version of its kind: custom kinds are stored in whatever version
/// they were written in, Events in one of their two dialects.
pub(crate) fn at_version(kind: &ServedKind, object: Value) -> Value {
    let mut object = kind.show(object);
    if let Value::Object(fields) = &mut object {
        if kind.custom.is_some() || !fields.contains_key("apiVersion") {
            fields.insert("apiVersion".to_owned(), Value::String(kind.api_version()));
        }
        if !fields.contains_key("kind") {
            fields.insert("kind".to_owned(), Value::String(kind.kind.to_string()));
        }
    }
    object
}

impl<S: Source> Call<'_, S> {
    pub(super) fn form(&self) -> Result<Form, Status> {
        Ok(Form {
            output: accept::output(&self.parts.headers)?,
            include: self.query.include_object,
            now: self.server.config.clock.now(),
        })
    }

    /// The object of the path as it is now.
    pub(super) fn current(&self) -> Result<Entry, Status> {
        let entry = self.server.source.view().read(|objects| {
            objects
                .get(self.kind.stored(), self.namespace(), self.name())
                .cloned()
        });
        match entry {
            Some(entry) => Ok(entry),
            None => {
                self.check_complete()?;
                Err(Status::not_found(&self.kind.resource, self.name()))
            }
        }
    }

    pub(super) fn get(&self) -> Result<Response, Status> {
        let form = self.form()?;
        let object = at_version(&self.kind, self.current()?.object());
        Ok(output::json(
            StatusCode::OK,
            &form.object(&self.kind, object),
        ))
    }

    pub(super) async fn list(&self) -> Result<Response, Status> {
        let form = self.form()?;
        self.query.check_fields(&self.kind)?;
        let token = match self.query.continue_token.as_str() {
            "" => None,
            text => Some(Continue::decode(text)?),
        };
        if token.is_none()
            && let Some(asked) = self.query.resource_version
        {
            self.fresh(asked).await?;
        }
        let mut list = form.begin_list(&self.kind);
        let metadata = self.collect(token, &mut list)?;
        Ok(list.end(&metadata))
    }

    /// Waits, within bounds, until the view is as new as a client has seen it elsewhere.
    async fn fresh(&self, asked: Revision) -> Result<(), Status> {
        let view = self.server.source.view();
        let mut revision = view.subscribe();
        let wait = tokio::time::timeout(FRESH_WAIT, revision.wait_for(|it| *it >= asked));
        let reached = matches!(wait.await, Ok(Ok(_)));
        if !reached {
            let current = *revision.borrow();
            return Err(too_new(asked, current));
        }
        let exact = self.query.resource_version_match == Some(RevisionMatch::Exact);
        let latest = view.read(|objects| objects.latest_change(self.kind.stored()));
        if exact && latest > asked {
            let told = format!("The resourceVersion for the provided list is too old: {asked}");
            return Err(Status::expired(told));
        }
        Ok(())
    }

    /// One page of a list. Later pages tell the revision of the first one, so that a watch from
    /// there brings whatever changed while the list went on.
    fn collect(
        &self,
        token: Option<Continue>,
        list: &mut ListWriter<'_>,
    ) -> Result<ListMetadata, Status> {
        let limit = if self.query.limit == 0 {
            usize::MAX
        } else {
            self.query.limit
        };
        let began = token.as_ref().map(|token| Revision::new(token.rv));
        let mut after = token.map(|token| (token.ns, token.name));
        let mut metadata = ListMetadata::default();
        loop {
            let (page, revision, floor) = self.server.source.view().read(|objects| {
                let page: Vec<Entry> = self.entries(objects, &after).take(PAGE).cloned().collect();
                (page, objects.revision(), objects.floor())
            });
            if metadata.revision == Revision::ZERO {
                metadata.revision = began.unwrap_or(revision);
            }
            if metadata.revision < floor || metadata.revision > revision {
                return Err(expired_list());
            }
            let last = page.len() < PAGE;
            for entry in page {
                let object = entry.object();
                if !self.selects(&object) {
                    continue;
                }
                if list.len() == limit {
                    self.mark_page_end(&mut metadata, after);
                    return Ok(metadata);
                }
                let key = entry.key();
                after = Some((key.namespace.to_string(), key.name.to_string()));
                list.push(at_version(&self.kind, object));
            }
            if last {
                return Ok(metadata);
            }
        }
    }

    fn entries<'a>(
        &self,
        objects: &'a Objects,
        after: &Option<(String, String)>,
    ) -> impl Iterator<Item = &'a Entry> + use<'a, S> {
        let after = after
            .as_ref()
            .map(|(namespace, name)| (namespace.as_str(), name.as_str()));
        objects.list(self.kind.stored(), self.object.namespace.as_deref(), after)
    }

    fn mark_page_end(&self, metadata: &mut ListMetadata, after: Option<(String, String)>) {
        let Some((ns, name)) = after.clone() else {
            return;
        };
        let token = Continue {
            rv: metadata.revision.get(),
            ns,
            name,
        };
        metadata.continue_token = Some(token.encode());
        if self.query.label_selector.is_empty() && self.query.field_selector.is_empty() {
            let view = self.server.source.view();
            let remaining = view.read(|objects| self.entries(objects, &after).count());
            metadata.remaining = Some(remaining);
        }
    }

    /// Whether an object is asked for, as it is stored.
    pub(super) fn selects(&self, object: &Value) -> bool {
        self.query.label_selector.matches(object) && self.fields.matches(object)
    }

    /// The watch that this request asks for.
    pub(super) fn watch_request(&self) -> Result<WatchRequest, Status> {
        self.query.check_fields(&self.kind)?;
        let permit = std::sync::Arc::clone(&self.server.watchers).try_acquire_owned();
        let permit = permit.map_err(|_| {
            Status::too_many_requests("too many watches, please try again later", 1)
        })?;
        Ok(WatchRequest {
            view: self.server.source.view().clone(),
            kind: std::sync::Arc::clone(&self.kind),
            form: self.form()?,
            clock: std::sync::Arc::clone(&self.server.config.clock),
            namespace: self.object.namespace.clone(),
            name: self.object.name.clone(),
            label_selector: self.query.label_selector.clone(),
            field_selector: self.fields.clone(),
            from: self.query.resource_version,
            bookmarks: self.query.allow_watch_bookmarks,
            initial_events: self.query.send_initial_events,
            timeout: self.query.timeout_seconds.map(Duration::from_secs),
            lines: self.server.lines.clone(),
            _permit: permit,
        })
    }
}

fn expired_list() -> Status {
    Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You must \
         start a new list without the continue parameter.",
    )
}

fn too_new(asked: Revision, current: Revision) -> Status {
    let message = format!("Too large resource version: {asked}, current: {current}");
    let cause = Cause {
        reason: "ResourceVersionTooLarge".to_owned(),
        message: "Too large resource version".to_owned(),
        field: String::new(),
    };
    Status::timeout(message).about(Details {
        causes: vec![cause],
        retry_after_seconds: 1,
        ..Details::default()
    })
}
