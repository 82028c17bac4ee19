use http::{HeaderMap, HeaderValue};

use super::accept::{self, Output};
use super::query::Query;
use super::route::{Object, Target, decode_percent};

fn object(path: &str) -> Object {
    let Target::Resource(object) = Target::parse(path) else {
        panic!("{path}")
    };
    object
}

#[test]
fn paths_name_objects() {
    let place = |path: &str| {
        let Object {
            group,
            version,
            namespace,
            plural,
            name,
            subresource,
        } = object(path);
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        format!(
            "{group}|{version}|{}|{plural}|{}|{}",
            or_dash(namespace),
            or_dash(name),
            or_dash(subresource)
        )
    };
    let cases = [
        ("/api/v1/pods", "|v1|-|pods|-|-"),
        ("/api/v1/namespaces/a/pods/b", "|v1|a|pods|b|-"),
        ("/api/v1/namespaces/a/pods/b/status", "|v1|a|pods|b|status"),
        ("/api/v1/namespaces", "|v1|-|namespaces|-|-"),
        ("/api/v1/namespaces/a", "|v1|-|namespaces|a|-"),
        ("/api/v1/namespaces/a/status", "|v1|-|namespaces|a|status"),
        (
            "/api/v1/namespaces/a/finalize",
            "|v1|-|namespaces|a|finalize",
        ),
        ("/apis/apps/v1/deployments/", "apps|v1|-|deployments|-|-"),
        ("/apis/g.io/v1/namespaces/a/x/b%3Ac", "g.io|v1|a|x|b:c|-"),
        (
            "/api/v1/namespaces/a/pods/b/proxy/deep/path",
            "|v1|a|pods|b|proxy",
        ),
    ];
    for (path, wanted) in cases {
        assert_eq!(place(path), wanted, "{path}");
    }
}

#[test]
fn other_paths_name_documents_or_nothing() {
    for path in [
        "/",
        "/api",
        "/apis",
        "/apis/apps",
        "/apis/apps/v1",
        "/version",
        "/openapi/v3",
    ] {
        assert!(matches!(Target::parse(path), Target::Document(_)), "{path}");
    }
    for path in [
        "/x",
        "/api/v1/namespaces/a/pods/b/c/d",
        "/api/v1/%ff",
        "/api/v1/%2",
    ] {
        assert_eq!(Target::parse(path), Target::Unknown, "{path}");
    }
    assert_eq!(decode_percent("a%2Fb"), Some("a/b".to_owned()));
}

#[test]
fn the_first_form_that_there_is_is_given() {
    let output = |accept: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static(accept));
        accept::output(&headers).ok()
    };
    assert_eq!(output("*/*"), Some(Output::Objects));
    assert_eq!(
        output("application/vnd.kubernetes.protobuf, */*"),
        Some(Output::Objects)
    );
    let old = "application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json";
    assert_eq!(output(old), Some(Output::Table("meta.k8s.io/v1beta1")));
    let unknown = "application/json;as=Chart;v=v1;g=meta.k8s.io, application/json;q=0.5";
    assert_eq!(output(unknown), Some(Output::Objects));
    assert_eq!(output("text/html"), None);
    assert_eq!(
        accept::output(&HeaderMap::new()).ok(),
        Some(Output::Objects)
    );
}

#[test]
fn queries_are_read_or_refused() {
    let query = Query::parse("limit=5&labelSelector=a%20in%20(b)&watch=true&x=y&dryRun=All");
    let query = query.unwrap();
    assert!(query.watch && query.dry_run && query.limit == 5 && !query.label_selector.is_empty());
    let refused = |text: &str| Query::parse(text).unwrap_err().code;
    assert_eq!(refused("limit=many"), 400);
    assert_eq!(refused("dryRun=Some"), 422);
    assert_eq!(refused("fieldValidation=Maybe"), 422);
    assert_eq!(
        refused("resourceVersion=1&resourceVersionMatch=Exactly"),
        422
    );
    assert_eq!(
        refused("watch=1&resourceVersion=1&resourceVersionMatch=Exact"),
        422
    );
    assert_eq!(refused("labelSelector=%"), 400);
}
