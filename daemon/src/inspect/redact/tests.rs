use causeway_log::{Key, Resource, Uid};
use serde_json::{Value, json};

use super::{REDACTED, redact};

fn redacted(resource: Resource, mut body: Value) -> Value {
    let key = Key::new(resource, "default", "x", Uid::None).unwrap();
    redact(&key, &mut body);
    body
}

#[test]
fn the_token_of_a_service_account_is_not_shown() {
    let tokens = || Resource::new("causeway.dev", "serviceaccounttokens");
    let token = json!({"spec": {"podUid": "u"}, "token": "eyJ"});
    let hidden = json!({"spec": {"podUid": "u"}, "token": REDACTED});
    assert_eq!(redacted(tokens(), token.clone()), hidden);
    let request = json!({"verb": "create", "object": token});
    assert_eq!(redacted(tokens(), request)["object"], hidden);
    assert_eq!(
        redacted(tokens(), json!({"token": {"hidden": 1}}))["token"],
        REDACTED
    );
    assert_eq!(redacted(tokens(), json!(7)), json!(7));
}

#[test]
fn only_what_is_secret_is_blanked() {
    let map = json!({"data": {"a": "b"}, "token": "shown"});
    assert_eq!(redacted(Resource::core("configmaps"), map.clone()), map);
    let secret = redacted(
        Resource::core("secrets"),
        json!({"data": {"a": "b"}, "type": "Opaque"}),
    );
    assert_eq!(secret, json!({"data": {"a": REDACTED}, "type": "Opaque"}));
}
