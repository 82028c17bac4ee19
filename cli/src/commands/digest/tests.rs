use super::*;

fn held(entries: &[(&str, u64, &str)]) -> Value {
    let entries: Vec<_> = entries
        .iter()
        .map(|(name, version, hash)| {
            let key = json!({"resource": "configmaps", "namespace": "d", "name": name, "uid": "u"});
            json!({"key": key, "slot": "object", "version": version, "hash": hash})
        })
        .collect();
    let digest = serde_json::to_string(&entries).unwrap();
    json!({"epoch": "e", "digest": digest, "entries": entries})
}

fn both(down: Value) -> Value {
    json!({"down": down, "up": held(&[])})
}

#[test]
fn the_same_on_both_sides_is_equal() {
    let side = both(held(&[("a", 1, "x"), ("b", 2, "y")]));
    assert!(Comparison::of(&side, &side).equal());
}

#[test]
fn each_kind_of_difference_is_named() {
    let cloud = both(held(&[("a", 1, "x"), ("b", 2, "y")]));
    let edge = both(held(&[("b", 3, "z"), ("c", 4, "w")]));
    let comparison = Comparison::of(&cloud, &edge);
    assert!(!comparison.equal());
    let found: Vec<_> = comparison.streams[0]
        .differences
        .iter()
        .map(|one| {
            (
                one.what.split(' ').next().unwrap(),
                one.cloud.is_some(),
                one.edge.is_some(),
            )
        })
        .collect();
    let expected = [
        ("d/configmaps/a", true, false),
        ("d/configmaps/b", true, true),
        ("d/configmaps/c", false, true),
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_same_content_of_another_incarnation_is_a_difference() {
    let cloud = both(held(&[("a", 1, "x")]));
    let mut edge = cloud.clone();
    edge["down"]["epoch"] = json!("f");
    assert!(!Comparison::of(&cloud, &edge).equal());
}
