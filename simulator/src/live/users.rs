//! Users of the cloud's API: they try until they are answered. Wishes about one name come one after
//! the other, as in the simulated world.

use std::collections::BTreeSet;
use std::time::Duration;

use causeway_kube_api::Catalog;
use causeway_kube_api::client::{ApiError, Client, DeleteOptions, Gvr, PatchFormat};
use causeway_log::Resource;
use causeway_projections::twin;
use serde_json::Value;
use tokio::time::timeout;

use crate::scenario::Target;

/// An API that does not answer by then is asked again later.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// An object whose namespace is not there may come before it; it is tried so often.
const TRIES_WITHOUT_NAMESPACE: u32 = 25;

/// Names an object.
type Name = (Resource, String, String);

/// Somebody who wants one thing.
#[derive(Debug)]
struct Wish {
    name: Name,
    gvr: Gvr,
    what: What,
    tries: u32,
}

#[derive(Debug)]
enum What {
    Apply {
        object: Value,
        format: PatchFormat,
    },
    /// Which life, once it was seen.
    Delete {
        grace: Option<i64>,
        uid: Option<String>,
    },
}

/// What a try came to.
enum Try {
    Done,
    Later,
    Refused(String),
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Users {
    wishes: Vec<Wish>,
}

impl Users {
    /// Whether somebody waits for an answer.
    pub(super) const fn wait(&self) -> bool {
        !self.wishes.is_empty()
    }

    /// Somebody applies an object. `resource` names its kind when it is a custom one.
    ///
    /// # Errors
    /// When its kind is not known.
    pub(super) fn apply(&mut self, object: Value, resource: Option<&str>) -> Result<(), String> {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let api_version = text("/apiVersion").unwrap_or_default();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = text("/kind").unwrap_or_default();
        let namespace = text("/metadata/namespace");
        let name = text("/metadata/name").unwrap_or_default().to_owned();
        let catalog = Catalog::builtin();
        let (resource, namespace, format) =
            match (catalog.find_kind(group, version, kind), resource) {
                (Some(known), _) => {
                    let namespace = if known.namespaced {
                        namespace.unwrap_or("default")
                    } else {
                        ""
                    };
                    (known.resource.clone(), namespace, PatchFormat::Strategic)
                }
                (None, Some(custom)) => {
                    let plural = custom.split_once('.').map_or(custom, |(plural, _)| plural);
                    let resource = Resource::new(group, plural);
                    let usual = if group == twin::GROUP { "default" } else { "" };
                    (resource, namespace.unwrap_or(usual), PatchFormat::Merge)
                }
                (None, None) => return Err(format!("{api_version} {kind} is no built-in kind")),
            };
        let gvr = gvr(&resource, version);
        let namespace = namespace.to_owned();
        self.wishes.push(Wish {
            name: (resource, namespace, name),
            gvr,
            what: What::Apply { object, format },
            tries: 0,
        });
        Ok(())
    }

    /// Somebody deletes an object.
    ///
    /// # Errors
    /// When its kind is not known.
    pub(super) async fn delete(&mut self, cloud: &Client, target: &Target) -> Result<(), String> {
        let Target {
            resource,
            namespace,
            name,
            grace,
        } = target;
        let (resource, gvr) = find_kind(cloud, resource).await?;
        let grace = grace.map(|grace| i64::try_from(grace.as_secs()).unwrap_or(i64::MAX));
        self.wishes.push(Wish {
            name: (resource, namespace.clone(), name.clone()),
            gvr,
            what: What::Delete { grace, uid: None },
            tries: 0,
        });
        Ok(())
    }

    /// Everybody whose turn it is tries; gives what was refused.
    pub(super) async fn pass(&mut self, cloud: &Client) -> Vec<String> {
        let mut refusals = Vec::new();
        let mut waiting: BTreeSet<Name> = BTreeSet::new();
        let mut left = Vec::new();
        for mut wish in std::mem::take(&mut self.wishes) {
            if waiting.contains(&wish.name) {
                left.push(wish);
                continue;
            }
            match wish.attempt(cloud).await {
                Try::Done => {}
                Try::Refused(why) => refusals.push(why),
                Try::Later => {
                    waiting.insert(wish.name.clone());
                    left.push(wish);
                }
            }
        }
        self.wishes = left;
        refusals
    }
}

impl Wish {
    async fn attempt(&mut self, cloud: &Client) -> Try {
        self.tries = self.tries.saturating_add(1);
        let Self {
            name: (_, namespace, name),
            gvr,
            what,
            tries,
        } = self;
        let answered = timeout(ANSWER_WITHIN, async {
            match what {
                What::Apply { object, format } => {
                    apply(cloud, gvr, (namespace, name), object, *format).await
                }
                What::Delete { grace, uid } => {
                    delete(cloud, gvr, (namespace, name), *grace, uid).await
                }
            }
        });
        match answered.await {
            Ok(Ok(true)) => Try::Done,
            Ok(Ok(false)) | Err(_) => Try::Later,
            Ok(Err(error)) if error.retry() || error.is_conflict() => Try::Later,
            Ok(Err(error)) if error.is_not_found() && *tries < TRIES_WITHOUT_NAMESPACE => {
                Try::Later
            }
            Ok(Err(error)) => Try::Refused(
                error
                    .status()
                    .map_or_else(|| error.to_string(), |status| status.message.clone()),
            ),
        }
    }
}

/// Creates an object or changes it; `false` while the one before is not gone.
async fn apply(
    cloud: &Client,
    gvr: &Gvr,
    (namespace, name): (&str, &str),
    object: &Value,
    format: PatchFormat,
) -> Result<bool, ApiError> {
    match cloud.find(gvr, namespace, name).await? {
        None => {
            cloud.create(gvr, namespace, object).await?;
        }
        Some(held) if held["metadata"].get("deletionTimestamp").is_some() => return Ok(false),
        Some(_) => {
            cloud.patch(gvr, namespace, name, format, object).await?;
        }
    }
    Ok(true)
}

/// Deletes the life of an object that is there at the first try.
async fn delete(
    cloud: &Client,
    gvr: &Gvr,
    (namespace, name): (&str, &str),
    grace: Option<i64>,
    uid: &mut Option<String>,
) -> Result<bool, ApiError> {
    let Some(held) = cloud.find(gvr, namespace, name).await? else {
        return Ok(true);
    };
    let found = held["metadata"]["uid"].as_str().unwrap_or_default();
    match uid {
        Some(uid) if uid != found => return Ok(true),
        Some(_) => {}
        None => *uid = Some(found.to_owned()),
    }
    let options = DeleteOptions {
        grace_period_seconds: grace,
        uid: uid.clone(),
        resource_version: None,
    };
    match cloud.delete(gvr, namespace, name, &options).await {
        Err(error) if error.is_not_found() => Ok(true),
        answer => answer.map(|_| true),
    }
}

/// A resource as a scenario names it: `pods`, `deployments.apps`, or of a custom kind.
///
/// # Errors
/// When the server does not know it.
pub(super) async fn find_kind(server: &Client, named: &str) -> Result<(Resource, Gvr), String> {
    let resource = match named.split_once('.') {
        None | Some((_, "")) => Resource::core(named.trim_end_matches('.')),
        Some((plural, group)) => Resource::new(group, plural),
    };
    if let Some(kind) = Catalog::builtin().find_resource(&resource) {
        let gvr = gvr(&resource, &kind.version);
        return Ok((resource, gvr));
    }
    let path = format!("/apis/{}", resource.group);
    let group = timeout(ANSWER_WITHIN, server.get_path(&path)).await;
    let version = group.ok().and_then(Result::ok).and_then(|group| {
        let version = group.pointer("/preferredVersion/version")?;
        version.as_str().map(ToOwned::to_owned)
    });
    let version = version.ok_or_else(|| format!("the API has no {named}"))?;
    let gvr = gvr(&resource, &version);
    Ok((resource, gvr))
}

fn gvr(resource: &Resource, version: &str) -> Gvr {
    Gvr::new(
        resource.group.to_string(),
        version.to_owned(),
        resource.plural.to_string(),
    )
}
