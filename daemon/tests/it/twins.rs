//! The inspection routes of device twins and their histories.

use causeway_log::{Op, Resource, StreamId, WallTime};
use causeway_projections::twin::history::{Chunk, Reading};
use causeway_projections::twin::{Desired, Report, Reported, Rules, TwinVersion, Value, wishes};
use serde_json::json;

use crate::inspect::{Daemon, node};

const TWIN: &str = "nodes/edge-1/twins/default/oven";
const HISTORY: &str = "nodes/edge-1/twins/default/oven/history/temperature";

fn resource(plural: &str) -> Resource {
    Resource::new("devices.kubeedge.io", plural)
}

fn body(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap()
}

/// An oven at 180 that should be at 200, with a model.
fn an_oven() -> Daemon {
    let daemon = Daemon::new();
    let (down, up) = (StreamId::down(node()), StreamId::up(node()));
    let model = json!({ "spec": { "properties": [
        { "name": "temperature", "type": "INT", "accessMode": "ReadWrite" },
        { "name": "door", "type": "STRING", "accessMode": "ReadOnly" },
    ]}});
    let oven = json!({
        "metadata": { "annotations": { "causeway.dev/history": "temperature=every:10s" } },
        "spec": {
            "deviceModelRef": { "name": "model" },
            "properties": [{ "name": "temperature", "desired": { "value": "200" } }],
        },
    });
    daemon.write(
        down.clone(),
        resource("devicemodels"),
        "model",
        Op::Put,
        &model,
    );
    daemon.write(down.clone(), resource("devices"), "oven", Op::Put, &oven);
    let desired = Desired::default()
        .advance(&wishes(&oven), TwinVersion::new(7), WallTime::default())
        .unwrap();
    daemon.write(
        down,
        resource("devices"),
        "oven",
        Op::Twin,
        &body(&desired.encode()),
    );
    let mut reported = Reported::default();
    let report = Report {
        value: Some(Value::new("180")),
        ..Report::default()
    };
    let rules = Rules::of(&oven, Some(&model));
    reported.report("temperature", report, &rules).unwrap();
    let now = WallTime::from_unix_millis(1000);
    reported.report_state("online", now).unwrap();
    daemon.write(
        up,
        resource("devices"),
        "oven",
        Op::Twin,
        &body(&reported.encode()),
    );
    daemon
}

fn remember(daemon: &Daemon, dropped: u64, readings: &[(u64, &str)]) {
    let mut chunk = Chunk::after(dropped);
    for (seconds, value) in readings {
        let reading = Reading {
            time: WallTime::from_unix_millis(seconds * 1000),
            value: (*value).into(),
        };
        assert!(chunk.push(&"temperature".into(), reading));
    }
    let key = Resource::new("causeway.dev", "devicereadings");
    let up = StreamId::up(node());
    daemon.write(up, key, "oven", Op::Fact, &body(&chunk.encode()));
}

#[tokio::test]
async fn a_device_shows_both_sides_and_what_is_open() {
    let daemon = an_oven();
    let (code, twin) = daemon.json(TWIN).await;
    assert_eq!(code, 200, "{twin}");
    assert_eq!(twin["model"], "model");
    assert_eq!(twin["state"]["state"], "online");
    assert_eq!(twin["versions"], json!({ "desired": 7, "reported": 1 }));
    let properties = twin["properties"].as_array().unwrap();
    let names: Vec<_> = properties.iter().map(|it| it["name"].as_str()).collect();
    assert_eq!(names, [Some("door"), Some("temperature")]);
    let temperature = &properties[1];
    assert_eq!(temperature["desired"]["value"], "200");
    assert_eq!(temperature["reported"]["value"], "180");
    assert_eq!(
        (
            &temperature["delta"],
            &temperature["type"],
            &temperature["history"]
        ),
        (&json!(true), &json!("INT"), &json!("every:10s"))
    );
    let (_, list) = daemon.json("nodes/edge-1/twins").await;
    assert_eq!(list["devices"][0]["digest"], twin["digest"]);
    assert_eq!(
        (&list["devices"][0]["delta"], &list["next"]),
        (&json!(1), &json!(null))
    );
    let (_, page) = daemon.json("nodes/edge-1/twins?limit=1").await;
    assert_eq!(page["next"], "default/oven");
    let (_, rest) = daemon
        .json("nodes/edge-1/twins?limit=1&after=default/oven")
        .await;
    assert_eq!(rest["devices"], json!([]));
}

#[tokio::test]
async fn what_nobody_can_say_or_read_is_told() {
    let daemon = an_oven();
    let oven = json!({
        "metadata": { "annotations": { "causeway.dev/history": "temperature" } },
        "spec": { "properties": [{ "name": "temperature" }] },
    });
    let (down, up) = (StreamId::down(node()), StreamId::up(node()));
    daemon.write(down, resource("devices"), "oven", Op::Put, &oven);
    let mut reported = Reported::default();
    reported
        .report_state("online", WallTime::from_unix_millis(1))
        .unwrap();
    reported.take_state(reported.decide_doubt(true));
    let document = body(&reported.encode());
    daemon.write(up, resource("devices"), "oven", Op::Twin, &document);
    let (_, twin) = daemon.json(TWIN).await;
    let state = [&twin["state"]["state"], &twin["state"]["said"]];
    assert_eq!(state, ["unknown", "online"]);
    let mistake = twin["historyMistake"].as_str().unwrap();
    assert!(
        mistake.starts_with("\"temperature\": expected"),
        "{mistake}"
    );
}

#[tokio::test]
async fn a_history_is_lines_with_an_end() {
    let daemon = an_oven();
    let end = |readings, dropped, next| json!({ "end": { "readings": readings, "dropped": dropped, "next": next } });
    let none = daemon.lines(HISTORY).await;
    assert_eq!(
        none,
        [end(0, 0, json!(null))],
        "kept by policy, and nothing came"
    );
    remember(&daemon, 0, &[(60, "170"), (70, "175")]);
    remember(&daemon, 3, &[(100, "180")]);
    let whole = daemon.lines(HISTORY).await;
    let reading = |time, value| json!({ "time": time, "value": value });
    let expected = [
        reading("1970-01-01T00:01:00Z", "170"),
        reading("1970-01-01T00:01:10Z", "175"),
        json!({ "dropped": 3 }),
        reading("1970-01-01T00:01:40Z", "180"),
        end(3, 3, json!(null)),
    ];
    assert_eq!(whole, expected);
    let first = daemon.lines(&format!("{HISTORY}?limit=1")).await;
    assert_eq!(first[0], expected[0]);
    let next = first[1]["end"]["next"].as_str().unwrap();
    let rest = daemon.lines(&format!("{HISTORY}?after={next}")).await;
    assert_eq!(rest[..3], expected[1..4]);
    let some = daemon
        .lines(&format!(
            "{HISTORY}?since=1970-01-01T00:01:05Z&until=2100-01-01T00:00:00Z"
        ))
        .await;
    assert_eq!(some[0], expected[1]);
    let response = daemon.get(HISTORY).await;
    assert_eq!(response.headers()["causeway-trimmed"], "false");
    assert!(response.headers().contains_key("causeway-oldest"));
}

#[tokio::test]
async fn a_history_as_csv_quotes_what_it_must() {
    let daemon = an_oven();
    remember(&daemon, 2, &[(1, "a,\"b\""), (2, "5")]);
    let (code, text) = daemon.text(&format!("{HISTORY}?format=csv")).await;
    assert_eq!(code, 200);
    let expected = "time,value,dropped\n,,2\n1970-01-01T00:00:01Z,\"a,\"\"b\"\"\",\n\
                    1970-01-01T00:00:02Z,5,\n";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn wrong_questions_about_twins_are_told() {
    let daemon = an_oven();
    for (path, code) in [
        ("nodes/other/twins", 404),
        ("nodes/Edge_1/twins", 400),
        ("nodes/edge-1/twins?limit=0", 400),
        ("nodes/edge-1/twins?limit=1001", 400),
        ("nodes/edge-1/twins?after=oven", 400),
        ("nodes/edge-1/twins/default/none", 404),
        ("nodes/edge-1/twins/default/none/history/temperature", 404),
        ("nodes/edge-1/twins/default/oven/history/none", 404),
        ("nodes/edge-1/twins/default/oven/history/%20", 400),
        ("nodes/edge-1/twins/default/oven/history/door", 200),
    ] {
        assert_eq!(daemon.text(path).await.0, code, "{path}");
    }
    for question in [
        "since=yesterday",
        "until=5",
        "after=x",
        "format=xml",
        "limit=-1",
        "sinse=1m",
    ] {
        let path = format!("{HISTORY}?{question}");
        assert_eq!(daemon.text(&path).await.0, 400, "{path}");
    }
}
