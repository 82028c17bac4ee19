//! A proxy before the API server that answers wrongly and late as it is told (`faults/main.go`).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::http::exchange;
use crate::kubeconfig::Credential;
use crate::process::Process;
use crate::wait::{Unmet, eventually};
use crate::{ControlPlane, ports};

/// What starting may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running proxy; ends with its value. Clients of it say who they are with a token: certificates
/// do not pass a proxy.
#[derive(Debug)]
pub struct FaultyApi {
    process: Process,
    secure: u16,
    plain: u16,
}

/// What goes wrong. The default is nothing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Faults {
    /// Every request that is hit waits so long.
    pub delay_ms: u32,
    /// It is answered so instead of reaching the API server; 0 lets it through.
    pub status: u16,
    /// Seconds in `Retry-After` of such an answer; 0 leaves it out.
    pub retry_after: u32,
    /// The part of requests that are hit; 0 means all.
    pub percent: u8,
    /// Only these methods are hit; empty means all.
    pub methods: Vec<String>,
    /// Only paths that contain this are hit.
    pub path: String,
}

impl FaultyApi {
    /// Starts it before a control plane.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(plane: &ControlPlane) -> Result<Self> {
        let (secure, plain) = (ports::free()?, ports::free()?);
        let pki = plane.pki();
        let mut command = Command::new(plane.binaries().path("faults"));
        command.args([
            format!("-upstream={}", plane.server()),
            format!("-ca={}", pki.file("ca.crt")),
            format!("-cert={}", pki.file("apiserver.crt")),
            format!("-key={}", pki.file("apiserver.key")),
            format!("-admin-cert={}", pki.file("admin.crt")),
            format!("-admin-key={}", pki.file("admin.key")),
            format!("-secure=127.0.0.1:{secure}"),
            format!("-plain=127.0.0.1:{plain}"),
        ]);
        let mut process = Process::new(plane.dir(), &format!("faults-{secure}"));
        process.start(&mut command)?;
        let proxy = Self {
            process,
            secure,
            plain,
        };
        eventually("the proxy before the API server", PATIENCE, || {
            exchange(plain, "GET", "/.faults", "")
                .map(drop)
                .map_err(|error| Unmet::yet(&error))
        })?;
        Ok(proxy)
    }

    /// Where it listens without TLS, as the administrator and without faults.
    #[must_use]
    pub fn plain(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.plain).into()
    }

    /// The URL at which it does wrong.
    #[must_use]
    pub fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.secure)
    }

    /// A kubeconfig of a service account that goes through it.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn kubeconfig_of_account(
        &self,
        plane: &ControlPlane,
        namespace: &str,
        name: &str,
    ) -> Result<PathBuf> {
        let credential = Credential::Token(plane.token_of(namespace, name)?);
        let file = format!("{namespace}-{name}-{}", self.secure);
        plane.kubeconfig_with(&file, &self.server(), &credential)
    }

    /// Goes wrong like this from here on.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn set(&self, faults: &Faults) -> Result<()> {
        let body = serde_json::to_string(faults)?;
        exchange(self.plain, "PUT", "/.faults", &body)
            .map(drop)
            .context("the proxy takes no faults")
    }

    /// How many requests came, and how many of them were hit.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn requests(&self) -> Result<(u64, u64)> {
        let answer = exchange(self.plain, "GET", "/.faults", "")?;
        let count = |name: &str| answer[name].as_u64().unwrap_or_default();
        Ok((count("requests"), count("faulted")))
    }
}

impl Drop for FaultyApi {
    fn drop(&mut self) {
        // Nobody could do anything about a failure.
        let _ = self.process.kill();
    }
}
