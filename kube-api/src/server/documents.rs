//! Paths that are not objects: discovery, version, OpenAPI, health.

use axum::response::Response;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Server, accept, discovery, output};
use crate::openapi;
use crate::source::Source;
use crate::status::Status;

pub(super) fn answer<S: Source>(
    server: &Server<S>,
    parts: &Parts,
    path: &[String],
) -> Result<Response, Status> {
    if parts.method != Method::GET {
        return Err(Status::method_not_allowed());
    }
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let found = |value: Option<Value>| {
        value
            .map(|value| output::json(StatusCode::OK, &value))
            .ok_or_else(Status::no_such_path)
    };
    match path.as_slice() {
        [] => Ok(output::json(StatusCode::OK, &paths(server))),
        ["healthz" | "livez" | "readyz", ..] => Ok(output::bytes(
            StatusCode::OK,
            "text/plain; charset=utf-8",
            b"ok".to_vec(),
        )),
        ["version"] => Ok(output::json(StatusCode::OK, &version(server))),
        ["api"] => Ok(groups(server, parts, true)),
        ["apis"] => Ok(groups(server, parts, false)),
        ["api", version] => found(discovery::resource_list(&server.catalog(), "", version)),
        ["apis", group] => found(discovery::group(&server.catalog(), group)),
        ["apis", group, version] => {
            found(discovery::resource_list(&server.catalog(), group, version))
        }
        ["openapi", "v2"] => Ok(openapi_v2(server, parts)),
        ["openapi", "v3"] => Ok(output::json(
            StatusCode::OK,
            &openapi::v3_index(&server.catalog()),
        )),
        ["openapi", "v3", "api", version] => {
            found(openapi::v3_document(&server.catalog(), "", version))
        }
        ["openapi", "v3", "apis", group, version] => {
            found(openapi::v3_document(&server.catalog(), group, version))
        }
        _ => Err(Status::no_such_path()),
    }
}

fn groups<S: Source>(server: &Server<S>, parts: &Parts, core: bool) -> Response {
    let catalog = server.catalog();
    if let Some(version) = accept::aggregated(&parts.headers) {
        let value = discovery::aggregated(&catalog, core, version);
        let mut response = output::json(StatusCode::OK, &value);
        // Clients tell the aggregated document from the legacy one by this.
        let media =
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        if let Ok(media) = HeaderValue::from_str(&media) {
            response.headers_mut().insert(CONTENT_TYPE, media);
        }
        return response;
    }
    let host = parts
        .headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let value = if core {
        discovery::core_versions(host)
    } else {
        discovery::group_list(&catalog)
    };
    output::json(StatusCode::OK, &value)
}

fn openapi_v2<S: Source>(server: &Server<S>, parts: &Parts) -> Response {
    let catalog = server.catalog();
    if accept::prefers(&parts.headers, openapi::V2_PROTOBUF) {
        return output::bytes(
            StatusCode::OK,
            "application/octet-stream",
            openapi::v2_protobuf(&catalog),
        );
    }
    output::json(StatusCode::OK, &openapi::v2_json(&catalog))
}

fn version<S: Source>(server: &Server<S>) -> Value {
    let version = &server.config.version;
    let mut numbers = version.git_version.trim_start_matches('v').split('.');
    json!({
        "major": numbers.next().unwrap_or("1"),
        "minor": numbers.next().unwrap_or("0"),
        "gitVersion": version.git_version,
        "gitCommit": version.git_commit,
        "gitTreeState": "clean",
        "buildDate": version.build_date,
        "goVersion": "none",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

fn paths<S: Source>(server: &Server<S>) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, versions) in server.catalog().groups() {
        paths.push(format!("/apis/{group}"));
        paths.extend(
            versions
                .iter()
                .map(|version| format!("/apis/{group}/{version}")),
        );
    }
    paths.extend(["/healthz", "/openapi/v2", "/openapi/v3", "/version"].map(str::to_owned));
    json!({ "paths": paths })
}
