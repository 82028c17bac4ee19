use proptest::prelude::*;
use serde_json::json;

use super::*;

fn request() -> Request {
    Request {
        verb: Verb::Update,
        object: Some(json!({"kind": "ConfigMap"})),
        base: Some(Version::new(7)),
        uid: Uid::parse("0b6a2d5e-9f0a-4c7c-9a55-2f6a7a3c8d10"),
        follows: Some(EventId::new(Uuid::from_u128(5))),
        grace_period_seconds: None,
    }
}

#[test]
fn the_encoding_is_frozen() {
    let golden = r#"{"base":7,"follows":"00000000-0000-0000-0000-000000000005","object":{"kind":"ConfigMap"},"uid":"0b6a2d5e-9f0a-4c7c-9a55-2f6a7a3c8d10","verb":"update"}"#;
    assert_eq!(String::from_utf8(request().encode()).unwrap(), golden);
    assert_eq!(Request::decode(golden.as_bytes()).unwrap(), request());
    let delete = Request::decode(br#"{"verb":"delete","gracePeriodSeconds":0}"#).unwrap();
    assert_eq!(
        (delete.verb, delete.grace_period_seconds),
        (Verb::Delete, Some(0))
    );
}

#[test]
fn what_is_no_request_is_refused() {
    let decode = |text: &str| Request::decode(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        decode(r#"{"verb":"update"}"#),
        "a request to update needs an object"
    );
    assert_eq!(
        decode(r#"{"verb":"create","object":[]}"#),
        "a request to create needs an object"
    );
    assert_eq!(decode(r#"{"verb":"destroy"}"#), "the request is malformed");
    assert_eq!(
        decode(r#"{"verb":"delete","more":1}"#),
        "the request is malformed"
    );
    let long = " ".repeat(REQUEST_BYTES_MAX + 1);
    assert!(decode(&long).contains("exceeds the limit"));
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Request::decode(&bytes);
    }
}
