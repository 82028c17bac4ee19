use std::time::Duration;

use super::*;

fn name(name: &str) -> Name {
    ("default".to_owned(), name.to_owned())
}

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

#[test]
fn what_came_first_is_looked_at_first_and_once() {
    let mut agenda = Agenda::default();
    for one in ["b", "a", "b", "c"] {
        agenda.touch(name(one));
    }
    assert_eq!(agenda.wake(at(1)), Some(at(1)));
    assert_eq!(agenda.take(at(1), 2), [name("b"), name("a")]);
    agenda.touch(name("b"));
    assert_eq!(agenda.take(at(1), 2), [name("c"), name("b")]);
    assert_eq!(agenda.wake(at(1)), None);
}

#[test]
fn the_earliest_time_counts_and_looking_makes_it_void() {
    let mut agenda = Agenda::default();
    agenda.touch_at(&name("a"), at(9));
    agenda.touch_at(&name("a"), at(5));
    agenda.touch_at(&name("a"), at(7));
    agenda.touch_at(&name("b"), at(6));
    assert_eq!(agenda.wake(at(0)), Some(at(5)));
    assert_eq!(agenda.take(at(5), 9), [name("a")]);
    agenda.touch(name("b"));
    assert_eq!(agenda.take(at(5), 9), [name("b")]);
    assert_eq!(agenda.wake(at(5)), None);
}

#[test]
fn what_waits_comes_when_it_is_released() {
    let mut agenda = Agenda::default();
    for one in ["a", "b", "c"] {
        agenda.wait(Turn::Act, name(one));
    }
    agenda.wait(Turn::Tell, name("a"));
    assert_eq!(agenda.take(at(0), 9), []);
    agenda.release(Turn::Act, 2);
    assert_eq!(agenda.take(at(0), 9), [name("a"), name("b")]);
    assert!(agenda.is_waited(Turn::Act) && agenda.is_waited(Turn::Tell));
    agenda.release(Turn::Act, 9);
    agenda.release(Turn::Tell, 9);
    assert!(!agenda.is_waited(Turn::Act) && !agenda.is_waited(Turn::Tell));
    assert_eq!(agenda.take(at(0), 9), [name("c"), name("a")]);
}
