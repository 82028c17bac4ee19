//! Kubeconfig files.

use std::path::Path;

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::pki::{Pair, secret};

/// How a client says who it is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// By a certificate.
    Certificate(Pair),
    /// By a bearer token.
    Token(String),
}

/// Writes a kubeconfig with one context of this name.
///
/// # Errors
/// When the file cannot be written.
pub fn write(
    path: &Path,
    name: &str,
    server: &str,
    authority: &str,
    credential: &Credential,
) -> Result<()> {
    let user = match credential {
        Credential::Certificate(Pair { certificate, key }) => format!(
            "client-certificate-data: {}\n      client-key-data: {}",
            BASE64_STANDARD.encode(certificate),
            BASE64_STANDARD.encode(key)
        ),
        Credential::Token(token) => format!("token: {token}"),
    };
    let authority = BASE64_STANDARD.encode(authority);
    let text = format!(
        "\
apiVersion: v1
kind: Config
current-context: {name}
clusters:
  - name: {name}
    cluster:
      server: {server}
      certificate-authority-data: {authority}
users:
  - name: {name}
    user:
      {user}
contexts:
  - name: {name}
    context:
      cluster: {name}
      user: {name}
"
    );
    secret(path, &text)
}
