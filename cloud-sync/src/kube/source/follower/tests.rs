use serde_json::json;

use super::super::kinds::built_in;
use super::*;

fn follower() -> Follower {
    let maps = |kind: &Kind| kind.resource.is("", "configmaps");
    Follower::new(built_in().into_iter().find(maps).unwrap())
}

fn map(name: &str, version: u64) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"),
        "resourceVersion": version.to_string()}})
}

fn bookmark(version: u64, ends_list: bool) -> Event {
    let annotations = match ends_list {
        true => json!({INITIAL_EVENTS_END: "true"}),
        false => json!({}),
    };
    Event::Bookmark(json!({"metadata": {"resourceVersion": version.to_string(),
        "annotations": annotations}}))
}

fn error(class: Class) -> ApiError {
    ApiError::new(class, "as the test wants it")
}

/// What was seen, in short.
fn short(seen: &[Seen]) -> Vec<String> {
    let one = |seen: &Seen| match seen {
        Seen::Listing { .. } => "listing".to_owned(),
        Seen::Listed { .. } => "listed".to_owned(),
        Seen::Present { key, .. } => format!("+{}", key.name),
        Seen::TooLarge { key, size, .. } => format!("{}:{size}", key.name),
        Seen::Gone { key } => format!("-{}", key.name),
        Seen::Absent { .. } | Seen::Complete { .. } => "other".to_owned(),
    };
    seen.iter().map(one).collect()
}

/// A follower that has listed up to version 7.
fn listed() -> Follower {
    let (mut follower, mut seen) = (follower(), Vec::new());
    follower.ask(&mut seen);
    follower.event(bookmark(7, true), &mut seen).unwrap();
    follower
}

fn watch(from: &str) -> Ask {
    Ask::Watch {
        from: from.to_owned(),
    }
}

#[test]
fn a_streamed_list_is_complete_at_its_bookmark_and_goes_on_as_a_watch() {
    let (mut follower, mut seen) = (follower(), Vec::new());
    assert_eq!(follower.ask(&mut seen), Ask::StreamedList);
    follower
        .event(Event::Present(map("a", 3)), &mut seen)
        .unwrap();
    follower.event(bookmark(5, false), &mut seen).unwrap();
    assert_eq!(follower.condition(), Condition::Starting);
    follower.event(bookmark(7, true), &mut seen).unwrap();
    assert_eq!(follower.condition(), Condition::Following);
    follower.event(Event::Gone(map("a", 8)), &mut seen).unwrap();
    assert_eq!(short(&seen), ["listing", "+a", "listed", "-a"]);
    assert_eq!(follower.ended(0.5), Duration::ZERO);
    assert_eq!(follower.ask(&mut seen), watch("8"));
}

#[test]
fn an_object_too_large_holds_nothing_up() {
    let (mut follower, mut seen) = (listed(), Vec::new());
    let (head, bytes) = (map("huge", 8), 99);
    let event = Event::TooLarge { head, bytes };
    follower.event(event, &mut seen).unwrap();
    let fine = Event::Present(map("a", 9));
    follower.event(fine, &mut seen).unwrap();
    assert_eq!(short(&seen), ["huge:99", "+a"]);
    assert_eq!(follower.condition(), Condition::Following);
    assert_eq!(follower.ask(&mut seen), watch("9"));
}

#[test]
fn what_is_no_event_is_not_asked_for_again_and_again() {
    let (mut follower, mut seen) = (listed(), Vec::new());
    follower.ask(&mut seen);
    for _ in 0..UNREADABLE_MAX {
        assert_eq!(follower.ask(&mut seen), watch("7"));
        assert!(follower.failed(&error(Class::Malformed), 0.0) > Duration::ZERO);
    }
    assert_eq!(follower.ask(&mut seen), Ask::StreamedList);
    for _ in 0..STREAMS_BROKEN_MAX {
        follower.failed(&error(Class::Malformed), 0.0);
        follower.ask(&mut seen);
    }
    assert!(matches!(follower.ask(&mut seen), Ask::Page { .. }));
}

#[test]
fn a_list_that_broke_off_is_not_complete_and_begins_again() {
    let (mut follower, mut seen) = (follower(), Vec::new());
    follower.ask(&mut seen);
    follower
        .event(Event::Present(map("a", 3)), &mut seen)
        .unwrap();
    assert!(follower.failed(&error(Class::Unreachable), 0.0) > Duration::ZERO);
    assert_eq!(follower.ask(&mut seen), Ask::StreamedList);
    assert_eq!(short(&seen), ["listing", "+a", "listing"]);
}

#[test]
fn servers_that_do_not_stream_lists_are_asked_for_pages() {
    let (mut follower, mut seen) = (follower(), Vec::new());
    follower.ask(&mut seen);
    assert_eq!(follower.failed(&error(Class::Invalid), 1.0), Duration::ZERO);
    let page = |after: Option<&str>| Ask::Page {
        limit: PAGE_MAX,
        after: after.map(str::to_owned),
    };
    assert_eq!(follower.ask(&mut seen), page(None));
    let first = Page {
        version: "9".to_owned(),
        next: "more".to_owned(),
        items: vec![map("a", 3)],
    };
    follower.page(first, &mut seen);
    assert_eq!(follower.ask(&mut seen), page(Some("more")));
    let last = Page {
        version: "9".to_owned(),
        next: String::new(),
        items: vec![map("b", 4)],
    };
    follower.page(last, &mut seen);
    assert_eq!(short(&seen), ["listing", "listing", "+a", "+b", "listed"]);
    assert_eq!(follower.ask(&mut seen), watch("9"));
}

#[test]
fn a_server_that_takes_a_streamed_list_for_a_watch_is_found_out() {
    let (mut follower, mut seen) = (follower(), Vec::new());
    for _ in 0..STREAMS_BROKEN_MAX {
        assert_eq!(follower.ask(&mut seen), Ask::StreamedList);
        follower
            .event(Event::Present(map("a", 3)), &mut seen)
            .unwrap();
        follower.ended(0.0);
    }
    assert!(matches!(follower.ask(&mut seen), Ask::Page { .. }));
    assert!(!short(&seen).contains(&"listed".to_owned()));
}

#[test]
fn pages_of_a_version_that_is_gone_are_asked_for_from_the_beginning() {
    let (mut follower, mut seen) = (follower(), Vec::new());
    follower.ask(&mut seen);
    follower.failed(&error(Class::Invalid), 0.0);
    follower.ask(&mut seen);
    let first = Page {
        version: "9".to_owned(),
        next: "more".to_owned(),
        items: Vec::new(),
    };
    follower.page(first, &mut seen);
    follower.failed(&error(Class::Gone), 0.0);
    seen.clear();
    assert!(matches!(
        follower.ask(&mut seen),
        Ask::Page { after: None, .. }
    ));
    assert_eq!(short(&seen), ["listing"]);
}

#[test]
fn pages_too_large_for_one_answer_get_smaller() {
    let (mut follower, mut seen) = (follower(), Vec::new());
    follower.ask(&mut seen);
    follower.failed(&error(Class::Invalid), 0.0);
    for limit in [500, 250, 125] {
        assert_eq!(follower.ask(&mut seen), Ask::Page { limit, after: None });
        follower.failed(&error(Class::Malformed), 0.0);
    }
    for _ in 0..20 {
        follower.failed(&error(Class::Malformed), 0.0);
    }
    assert!(matches!(
        follower.ask(&mut seen),
        Ask::Page { limit: 1, .. }
    ));
}

#[test]
fn a_watch_that_broke_goes_on_where_it_stood() {
    let (mut follower, mut seen) = (listed(), Vec::new());
    for class in [
        Class::Unreachable,
        Class::Busy,
        Class::Credentials,
        Class::Malformed,
    ] {
        assert!(follower.failed(&error(class), 0.0) > Duration::ZERO);
        assert_eq!(follower.condition(), Condition::Behind);
        assert_eq!(follower.ask(&mut seen), watch("7"));
    }
    follower.event(bookmark(8, false), &mut seen).unwrap();
    assert_eq!(follower.condition(), Condition::Following);
    assert_eq!(short(&seen), [""; 0]);
}

#[test]
fn a_version_that_is_gone_is_listed_anew_at_once_and_then_with_pauses() {
    let (mut follower, mut seen) = (listed(), Vec::new());
    follower.ask(&mut seen);
    let gone = Event::Error(Box::new(Status::gone("too old")));
    let error = follower.event(gone, &mut seen).unwrap_err();
    assert_eq!(error.class(), Class::Gone);
    assert_eq!(follower.failed(&error, 0.0), Duration::ZERO);
    assert_eq!(follower.ask(&mut seen), Ask::StreamedList);
    assert!(
        follower.failed(&error, 0.0) > Duration::ZERO,
        "no storm of lists"
    );
}

#[test]
fn what_may_not_be_read_is_tried_seldom_and_listed_when_it_may() {
    let mut follower = listed();
    for class in [Class::Forbidden, Class::NotFound] {
        let pause = follower.failed(&error(class), 0.0);
        assert!(pause >= PAUSE_REFUSED / 2, "{pause:?}");
        assert_eq!(follower.ask(&mut Vec::new()), Ask::StreamedList);
    }
}

#[test]
fn pauses_grow_to_a_bound_and_listen_to_the_server() {
    let mut follower = follower();
    let mut before = Duration::ZERO;
    for _ in 0..40 {
        let pause = follower.failed(&error(Class::Unreachable), 1.0);
        assert!(pause >= before && pause <= PAUSE_MAX, "{pause:?}");
        before = pause;
    }
    assert_eq!(before, PAUSE_MAX);
    let busy = ApiError::answered(
        http::StatusCode::TOO_MANY_REQUESTS,
        Some(Duration::from_secs(45)),
        b"",
    );
    assert_eq!(follower.failed(&busy, 0.0), Duration::from_secs(45));
}

#[test]
fn a_watch_that_ends_at_once_again_and_again_is_no_busy_loop() {
    let (mut follower, mut seen) = (listed(), Vec::new());
    follower.ask(&mut seen);
    assert!(follower.ended(0.0) > Duration::ZERO);
    follower.ask(&mut seen);
    follower
        .event(Event::Present(map("a", 9)), &mut seen)
        .unwrap();
    assert_eq!(follower.ended(0.0), Duration::ZERO);
}
