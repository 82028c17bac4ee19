//! Who may use the local API over TCP: whoever can read the node's token, which only the owner of
//! its directory can. The Unix socket needs none, its mode says the same.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, http::StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use causeway_kube_api::Status;
use uuid::Uuid;

/// The token's file in the directory of a node.
const TOKEN_FILE: &str = "api-token";
/// A file for `kubectl --kubeconfig`, beside it.
const KUBECONFIG_FILE: &str = "edge.kubeconfig";
/// Shorter ones could be guessed.
const TOKEN_BYTES_MIN: usize = 32;
/// Longer ones do not fit well into headers.
const TOKEN_BYTES_MAX: usize = 512;
/// Whoever watches over a node knows no token.
const OPEN_PATHS: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// The token of a node's local API.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken(Arc<str>);

impl std::fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiToken(…)")
    }
}

/// The token cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its file cannot be read or made.
    #[error("cannot use the file {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "the file {} holds no token: {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} letters, digits, - and _ \
         are one; without the file a new one is made",
        path.display()
    )]
    Malformed {
        /// Which.
        path: PathBuf,
    },
}

impl ApiToken {
    /// The token of the node that keeps its state in `dir`; made at the first call.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn of(dir: &Path) -> Result<Self, TokenError> {
        let path = dir.join(TOKEN_FILE);
        match read(&path) {
            Ok(text) => Self::parse(text.trim_end())
                .ok_or_else(|| TokenError::Malformed { path: path.clone() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Random numbers of the system, 122 bits each.
                let text = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
                write(dir, TOKEN_FILE, &text)
                    .map(|()| Self(text.into()))
                    .map_err(|source| TokenError::File { path, source })
            }
            Err(source) => Err(TokenError::File { path, source }),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let fits = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len());
        (fits && text.bytes().all(plain)).then(|| Self(text.into()))
    }

    /// Its text, to be shown to nobody else.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Takes as long for a wrong token as for the right one.
    fn is(&self, shown: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differs = own
            .iter()
            .zip(shown)
            .fold(0, |differs, (one, other)| differs | (one ^ other));
        own.len() == shown.len() && std::hint::black_box(differs) == 0
    }

    /// Whether headers show it: as bearer token, or as the password of whatever user.
    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let Some((scheme, rest)) = shown.and_then(|shown| shown.split_at_checked(7)) else {
            return false;
        };
        if scheme.eq_ignore_ascii_case(b"bearer ") {
            return self.is(rest.trim_ascii());
        }
        let basic = shown
            .and_then(|shown| shown.split_at_checked(6))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"basic "));
        let pair = basic.and_then(|(_, rest)| STANDARD.decode(rest.trim_ascii()).ok());
        pair.is_some_and(|pair| {
            let colon = pair.iter().position(|byte| *byte == b':');
            colon.is_some_and(|at| self.is(pair.get(at + 1..).unwrap_or_default()))
        })
    }
}

/// Lets through who shows the token, and who asks for health.
pub(crate) fn guarded(router: Router, token: ApiToken) -> Router {
    router.layer(from_fn_with_state(token, check))
}

async fn check(State(token): State<ApiToken>, request: Request, next: Next) -> Response {
    if token.is_shown(request.headers()) || OPEN_PATHS.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let status = Status::failure(401, "Unauthorized", "Unauthorized");
    let mut response = (StatusCode::UNAUTHORIZED, Json(status)).into_response();
    let challenge = HeaderValue::from_static("Bearer realm=\"causeway-edge\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// Writes the kubeconfig of the node's local API into its directory.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_kubeconfig(
    dir: &Path,
    name: &str,
    api: SocketAddr,
    token: Option<&ApiToken>,
) -> io::Result<()> {
    write(dir, KUBECONFIG_FILE, &kubeconfig(name, api, token))
}

/// A kubeconfig of a local API, for whatever client.
#[must_use]
pub fn kubeconfig(name: &str, api: SocketAddr, token: Option<&ApiToken>) -> String {
    let host = match api.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let api = SocketAddr::new(host, api.port());
    // Clients in Go send the token of a user over TLS only, but what stands in an address always;
    // others do it the other way round.
    let (server, user) = match token {
        Some(token) => {
            let token = token.secret();
            let server = format!("http://causeway:{token}@{api}");
            (server, format!("{{ token: {token:?} }}"))
        }
        None => (format!("http://{api}"), "{}".to_owned()),
    };
    format!(
        "\
apiVersion: v1
kind: Config
current-context: {name}
clusters:
  - name: {name}
    cluster:
      server: {server}
users:
  - name: {name}
    user: {user}
contexts:
  - name: {name}
    context:
      cluster: {name}
      user: {name}
"
    )
}

/// Reads a small file of secrets; takes it away from others who could read it.
fn read(path: &Path) -> io::Result<String> {
    let file = fs::File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others could read the token; they no longer can");
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    let mut text = String::new();
    file.take(TOKEN_BYTES_MAX as u64 + 2)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// Replaces a file of the directory, in one step and for its owner only.
fn write(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    let fresh = dir.join(format!("{name}.new"));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(fresh, dir.join(name))
}

#[cfg(test)]
mod tests;
