//! The readings of a property.

use anyhow::{Result, bail};
use causeway_simulator::http::Http;
use serde_json::Value;

use super::{Args, explain, moment};
use crate::exit::Code;
use crate::output::{cell, data, talk};

/// Prints them as they come.
pub(super) async fn run(args: &Args, server: &Http, path: &str, property: &str) -> Result<Code> {
    let format = if args.csv { "csv" } else { "json" };
    let mut path = format!("{path}/history/{}?format={format}", escaped(property));
    for (flag, time) in [("since", &args.since), ("until", &args.until)] {
        if let Some(time) = time {
            path.push_str(&format!("&{flag}={}", moment(flag, time)?));
        }
    }
    if let Some(limit) = args.limit {
        path.push_str(&format!("&limit={limit}"));
    }
    let mut lines = server.lines(&path).await.map_err(explain)?;
    let mut end = None;
    while let Some(line) = lines.next().await? {
        if line.is_empty() {
            continue;
        }
        let text = String::from_utf8_lossy(&line);
        if args.csv {
            data(text)?;
            continue;
        }
        let item: Value = serde_json::from_slice(&line)?;
        if item["end"].is_object() {
            end = Some(item["end"].clone());
        }
        if args.json {
            data(text)?;
        } else if let Some(line) = describe(&item) {
            data(line)?;
        }
    }
    if args.csv {
        return Ok(Code::Done);
    }
    let Some(end) = end else {
        bail!("the server broke the history off");
    };
    if !args.json {
        talk(summary(&end, property));
    }
    Ok(Code::Done)
}

/// A line of a history for people; the end is none.
fn describe(item: &Value) -> Option<String> {
    if let Some(dropped) = item["dropped"].as_u64() {
        return Some(format!(
            "··· {dropped} readings of the device were given up here"
        ));
    }
    item.get("value")?;
    let (time, value) = (cell(item, "/time"), cell(item, "/value"));
    Some(format!("{time:<24}  {value}"))
}

fn summary(end: &Value, property: &str) -> String {
    let readings = end["readings"].as_u64().unwrap_or(0);
    let mut text = match readings {
        0 => format!(
            "no readings of {property} are kept here; the annotation causeway.dev/history of the \
             Device says which are"
        ),
        _ => format!("{readings} readings of {property}"),
    };
    if let Some(dropped) = end["dropped"].as_u64().filter(|dropped| *dropped > 0) {
        text.push_str(&format!(", {dropped} given up for want of room"));
    }
    if !end["next"].is_null() {
        text.push_str("; there are more");
    }
    text
}

/// A property as a part of a path.
fn escaped(property: &str) -> String {
    let mut path = String::new();
    for byte in property.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_are_for_people() {
        let reading = json!({"time": "2026-11-20T04:31:07.25Z", "value": "21.5"});
        assert_eq!(
            describe(&reading).unwrap(),
            "2026-11-20T04:31:07.25Z   21.5"
        );
        assert!(
            describe(&json!({"dropped": 3}))
                .unwrap()
                .contains("3 readings")
        );
        assert_eq!(describe(&json!({"end": {"readings": 1}})), None);
        assert_eq!(describe(&json!([])), None);
    }

    #[test]
    fn the_end_says_what_is_missing() {
        let end = json!({"readings": 2, "dropped": 7, "next": "118-3"});
        let text = summary(&end, "power");
        assert!(
            text.contains("2 readings of power") && text.contains("7 given up"),
            "{text}"
        );
        assert!(text.ends_with("there are more"), "{text}");
        assert!(summary(&json!({}), "power").contains("causeway.dev/history"));
    }

    #[test]
    fn names_of_properties_are_one_part_of_a_path() {
        assert_eq!(escaped("a-b_c.d"), "a-b_c.d");
        assert_eq!(escaped("a/b#c@1,:"), "a%2Fb%23c%401%2C%3A");
    }
}
