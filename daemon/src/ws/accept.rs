//! The cloud's end: a WebSocket upgrade on an ordinary HTTP route, done by hand. The web
//! framework's own would pin another version of the WebSocket library, and hides its buffers.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::WsTransport;

/// A connection whose upgrade was granted; await it after the response is on its way.
#[derive(Debug)]
pub struct Upgrading {
    upgrade: OnUpgrade,
}

impl Upgrading {
    /// The transport, once the response has been sent. Run this in a task of its own: the handler
    /// must return for the response to go out.
    ///
    /// # Errors
    /// When the connection went away first.
    pub async fn finish(self) -> Result<WsTransport<TokioIo<Upgraded>>, hyper::Error> {
        Ok(WsTransport::server(TokioIo::new(self.upgrade.await?)).await)
    }
}

/// Grants a WebSocket upgrade: the response to send, and the connection to be.
///
/// # Errors
/// The response that refuses: 400, 405 or 426.
#[expect(
    clippy::result_large_err,
    reason = "a response is what a handler returns"
)]
pub fn upgrade(request: &mut Request<Body>) -> Result<(Response, Upgrading), Response> {
    let refuse = |status: StatusCode, why: &'static str| {
        let mut response = (status, why).into_response();
        if status == StatusCode::UPGRADE_REQUIRED {
            response.headers_mut().insert(
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13"),
            );
        }
        response
    };
    if request.method() != Method::GET {
        return Err(refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "a WebSocket is opened by GET\n",
        ));
    }
    let headers = request.headers();
    if !has_word(headers, &header::CONNECTION, "upgrade")
        || !has_word(headers, &header::UPGRADE, "websocket")
    {
        return Err(refuse(
            StatusCode::UPGRADE_REQUIRED,
            "this is a WebSocket endpoint\n",
        ));
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(refuse(
            StatusCode::UPGRADE_REQUIRED,
            "only WebSocket version 13 is spoken\n",
        ));
    }
    let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "Sec-WebSocket-Key is missing\n",
        ));
    };
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .expect("base64 is a header value");
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "this connection cannot be upgraded\n",
        ));
    };
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok((response, Upgrading { upgrade }))
}

/// Whether a comma-separated header holds a word, in whatever case.
fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|found| found.trim().eq_ignore_ascii_case(word))
}
