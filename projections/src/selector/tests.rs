use causeway_log::Resource;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn labels(text: &str) -> LabelSelector {
    LabelSelector::parse(text).unwrap()
}

#[test]
fn label_requirements_hold_as_in_kubernetes() {
    let object =
        json!({"metadata": {"labels": {"app": "web", "tier": "front", "n": "7", "e": ""}}});
    let holds = [
        "",
        "app=web",
        "app==web",
        "app = web , tier=front",
        "app!=db",
        "other!=db",
        "app in (web, db)",
        "app notin (db)",
        "other notin (db)",
        "app",
        "!other",
        "e=",
        "e in ()",
        "n>6",
        "n<8",
    ];
    for text in holds {
        assert!(labels(text).matches(&object), "{text}");
    }
    let fails = [
        "app=db",
        "app!=web",
        "app in (db)",
        "app notin (web)",
        "other",
        "!app",
        "n>7",
    ];
    for text in fails {
        assert!(!labels(text).matches(&object), "{text}");
    }
}

#[test]
fn unreadable_label_selectors_say_what_is_wrong() {
    let cases = [
        (
            "a in b",
            "unable to parse requirement: found 'b', expected: '('",
        ),
        (
            "a in (b",
            "unable to parse requirement: found '', expected: ',' or ')'",
        ),
        (
            "a b",
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
        ),
        (
            "a=b,",
            "unable to parse requirement: found '', expected: identifier after ','",
        ),
        (
            "=b",
            "unable to parse requirement: found '=', expected: identifier",
        ),
        (
            "a=b c",
            "unable to parse requirement: found 'c', expected: ',' or 'end of string'",
        ),
    ];
    for (text, told) in cases {
        assert_eq!(
            LabelSelector::parse(text),
            Err(SelectorError(told.to_owned())),
            "{text}"
        );
    }
    assert!(LabelSelector::parse("-a=b").is_err());
    assert!(LabelSelector::parse("a=b$").is_err());
}

#[test]
fn selector_objects_select() {
    let selector = json!({
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}],
    });
    let selector = LabelSelector::from_object(&selector).unwrap();
    assert!(selector.matches(&json!({"metadata": {"labels": {"app": "web"}}})));
    assert!(!selector.matches(&json!({"metadata": {"labels": {"app": "web", "tier": "back"}}})));
}

#[test]
fn fields_are_compared_as_text() {
    let pod = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n,1", "hostNetwork": true}});
    let holds = [
        "",
        "metadata.name=a",
        "metadata.name==a,spec.nodeName!=x",
        r"spec.nodeName=n\,1",
        "spec.hostNetwork=true",
        "status.phase=",
        "status.phase!=Running",
    ];
    for text in holds {
        assert!(FieldSelector::parse(text).unwrap().matches(&pod), "{text}");
    }
    assert!(
        !FieldSelector::parse("metadata.name=b")
            .unwrap()
            .matches(&pod)
    );
    assert!(
        FieldSelector::parse("spec.unschedulable=false")
            .unwrap()
            .matches(&json!({}))
    );
}

#[test]
fn unknown_fields_are_refused_by_kind() {
    let selector = FieldSelector::parse("spec.nodeName=x").unwrap();
    assert!(selector.check(&Resource::core("pods"), &[]).is_ok());
    let refused = selector
        .check(&Resource::core("configmaps"), &[])
        .unwrap_err();
    assert_eq!(refused.0, "field label not supported: spec.nodeName");
    let unreadable = FieldSelector::parse("nonsense").unwrap_err();
    assert_eq!(
        unreadable.0,
        "invalid selector: 'nonsense'; can't understand 'nonsense'"
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,80}") {
        let _ = LabelSelector::parse(&text);
        let _ = FieldSelector::parse(&text);
    }

    #[test]
    fn almost_selectors_are_read_or_refused(text in "[ab=!(),<> \\\\]{0,24}(in|notin)?[ab(), ]{0,8}") {
        let _ = LabelSelector::parse(&text);
        let _ = FieldSelector::parse(&text);
    }
}
