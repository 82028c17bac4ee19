use serde_json::json;

use super::*;

const TEN: Duration = Duration::from_secs(10);

fn device(interval: &str, change: &str) -> Value {
    json!({"metadata": {"annotations": {INTERVAL_ANNOTATION: interval, CHANGE_ANNOTATION: change}}})
}

fn status(value: &str, observed: &str) -> Value {
    json!({
        "metadata": {"name": "oven", "ownerReferences": [{"uid": "7"}]},
        "status": {"state": "online", "twins": [
            {"propertyName": "is", "reported": {"value": value},
                "observedDesired": {"value": observed}},
        ]},
    })
}

#[test]
fn a_device_says_how_often_and_mistakes_are_as_if_nothing_was_said() {
    let pacer = Pacer::of(&device("30s", "is=change:0.5"), TEN);
    assert_eq!(
        (pacer.interval.as_secs(), pacer.small().as_secs()),
        (30, 180)
    );
    assert_eq!(Pacer::of(&json!({}), TEN).interval, TEN);
    assert_eq!(Pacer::of(&device("0s", ""), TEN).interval.as_secs(), 1);
    assert_eq!(
        Pacer::of(&device("900d", ""), TEN).interval.as_secs(),
        86_400
    );
    for (interval, change) in [("soon", ""), ("10s", "is"), ("10s", "=change:1")] {
        let pacer = Pacer::of(&device(interval, change), TEN);
        assert_eq!(pacer.interval, TEN);
        assert_eq!(pacer.changes, Policies::default(), "{change}");
    }
}

#[test]
fn what_moves_less_than_the_device_calls_a_change_is_small() {
    let pacer = Pacer::of(&device("10s", "is=change:0.5"), TEN);
    let shown = status("20", "19");
    let far = |value, observed| difference(Some(&shown), &status(value, observed), &pacer);
    assert_eq!(far("20", "19"), Difference::None);
    assert_eq!(far("20.4", "19"), Difference::Small);
    assert_eq!(far("20.5", "19"), Difference::Large);
    assert_eq!(
        far("20.4", "20"),
        Difference::Large,
        "what was wanted counts"
    );
    assert_eq!(far("hot", "19"), Difference::Large);
    assert_eq!(far("NaN", "19"), Difference::Large);
    assert_eq!(difference(None, &shown, &pacer), Difference::Large);

    let mut offline = status("20", "19");
    offline["status"]["state"] = json!("offline");
    assert_eq!(
        difference(Some(&shown), &offline, &pacer),
        Difference::Large
    );
    let mut later = status("20", "19");
    later["status"]["lastOnlineTime"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(difference(Some(&shown), &later, &pacer), Difference::Small);
    let mut second = status("20", "19");
    second["metadata"]["ownerReferences"] = json!([{"uid": "8"}]);
    assert_eq!(difference(Some(&shown), &second, &pacer), Difference::Large);
    let mut more = status("20", "19");
    more["status"]["twins"]
        .as_array_mut()
        .unwrap()
        .push(json!({"propertyName": "on"}));
    assert_eq!(difference(Some(&shown), &more, &pacer), Difference::Large);
}

#[test]
fn any_change_counts_where_nothing_is_said() {
    let pacer = Pacer::of(&json!({}), TEN);
    let far = difference(Some(&status("20", "19")), &status("20.001", "19"), &pacer);
    assert_eq!(far, Difference::Large);
}
