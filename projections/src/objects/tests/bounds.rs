//! What the fold forgets, and what it says of it.

use super::*;

#[test]
fn tombstones_are_bounded_and_raise_the_floor() {
    let limits = Limits {
        tombstones_max: 2,
        ..Limits::default()
    };
    let mut objects = Objects::with_limits(limits);
    let mut log = Log::default();
    for uid in 1..=4 {
        for op in [Op::Put, Op::Delete] {
            let (stream, stored) = log.add(Direction::Down, op, key("a", uid), json!({}));
            objects.apply(&stream, &stored);
        }
    }
    assert_eq!(objects.floor(), Revision::new(4));
    assert_eq!(objects.changes_after(&pods(), Revision::ZERO).count(), 2);
    assert!(objects.is_empty());
}

#[test]
fn facts_are_bounded() {
    let mut objects = Objects::with_limits(Limits {
        facts_max: 2,
        ..Limits::default()
    });
    let mut log = Log::default();
    for uid in 1..=5 {
        let name = format!("e{uid}");
        let (stream, stored) = log.add(Direction::Up, Op::Fact, key(&name, uid), json!({}));
        objects.apply(&stream, &stored);
    }
    let names: Vec<_> = objects
        .list(&pods(), None, None)
        .map(|it| it.key().name.clone())
        .collect();
    assert_eq!(
        names.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["e4", "e5"]
    );
    assert_eq!(objects.len(), 2);
}
