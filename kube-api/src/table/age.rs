//! Durations as kubectl prints them.

use causeway_log::WallTime;
use serde_json::Value;

/// What stands where a time is not known.
const UNKNOWN: &str = "<unknown>";

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// A duration in seconds, in about two digits: `75s`, `3m20s`, `5h`, `2d3h`, `400d`, `3y35d`.
pub(super) fn human(seconds: i64) -> String {
    let two = |whole: i64, unit: &str, part: i64, part_unit: &str| match part {
        0 => format!("{whole}{unit}"),
        _ => format!("{whole}{unit}{part}{part_unit}"),
    };
    match seconds {
        // Clocks differ a little; a future of more than a second is no age.
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds / HOUR, "h", seconds / MINUTE % 60, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds / DAY, "d", seconds / HOUR % 24, "h"),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two(seconds / YEAR, "y", seconds / DAY % 365, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// Seconds since the Unix epoch of an RFC 3339 time.
pub(super) fn seconds_of(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_second)
}

/// Seconds since the Unix epoch.
pub(super) fn seconds(now: WallTime) -> i64 {
    i64::try_from(now.unix_millis() / 1000).unwrap_or(i64::MAX)
}

/// How long ago an RFC 3339 time was.
pub(super) fn since_text(time: &str, now: WallTime) -> String {
    match seconds_of(time) {
        Some(then) => human(seconds(now).saturating_sub(then)),
        None => UNKNOWN.to_owned(),
    }
}

/// How long ago the time in a field was.
pub(super) fn since(time: &Value, now: WallTime) -> String {
    since_text(time.as_str().unwrap_or(""), now)
}
