use serde_json::json;

use super::*;

fn lines() -> Lines {
    Lines::new(Body::empty())
}

#[test]
fn events_are_cut_wherever_the_network_cuts() {
    let text = "{\"type\":\"ADDED\",\"object\":{\"a\":1}}\n{\"type\":\"DELETED\",\"object\":{}}\n\n\
                {\"type\":\"BOOKMARK\",\"object\":{}}\n{\"type\":\"LATER\",\"object\":{}}\n";
    let whole = [
        Event::Present(json!({"a": 1})),
        Event::Gone(json!({})),
        Event::Bookmark(json!({})),
    ];
    for size in 1..text.len() {
        let mut lines = lines();
        let mut events = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            let (more, _) = lines.take(&Bytes::copy_from_slice(piece)).unwrap();
            events.extend(more);
        }
        assert_eq!(events, whole, "in pieces of {size}");
    }
}

#[test]
fn what_is_no_event_ends_the_watch() {
    for text in ["no JSON\n", "[]\n", "{\"type\":\"ERROR\",\"object\":5}\n"] {
        let error = lines()
            .take(&Bytes::from_static(text.as_bytes()))
            .unwrap_err();
        assert_eq!(error.class(), Class::Malformed, "{text}");
    }
}

#[test]
fn an_error_is_an_event() {
    let text = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\
                \"status\":\"Failure\",\"reason\":\"Expired\",\"code\":410}}\n";
    let (events, _) = lines().take(&Bytes::from_static(text.as_bytes())).unwrap();
    assert!(matches!(events.as_slice(), [Event::Error(status)] if status.code == 410));
}

#[test]
fn a_line_without_end_does_not_take_all_memory() {
    let mut lines = lines();
    let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
    for _ in 0..64 {
        assert_eq!(lines.take(&piece).unwrap().0, []);
        assert!(lines.rest.capacity() <= 2 * LINE_BYTES_MAX);
    }
    assert!(lines.rest.is_empty());
    let refused = lines.take(&Bytes::from_static(b"\n")).unwrap_err();
    assert_eq!(refused.class(), Class::Malformed);
}

/// An event of an object with so many bytes of data.
fn large(kind: &str, bytes: usize) -> String {
    let data = "x".repeat(bytes);
    format!(
        "{{\"type\":\"{kind}\",\"object\":{{\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"huge\",\
         \"namespace\":\"shop\",\"uid\":\"u1\",\"resourceVersion\":\"7\",\"labels\":{{\"a\":\"b\"}}}},\
         \"data\":{{\"is\":\"{data}\"}}}}}}\n"
    )
}

fn feed(lines: &mut Lines, text: &str, size: usize) -> Result<Vec<Event>, ApiError> {
    let mut events = Vec::new();
    for piece in text.as_bytes().chunks(size) {
        events.extend(lines.take(&Bytes::copy_from_slice(piece))?.0);
    }
    Ok(events)
}

#[test]
fn of_an_object_too_large_to_be_read_the_name_is_known_and_the_watch_goes_on() {
    let head = json!({"metadata": {"name": "huge", "namespace": "shop", "uid": "u1",
        "resourceVersion": "7"}});
    let text = large("MODIFIED", LINE_BYTES_MAX);
    let bytes = text.len() - 1;
    let expected = [
        Event::TooLarge {
            head: head.clone(),
            bytes,
        },
        Event::Gone(head),
        Event::Bookmark(json!({})),
    ];
    let text = text + &large("DELETED", LINE_BYTES_MAX) + "{\"type\":\"BOOKMARK\",\"object\":{}}\n";
    for size in [64 * 1024, 1_000_003, text.len()] {
        let mut lines = lines();
        assert_eq!(
            feed(&mut lines, &text, size).unwrap(),
            expected,
            "in pieces of {size}"
        );
        assert!(lines.rest.is_empty());
    }
    // One that just fits is read.
    let text = large("ADDED", LINE_BYTES_MAX - large("ADDED", 0).len());
    let events = feed(&mut lines(), &text, 64 * 1024).unwrap();
    assert!(matches!(events.as_slice(), [Event::Present(_)]));
}

#[test]
fn an_event_too_large_that_names_nothing_is_refused_in_words() {
    let unnamed = format!(
        "{{\"type\":\"ADDED\",\"object\":\"{}\"}}\n",
        "x".repeat(LINE_BYTES_MAX)
    );
    for text in [&unnamed, &large("ERROR", LINE_BYTES_MAX)] {
        let error = feed(&mut lines(), text, 64 * 1024).unwrap_err();
        assert_eq!(error.class(), Class::Malformed);
        let why = format!("has {} bytes", text.len() - 1);
        assert!(error.to_string().contains(&why), "{error}");
    }
}

#[test]
fn a_page_without_a_version_is_no_list() {
    let page: ListPage = serde_json::from_str("{\"items\":null,\"metadata\":{}}").unwrap();
    assert!(page.into_page().is_err());
    let page = "{\"items\":[{}],\"metadata\":{\"resourceVersion\":\"4\",\"continue\":\"x\"}}";
    let page: ListPage = serde_json::from_str(page).unwrap();
    let page = page.into_page().unwrap();
    assert_eq!(
        (&*page.version, &*page.next, page.items.len()),
        ("4", "x", 1)
    );
}
