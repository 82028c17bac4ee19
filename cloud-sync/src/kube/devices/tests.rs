use causeway_kube_api::Status;
use causeway_kube_api::status::Details;
use causeway_log::Resource;
use serde_json::json;

use super::*;

fn device() -> Key {
    let resource = Resource::new("devices.kubeedge.io", "devices");
    Key::new(resource, "shop", "oven", Uid::parse("u-1")).unwrap()
}

#[test]
fn a_status_is_applied_as_the_service_itself() {
    let call = application(&device(), json!({"status": {}}));
    assert_eq!(
        call.target(),
        "/apis/devices.kubeedge.io/v1beta1/namespaces/shop/devicestatuses/oven\
         ?fieldManager=causeway&force=true"
    );
    assert_eq!(call.identity, Identity::Cloud);
}

#[test]
fn a_missing_kind_is_no_missing_namespace() {
    let refused = |status: Status| CallError::Refused {
        status: Box::new(status),
        retry_after: None,
    };
    let of = |status: Status| {
        let error = refused(status);
        not_written(judge(&error), &error)
    };
    let kind = of(Status::failure(
        404,
        "NotFound",
        "the server could not find it",
    ));
    assert!(matches!(kind, NotWritten::NoKind { .. }), "{kind:?}");
    let details = Details {
        kind: "namespaces".to_owned(),
        ..Details::default()
    };
    let namespace = Status::failure(404, "NotFound", "namespaces \"shop\" not found");
    let namespace = of(namespace.about(details));
    assert!(
        matches!(namespace, NotWritten::Later { .. }),
        "{namespace:?}"
    );
    let why = "User \"system:serviceaccount:causeway:cloud-sync\" cannot patch resource";
    let denied = of(Status::forbidden(&statuses(), "oven", why));
    assert!(matches!(denied, NotWritten::NoKind { .. }), "{denied:?}");
    let away = of(Status::service_unavailable("starting"));
    assert!(matches!(away, NotWritten::Away { .. }), "{away:?}");
}

#[test]
fn each_mistake_of_a_device_is_one_event() {
    let one = complaint(&device(), "target: too hot", "2026-01-01T00:00:00Z");
    let again = complaint(&device(), "target: too hot", "2027-01-01T00:00:00Z");
    let other = complaint(&device(), "target: too cold", "2026-01-01T00:00:00Z");
    let name = |call: &Call| call.body.as_ref().unwrap()["metadata"]["name"].clone();
    assert_eq!(one.path, "/api/v1/namespaces/shop/events");
    assert_eq!(name(&one), name(&again));
    assert_ne!(name(&one), name(&other));
}
