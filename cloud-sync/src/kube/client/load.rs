//! Where the API server is and who we are to it.

use std::path::{Path, PathBuf};
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
    /// Whether the kubeconfig can be read and has the context, without asking anybody. What is not
    /// named is looked for when it is needed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), ApiError> {
        let Some(path) = &self.kubeconfig else {
            return Ok(());
        };
        let kubeconfig = read(path)?;
        let current = kubeconfig.current_context.as_ref();
        let context = self.context.as_ref().or(current);
        let why = match context {
            Some(name) if kubeconfig.contexts.iter().any(|it| it.name == *name) => return Ok(()),
            Some(name) => format!("the kubeconfig {} has no context {name:?}", path.display()),
            None => format!("the kubeconfig {} names no context", path.display()),
        };
        Err(ApiError::new(Class::Credentials, why))
    }

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
        let config = Config::from_custom_kubeconfig(read(path)?, &options).await;
        config.map_err(failed)
    }
}

fn read(path: &Path) -> Result<Kubeconfig, ApiError> {
    Kubeconfig::read_from(path).map_err(|error| {
        let message = format!("cannot use the kubeconfig {}", path.display());
        ApiError::caused(Class::Credentials, message, error)
    })
}
