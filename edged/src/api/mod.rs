//! What edged needs of the local API, and nothing more: the seam at which tests put a fake.

use std::io;
use std::path::Path;

use causeway_kube_api::client::{
    ApiError, Client, DeleteOptions, Gvr, ListOptions, PatchFormat, Reflected,
};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::Value;

use crate::config::ApiAddress;

/// What a call resolves to.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, ApiError>>;

/// The API at an address, shown the token of a file if one is named.
///
/// # Errors
/// When there is no token in the file.
pub fn connect(address: &ApiAddress, token_file: Option<&Path>) -> io::Result<Client> {
    let client = match address {
        ApiAddress::Socket(path) => Client::unix(path),
        ApiAddress::Url(url) => Client::tcp(
            url.strip_prefix("http://")
                .unwrap_or(url)
                .trim_end_matches('/'),
        ),
    };
    let Some(file) = token_file else {
        return Ok(client);
    };
    let token = std::fs::read_to_string(file)?;
    client
        .with_token(token.trim())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The local API.
pub trait Api: Send + Sync + 'static {
    /// All objects of a kind that a field selector admits (empty: all), then every change, for
    /// ever, through every restart of the API.
    fn follow(&self, kind: Gvr, fields: &str) -> BoxStream<'static, Reflected>;

    /// Reads an object; `None` when it does not exist.
    fn find<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        name: &'a str,
    ) -> Answer<'a, Option<Value>>;

    /// Creates an object.
    fn create<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        object: &'a Value,
    ) -> Answer<'a, Value>;

    /// Merges a patch into an object.
    fn patch<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        name: &'a str,
        patch: &'a Value,
    ) -> Answer<'a, Value>;

    /// Merges a patch into the status of an object.
    fn patch_status<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        name: &'a str,
        patch: &'a Value,
    ) -> Answer<'a, Value>;

    /// Removes this life of an object at once.
    fn remove<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        name: &'a str,
        uid: &'a str,
    ) -> Answer<'a, ()>;
}

impl Api for Client {
    fn follow(&self, kind: Gvr, fields: &str) -> BoxStream<'static, Reflected> {
        let reflector = self.reflect(kind, "", ListOptions::default().fields(fields));
        futures_util::stream::unfold(reflector, async |mut reflector| {
            Some((reflector.next().await, reflector))
        })
        .boxed()
    }

    fn find<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        name: &'a str,
    ) -> Answer<'a, Option<Value>> {
        Self::find(self, kind, namespace, name).boxed()
    }

    fn create<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        object: &'a Value,
    ) -> Answer<'a, Value> {
        Self::create(self, kind, namespace, object).boxed()
    }

    fn patch<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        name: &'a str,
        patch: &'a Value,
    ) -> Answer<'a, Value> {
        Self::patch(self, kind, namespace, name, PatchFormat::Merge, patch).boxed()
    }

    fn patch_status<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        name: &'a str,
        patch: &'a Value,
    ) -> Answer<'a, Value> {
        Self::patch_status(self, kind, namespace, name, PatchFormat::Merge, patch).boxed()
    }

    fn remove<'a>(
        &'a self,
        kind: &'a Gvr,
        namespace: &'a str,
        name: &'a str,
        uid: &'a str,
    ) -> Answer<'a, ()> {
        async move {
            let options = DeleteOptions {
                grace_period_seconds: Some(0),
                uid: Some(uid.to_owned()),
                resource_version: None,
            };
            self.delete(kind, namespace, name, &options).await.map(drop)
        }
        .boxed()
    }
}
