//! Asks for single objects and for small lists, beside what is watched.

use std::sync::Arc;

use causeway_log::Resource;

use super::health::Health;
use super::kinds::{Kind, built_in};
use super::lines::ListPage;
use crate::cluster::Seen;
use crate::interest::Name;
use crate::kube::client::{ApiError, ApiServer, Call, Class, segment};

/// Objects on a page.
const PAGE_MAX: u32 = 200;
/// Largest page that is read.
const PAGE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What was seen on a page, how many bytes it had, and where the next one begins.
pub(super) type Page = (Vec<Seen>, usize, String);

/// See the module documentation. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    api: ApiServer,
    health: Arc<Health>,
    kinds: Arc<[Kind]>,
}

impl Asker {
    pub(super) fn new(api: ApiServer, health: Arc<Health>) -> Self {
        Self {
            api,
            health,
            kinds: built_in().into(),
        }
    }

    /// Whether an object of this kind can be asked for.
    pub(super) fn can_ask(&self, resource: &Resource) -> bool {
        self.kind(resource).is_some()
    }

    /// Whether this kind, built in or not, was ever asked for.
    pub(super) fn was_asked(&self, resource: &Resource) -> bool {
        self.health.is_asked(resource)
    }

    /// The kind, if it can be asked for. What was never asked for is listed later, with what is
    /// needed now in mind.
    fn kind(&self, resource: &Resource) -> Option<&Kind> {
        let kind = self.kinds.iter().find(|kind| kind.resource == *resource);
        kind.filter(|kind| self.health.is_asked(&kind.resource))
    }

    /// An object, or that it is not there, and how many bytes it had; `None` when the kind cannot
    /// be read: it is listed when it can be.
    pub(super) async fn object(&self, name: &Name) -> Result<Option<(Seen, usize)>, ApiError> {
        let Some(kind) = self.kind(&name.resource) else {
            return Ok(None);
        };
        let call = Call::get(kind.object(name)).at_most(PAGE_BYTES_MAX);
        match self.api.call_sized(call).await {
            Ok((object, bytes)) => Ok(kind.present(object).map(|seen| (seen, bytes))),
            Err(error) if error.class() == Class::NotFound => {
                Ok(Some((Seen::Absent { name: name.clone() }, 0)))
            }
            Err(error) if cannot_be_read(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A page of a list that `query` narrows; `None` when the kind cannot be read.
    pub(super) async fn page(
        &self,
        resource: &Resource,
        namespace: &str,
        query: &str,
        after: &str,
    ) -> Result<Option<Page>, ApiError> {
        let Some(kind) = self.kind(resource) else {
            return Ok(None);
        };
        let mut path = format!("{}?limit={PAGE_MAX}{query}", kind.collection(namespace));
        if !after.is_empty() {
            path.push_str("&continue=");
            path.push_str(&segment(after));
        }
        let call = Call::get(path).at_most(PAGE_BYTES_MAX);
        let (page, bytes) = match self.api.call_sized::<ListPage>(call).await {
            Ok((page, bytes)) => (page.into_page()?, bytes),
            Err(error) if cannot_be_read(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let items = page.items.into_iter();
        let seen = items.filter_map(|item| kind.present(item)).collect();
        Ok(Some((seen, bytes, page.next)))
    }
}

/// Whether no repetition helps before someone changes something.
fn cannot_be_read(error: &ApiError) -> bool {
    matches!(
        error.class(),
        Class::Forbidden | Class::NotFound | Class::Invalid
    )
}
