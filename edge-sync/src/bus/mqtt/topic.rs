//! Names and filters of topics.

use super::TOPIC_BYTES_MAX;

/// Whether a message may have this topic.
pub(crate) fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#', '\0'])
}

/// Whether it is a filter: `+` and `#` stand alone in their level, `#` in the last one.
pub(crate) fn is_filter(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let is_wild = level.contains(['+', '#']);
        if is_wild && (level.len() > 1 || (level == "#" && levels.peek().is_some())) {
            return false;
        }
    }
    !filter.is_empty() && filter.len() <= TOPIC_BYTES_MAX && !filter.contains('\0')
}

/// Whether a filter selects a topic. A wildcard in the first level selects no topic that begins
/// with `$`.
#[cfg(any(feature = "broker", test))]
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            // `a/#` selects `a` too.
            (Some("#"), _) => return true,
            (Some("+"), Some(_)) | (None, None) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
        if filter.clone().next().is_none() && topic.clone().next().is_none() {
            return true;
        }
    }
}
