use serde_json::json;

use super::*;

#[test]
fn only_bound_pods_get_time_to_end() {
    let pods = kind("", "pods");
    let delete = |current: &Value, options: &DeleteOptions| {
        prepare_delete(&pods, current, options, &context("web")).unwrap()
    };
    let plain = DeleteOptions::default();
    let unbound = created(&pods, pod_manifest());
    assert_eq!(delete(&unbound, &plain), Deletion::Remove);
    let mut bound = unbound;
    bound["spec"]["nodeName"] = "edge-1".into();
    let Deletion::Mark(marked) = delete(&bound, &plain) else {
        panic!("not marked")
    };
    assert_eq!(
        marked.object["metadata"]["deletionTimestamp"],
        "2026-01-01T00:00:30Z"
    );
    assert_eq!(marked.object["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(marked.object["metadata"]["generation"], 2);
    let going = served(&marked, "6");
    assert_eq!(delete(&going, &plain), Deletion::Terminating);
    let sooner = DeleteOptions {
        grace_period_seconds: Some(5),
        ..plain.clone()
    };
    let Deletion::Mark(marked) = delete(&going, &sooner) else {
        panic!("not marked")
    };
    assert_eq!(marked.object["metadata"]["deletionGracePeriodSeconds"], 5);
    let now = DeleteOptions {
        grace_period_seconds: Some(0),
        ..plain.clone()
    };
    assert_eq!(delete(&going, &now), Deletion::Remove);
    bound["status"]["phase"] = "Succeeded".into();
    assert_eq!(delete(&bound, &plain), Deletion::Remove);
}

#[test]
fn finalizers_hold_an_object_until_the_last_is_gone() {
    let configmaps = kind("", "configmaps");
    let object = json!({"metadata": {"name": "c", "finalizers": ["a.io/x"]}});
    let current = created(&configmaps, object);
    let plain = DeleteOptions::default();
    let Deletion::Mark(marked) =
        prepare_delete(&configmaps, &current, &plain, &context("c")).unwrap()
    else {
        panic!("not marked")
    };
    assert_eq!(
        marked.object["metadata"]["deletionTimestamp"],
        "2026-01-01T00:00:00Z"
    );
    let going = served(&marked, "6");
    assert_eq!(
        prepare_delete(&configmaps, &going, &plain, &context("c")).unwrap(),
        Deletion::Terminating
    );
    let mut more = going.clone();
    more["metadata"]["finalizers"] = json!(["a.io/x", "b.io/y"]);
    assert_eq!(
        causes(update(&configmaps, &going, more).unwrap_err()),
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"b.io/y\"}"
        ]
    );
    let mut released = going.clone();
    released["metadata"]["finalizers"] = json!([]);
    assert!(update(&configmaps, &going, released).unwrap().remove);
    let mut edited = going.clone();
    edited["data"] = json!({"a": "b"});
    assert!(!update(&configmaps, &going, edited).unwrap().remove);
}

#[test]
fn deletes_keep_their_preconditions() {
    let configmaps = kind("", "configmaps");
    let current = created(&configmaps, json!({"metadata": {"name": "c"}}));
    let delete = |body: &str| {
        let options = DeleteOptions::parse(body.as_bytes())?;
        prepare_delete(&configmaps, &current, &options, &context("c"))
    };
    assert_eq!(delete(""), Ok(Deletion::Remove));
    assert_eq!(
        delete(r#"{"preconditions": {"resourceVersion": "5"}}"#),
        Ok(Deletion::Remove)
    );
    let cases = [
        (
            r#"{"kind": "DeleteOptions", "preconditions": {"uid": "x"}}"#,
            409,
            "Operation cannot be fulfilled on configmaps \"c\": Precondition failed: UID in precondition: x, UID in object meta: 00000000-0000-0000-0000-000000000007",
        ),
        (
            r#"{"preconditions": {"resourceVersion": "4"}}"#,
            409,
            "Operation cannot be fulfilled on configmaps \"c\": Precondition failed: ResourceVersion in precondition: 4, ResourceVersion in object meta: 5",
        ),
        (
            r#"{"propagationPolicy": "Sideways"}"#,
            422,
            "DeleteOptions \"\" is invalid: propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Background\", \"Foreground\", \"Orphan\"",
        ),
        (
            r#"{"kind": "Pod"}"#,
            400,
            "Pod cannot be handled as a DeleteOptions",
        ),
    ];
    for (body, code, message) in cases {
        let refused = delete(body).unwrap_err();
        assert_eq!((refused.code, refused.message.as_str()), (code, message));
    }
    assert_eq!(delete("{").unwrap_err().code, 400);
}
