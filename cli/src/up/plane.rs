//! What `up` asks the cluster: the cloud's own control plane, or the Kubernetes cluster it follows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use causeway_cloud_sync::kube::{Access, ApiError, ApiServer, Call, Class, PatchFormat};
use causeway_daemon::telemetry::error_chain;
use causeway_simulator::http::{Http, HttpError};
use causeway_simulator::wait::eventually;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::exit::Coded;

/// What controllers of a busy cluster may take for a small thing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where what is wanted is written, and what is so is read.
#[derive(Clone, Debug)]
pub(crate) enum Plane {
    /// The control plane in the cloud's process.
    Own(Http),
    /// A Kubernetes cluster.
    Cluster(ApiServer),
}

/// The cluster did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaneError {
    /// The cloud's own did not.
    #[error(transparent)]
    Own(#[from] HttpError),
    /// Kubernetes did not.
    #[error(transparent)]
    Cluster(#[from] ApiError),
}

/// A Kubernetes cluster, as it was asked for.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    /// Serve a Kubernetes cluster instead of a control plane of our own
    /// [without a path: $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "KUBECONFIG", num_args = 0..=1)]
    kubernetes: Option<Option<PathBuf>>,
    /// Context in that kubeconfig
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    context: Option<String>,
}

/// The way into a Kubernetes cluster.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    /// A file that can be read.
    pub(super) kubeconfig: PathBuf,
    /// `None`: its current one.
    pub(super) context: Option<String>,
}

impl ClusterArgs {
    /// Whether a cluster was asked for.
    pub(super) const fn is_given(&self) -> bool {
        self.kubernetes.is_some()
    }

    /// Finds the kubeconfig; `None` when no cluster was asked for.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn find(&self) -> Result<Option<Cluster>> {
        let path = match &self.kubernetes {
            None => return Ok(None),
            Some(Some(path)) => path.clone(),
            Some(None) => default_kubeconfig()?,
        };
        let kubeconfig = path.canonicalize().map_err(|error| {
            Coded::config(format!(
                "cannot read the kubeconfig {}: {error}",
                path.display()
            ))
        })?;
        let cluster = Cluster {
            kubeconfig,
            context: self.context.clone(),
        };
        let checked = cluster.access().check();
        checked.map_err(|error| Coded::config(error_chain(&error).to_string()))?;
        Ok(Some(cluster))
    }
}

impl Cluster {
    /// What `causeway cloud` is told of it.
    pub(super) fn arguments(&self) -> Vec<String> {
        let kubeconfig = self.kubeconfig.display().to_string();
        let mut arguments = ["--kubernetes", "--kubeconfig", &kubeconfig]
            .map(str::to_owned)
            .to_vec();
        if let Some(context) = &self.context {
            arguments.extend(["--context".to_owned(), context.clone()]);
        }
        arguments
    }

    fn access(&self) -> Access {
        let Self {
            kubeconfig,
            context,
        } = self.clone();
        Access {
            kubeconfig: Some(kubeconfig),
            context,
        }
    }

    pub(super) fn plane(&self) -> Plane {
        Plane::Cluster(ApiServer::new(self.access()))
    }
}

fn default_kubeconfig() -> Result<PathBuf> {
    // Of several files in KUBECONFIG, the first that is there.
    let named = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".kube").join("config"));
    let mut candidates = std::env::split_paths(&named).chain(home);
    candidates.find(|path| path.is_file()).ok_or_else(|| {
        Coded::config("found no kubeconfig in $KUBECONFIG or ~/.kube/config")
            .hint("give its path: causeway up --kubernetes PATH")
            .into()
    })
}

impl PlaneError {
    fn is_conflict(&self) -> bool {
        match self {
            Self::Own(error) => error.status() == Some(StatusCode::CONFLICT),
            Self::Cluster(error) => error.class() == Class::AlreadyExists,
        }
    }
}

impl Plane {
    /// Reads an object or a list.
    ///
    /// # Errors
    /// [`PlaneError`]
    pub(crate) async fn get(&self, path: &str) -> Result<Value, PlaneError> {
        Ok(match self {
            Self::Own(http) => http.get(path).await?,
            Self::Cluster(api) => api.call(Call::get(path)).await?,
        })
    }

    /// Creates an object; `false` when there is one of that name.
    ///
    /// # Errors
    /// [`PlaneError`]
    pub(super) async fn create(
        &self,
        collection: &str,
        object: &Value,
    ) -> Result<bool, PlaneError> {
        let created: Result<Value, PlaneError> = match self {
            Self::Own(http) => {
                let created = http.json(Method::POST, collection, Some(object)).await;
                created.map_err(PlaneError::from)
            }
            Self::Cluster(api) => {
                let created = api.call(Call::post(collection, object)).await;
                created.map_err(PlaneError::from)
            }
        };
        match created {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Changes an object.
    ///
    /// # Errors
    /// [`PlaneError`]
    pub(super) async fn merge_patch(&self, path: &str, patch: &Value) -> Result<(), PlaneError> {
        match self {
            Self::Own(http) => drop(http.merge_patch(path, patch).await?),
            Self::Cluster(api) => {
                let call = Call::patch(path, PatchFormat::Merge, patch);
                drop(api.call(call).await?);
            }
        }
        Ok(())
    }

    /// Waits until pods can be created in a namespace: Kubernetes' controllers give it an account
    /// first.
    ///
    /// # Errors
    /// When they do not.
    pub(super) async fn namespace_usable(&self, namespace: &str) -> Result<()> {
        let Self::Cluster(_) = self else {
            return Ok(());
        };
        let account = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
        let what = format!("the namespace {namespace} has its service account");
        let there = eventually(&what, PATIENCE, async || {
            let found = self.get(&account).await;
            found.map(drop).map_err(|error| error.to_string())
        });
        Ok(there.await?)
    }
}
