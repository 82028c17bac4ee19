use proptest::prelude::*;

use super::*;

/// What kubectl 1.32 sends for `kubectl create deployment d --image=x`.
const DEPLOYMENT: &[u8] = b"k8s\x00\n\x15\n\x07apps/v1\x12\nDeployment\x12\x9b\x01\n\x1b\n\x01d\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00Z\x08\n\x03app\x12\x01d\x12n\x08\x01\x12\n\n\x08\n\x03app\x12\x01d\x1aV\n\x1a\n\x00\x12\x00\x1a\x00\"\x00*\x002\x008\x00B\x00Z\x08\n\x03app\x12\x01d\x128\x12\x1a\n\x01x\x12\x01x*\x00B\x00j\x00r\x00\x80\x01\x00\x88\x01\x00\x90\x01\x00\xa2\x01\x00\x1a\x002\x00B\x00J\x00R\x00X\x00`\x00h\x00\x82\x01\x00\x8a\x01\x00\x9a\x01\x00\xc2\x01\x00\"\x02\n\x00(\x008\x00\x1a\x0c\x08\x00\x10\x00\x18\x00 \x00(\x008\x00\x1a\x00\"\x00";

#[test]
fn an_object_of_kubectl_is_read() {
    let deployment = decode(DEPLOYMENT).unwrap();
    let wanted = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "labels": {"app": "d"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {"containers": [{"name": "x", "image": "x"}]},
            },
        },
    });
    assert_eq!(deployment, wanted);
}

#[test]
fn data_comes_as_maps_and_bytes_as_base64() {
    let secret = b"k8s\0\n\x0c\n\x02v1\x12\x06Secret\x12\x16\n\x03\n\x01s\x12\x0a\n\x01k\x12\x05hello\x1a\x03o/p";
    let secret = decode(secret).unwrap();
    assert_eq!(secret["metadata"]["name"], "s");
    assert_eq!(secret["data"]["k"], "aGVsbG8=");
    assert_eq!(secret["type"], "o/p");
}

#[test]
fn unknown_kinds_and_broken_bytes_are_refused() {
    let unknown = b"k8s\0\n\x0b\n\x02v1\x12\x05Other\x12\x00";
    assert_eq!(decode(unknown), Err(Unread::UnknownKind));
    assert_eq!(decode(b"nothing"), Err(Unread::Malformed));
    for end in 4..DEPLOYMENT.len() {
        let _ = decode(&DEPLOYMENT[..end]);
    }
}

#[test]
fn the_table_names_only_messages_it_has() {
    for (name, message) in MESSAGES.iter() {
        for field in message.values() {
            if let Type::Message(inner) = field.of {
                assert!(MESSAGES.contains_key(inner), "{name}: {inner}");
            }
        }
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
        let _ = decode(&[b"k8s\0\n\x0b\n\x02v1\x12\x03Pod\x12", &bytes[..]].concat());
    }

    #[test]
    fn damage_never_panics(at in 0..DEPLOYMENT.len(), byte: u8) {
        let mut bytes = DEPLOYMENT.to_vec();
        bytes[at] = byte;
        let _ = decode(&bytes);
    }
}
