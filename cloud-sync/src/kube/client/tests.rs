use causeway_kube_api::Status;
use serde_json::json;

use super::*;

fn answered(code: u16, body: &Value) -> ApiError {
    let code = StatusCode::from_u16(code).unwrap();
    ApiError::answered(code, None, body.to_string().as_bytes())
}

fn status(code: u16, reason: &str, details: Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason, "message": "in the server's words", "details": details})
}

#[test]
fn answers_say_what_is_to_be_done() {
    for (code, reason, class, retryable) in [
        (401, "Unauthorized", Class::Credentials, true),
        (403, "Forbidden", Class::Forbidden, false),
        (404, "NotFound", Class::NotFound, false),
        (409, "Conflict", Class::Conflict, false),
        (409, "AlreadyExists", Class::AlreadyExists, false),
        (410, "Expired", Class::Gone, false),
        (422, "Invalid", Class::Invalid, false),
        (429, "TooManyRequests", Class::Busy, true),
        (500, "InternalError", Class::Busy, true),
        (503, "ServiceUnavailable", Class::Busy, true),
    ] {
        let error = answered(code, &status(code, reason, json!({})));
        assert_eq!(error.class(), class, "{code} {reason}");
        assert_eq!(class.is_retryable(), retryable);
        assert!(
            error.to_string().contains("in the server's words"),
            "{error}"
        );
        assert_eq!(error.status().map(|status| status.code), Some(code));
    }
}

#[test]
fn a_pause_that_the_server_asks_for_is_found_in_the_body_too() {
    let busy = status(429, "TooManyRequests", json!({"retryAfterSeconds": 7}));
    assert_eq!(
        answered(429, &busy).retry_after(),
        Some(Duration::from_secs(7))
    );
}

#[test]
fn a_version_that_the_server_never_had_is_as_good_as_gone() {
    let causes = json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large"}]});
    assert_eq!(
        answered(504, &status(504, "Timeout", causes)).class(),
        Class::Gone
    );
}

#[test]
fn answers_that_are_no_status_are_classed_by_their_code() {
    for body in [
        &b""[..],
        b"<html>",
        b"[]",
        b"{\"kind\":\"Pod\"}",
        &[0xff, 0xfe],
    ] {
        let error = ApiError::answered(StatusCode::BAD_GATEWAY, None, body);
        assert_eq!(error.class(), Class::Busy);
    }
    assert_eq!(ApiError::in_watch(Status::gone("old")).class(), Class::Gone);
}

#[test]
fn a_node_is_impersonated_as_a_user_of_a_group_or_as_a_node() {
    let node = NodeName::new("edge-1").unwrap();
    let call = || Call::get("/api/v1/nodes").as_node(&node);
    let request = call().request(Impersonation::UserOfGroup).unwrap();
    assert_eq!(request.headers()["Impersonate-User"], "system:node:edge-1");
    assert_eq!(request.headers()["Impersonate-Group"], "system:nodes");
    let request = call().request(Impersonation::Node).unwrap();
    assert_eq!(request.headers()["Impersonate-User"], "system:node:edge-1");
    assert!(!request.headers().contains_key("Impersonate-Group"));
    let own = Call::get("/api/v1/nodes");
    let own = own.request(Impersonation::UserOfGroup).unwrap();
    assert!(!own.headers().contains_key("Impersonate-User"));
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_is_named_and_read_again() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("kubeconfig");
    let api = ApiServer::new(Access {
        kubeconfig: Some(path.clone()),
        context: None,
    });
    let said = |error: ApiError| {
        assert_eq!(error.class(), Class::Credentials);
        causeway_daemon::telemetry::error_chain(&error).to_string()
    };
    let missing = said(api.call(Call::get("/version")).await.unwrap_err());
    assert!(missing.contains(path.to_str().unwrap()), "{missing}");
    // Asked again at once it is not read again, and says the same.
    std::fs::write(&path, "clusters: [").unwrap();
    let again = said(api.call(Call::get("/version")).await.unwrap_err());
    assert!(again.contains(path.to_str().unwrap()), "{again}");
    for text in [
        "clusters: [",
        "apiVersion: v1\nkind: Config\ncurrent-context: nowhere\n",
    ] {
        std::fs::write(&path, text).unwrap();
        let other = ApiServer::new(Access {
            kubeconfig: Some(path.clone()),
            context: None,
        });
        let wrong = said(other.call(Call::get("/version")).await.unwrap_err());
        assert!(wrong.contains(path.to_str().unwrap()), "{wrong}");
    }
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_told_before_anything_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    let check = |text: &str, context: Option<&str>| {
        std::fs::write(&path, text).unwrap();
        let access = Access {
            kubeconfig: Some(path.clone()),
            context: context.map(str::to_owned),
        };
        let error = access.check().err()?;
        assert_eq!(error.class(), Class::Credentials);
        Some(error.to_string())
    };
    let good = "contexts: [{name: here, context: {cluster: c, user: u}}]\n\
                current-context: here\n";
    assert_eq!(check(good, None), None);
    assert_eq!(check(good, Some("here")), None);
    let missing = check(good, Some("there")).unwrap();
    assert!(missing.ends_with("has no context \"there\""), "{missing}");
    let none = check("contexts: []\n", None).unwrap();
    assert!(none.ends_with("names no context"), "{none}");
    let broken = check("contexts: [", None).unwrap();
    assert!(broken.starts_with("cannot use the kubeconfig"), "{broken}");
}
