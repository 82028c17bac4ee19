//! Where the API server is and who we are to it.

use std::path::PathBuf;
use std::time::Duration;

use ::kube::config::{KubeConfigOptions, Kubeconfig};
use ::kube::{Client, Config};

use super::{ApiError, Class};

/// How long a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where credentials are found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// A kubeconfig file. `None`: `$KUBECONFIG`, `~/.kube/config`, or the service account of the
    /// pod this runs in, whichever is there first.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; `None`: its current one.
    pub context: Option<String>,
}

impl Access {
    /// Reads the credentials and makes a client of them.
    pub(super) async fn load(&self) -> Result<Client, ApiError> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // Retries are decided where it is known what the request is for.
        config.default_retry = false;
        let failed =
            |error| ApiError::caused(Class::Credentials, "cannot use the credentials", error);
        // A plugin that makes credentials is run in here, and waited for.
        let made = tokio::task::spawn_blocking(move || Client::try_from(config)).await;
        made.map_err(|error| ApiError::caused(Class::Credentials, "cannot make a client", error))?
            .map_err(failed)
    }

    async fn config(&self) -> Result<Config, ApiError> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let Some(path) = &self.kubeconfig else {
            let inferred = match &self.context {
                None => Config::infer().await.map_err(|error| error.to_string()),
                Some(_) => Config::from_kubeconfig(&options)
                    .await
                    .map_err(|error| error.to_string()),
            };
            return inferred.map_err(|why| {
                let message = "found no kubeconfig and no service account to reach a cluster with";
                ApiError::caused(Class::Credentials, message, why)
            });
        };
        let failed = |error| {
            let message = format!("cannot use the kubeconfig {}", path.display());
            ApiError::caused(Class::Credentials, message, error)
        };
        let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        config.map_err(failed)
    }
}
