//! Calls over the client of the API server.

use causeway_kube_api::Status;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::call::{Api, Call, CallError, Content, Identity, Method};
use crate::kube::client::{self, ApiError, ApiServer, Class, PatchFormat};

impl Api for ApiServer {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Value, CallError>> {
        Box::pin(async move {
            let answer = Self::call(self, request(call)).await;
            answer.map_err(failure)
        })
    }
}

fn request(call: Call) -> client::Call {
    let target = call.target();
    let body = call.body.unwrap_or_default();
    let request = match (call.method, call.content) {
        (Method::Get, _) => client::Call::get(target),
        (Method::Post, _) => client::Call::post(target, &body),
        (Method::Delete, _) => client::Call::delete(target, &body),
        (Method::Patch, Content::Apply) => client::Call::patch(target, PatchFormat::Apply, &body),
        (Method::Patch, Content::StrategicPatch) => {
            client::Call::patch(target, PatchFormat::Strategic, &body)
        }
        (Method::Patch, Content::MergePatch | Content::Json) => {
            client::Call::patch(target, PatchFormat::Merge, &body)
        }
    };
    match call.identity {
        Identity::Cloud => request,
        Identity::Node(node) => request.as_node(&node),
    }
}

fn failure(error: ApiError) -> CallError {
    let retry_after = error.retry_after();
    let code = match error.class() {
        Class::Unreachable | Class::Malformed => None,
        Class::Busy => Some((503, "ServiceUnavailable")),
        Class::Credentials => Some((401, "Unauthorized")),
        Class::Forbidden => Some((403, "Forbidden")),
        Class::NotFound => Some((404, "NotFound")),
        Class::Conflict => Some((409, "Conflict")),
        Class::AlreadyExists => Some((409, "AlreadyExists")),
        Class::Gone => Some((410, "Gone")),
        Class::Invalid => Some((400, "BadRequest")),
    };
    let status = match (error.status(), code) {
        (Some(status), _) if status.code >= 400 => status.clone(),
        (_, Some((code, reason))) => Status::failure(code, reason, error.to_string()),
        (_, None) => {
            return CallError::NoAnswer {
                source: Box::new(error),
            };
        }
    };
    CallError::Refused {
        status: Box::new(status),
        retry_after,
    }
}
