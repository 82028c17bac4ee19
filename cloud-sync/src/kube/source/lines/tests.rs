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
fn a_line_without_end_is_refused_before_it_takes_all_memory() {
    let mut lines = lines();
    let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
    let refused = (0..64).find_map(|_| lines.take(&piece).err());
    assert_eq!(refused.unwrap().class(), Class::Malformed);
    assert!(lines.rest.len() <= LINE_BYTES_MAX);
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
