//! Objects are only created in namespaces that exist.

use causeway_log::Resource;

use super::Call;
use crate::source::Source;
use crate::status::{Cause, Details, Status};

impl<S: Source> Call<'_, S> {
    /// Checks that the namespace of the path takes new objects. At the edge, whether it exists is
    /// the cloud's to say.
    pub(super) fn check_namespace(&self) -> Result<(), Status> {
        if !self.kind.namespaced || !self.server.source.authority().is_cloud() {
            return Ok(());
        }
        let resource = Resource::core("namespaces");
        let name = self.namespace();
        let namespace = self.server.source.view().read(|objects| {
            objects
                .get(&resource, "", name)
                .map(causeway_projections::Entry::object)
        });
        let Some(namespace) = namespace else {
            return Err(Status::not_found(&resource, name));
        };
        if namespace["metadata"]["deletionTimestamp"].is_null() {
            return Ok(());
        }
        let why = format!(
            "unable to create new content in namespace {name} because it is being terminated"
        );
        let status = Status::forbidden(&self.kind.resource, self.name(), &why);
        let details = status.details.as_deref().cloned().unwrap_or_default();
        let cause = Cause {
            reason: "NamespaceTerminating".to_owned(),
            message: format!("namespace {name} is being terminated"),
            field: "metadata.namespace".to_owned(),
        };
        Err(status.about(Details {
            causes: vec![cause],
            ..details
        }))
    }
}
