//! What devices see, the same with either broker.

use serde_json::{Value, json};

use super::{Listener, Site, actual, device_key, metric, publish, publish_with, topic};
use causeway_log::Op;

/// Reports, questions and states with their answers, by KubeEdge's names.
async fn speaks(site: Site) {
    let all = site.listener().await;
    let mut report = actual("temperature", "21.5");
    report["timestamp"] = json!(1_700_000_000_123_u64);
    report["twin"]["temperature"]["metadata"] = json!({ "type": "float" });
    let result = site.ask(&all, "twin/update", "report", report).await;
    let temperature = &result["twin"]["temperature"];
    assert_eq!(temperature["actual"]["value"], "21.5");
    assert_eq!(
        temperature["actual"]["metadata"]["timestamp"],
        1_700_000_000_123_u64
    );
    assert_eq!(temperature["metadata"]["type"], "float");
    assert_eq!(temperature["actual_version"]["edge"], 1);
    assert!(
        result["timestamp"].as_u64() > Some(1_700_000_000_000),
        "{result}"
    );
    let document = all
        .hears("the document", |topic, _| {
            topic.ends_with("update/document")
        })
        .await;
    let pair = &document["twin"]["temperature"];
    assert_eq!(pair["last"], Value::Null);
    assert_eq!(pair["current"]["actual"]["value"], "21.5");

    let twin = site.ask(&all, "twin/get", "question", json!({})).await;
    assert_eq!(twin["twin"]["temperature"]["actual"]["value"], "21.5");
    assert_eq!(twin["twin"]["target"]["metadata"]["type"], "int");

    let state = json!({ "state": "online", "attributes": { "vendor": { "value": "acme" } } });
    let answer = site.ask(&all, "state/update", "state", state).await;
    assert_eq!(answer["device"]["name"], "thermo");
    assert_eq!(answer["device"]["state"], "online");
    assert!(answer["device"]["lastOnlineTime"].is_string(), "{answer}");
    let attributes = all
        .hears("attributes", |topic, _| topic.ends_with("thermo/updated"))
        .await;
    assert_eq!(attributes["attributes"]["vendor"]["value"], "acme");

    publish(site.port, "$hw/events/node/edge-1/membership/get", "").await;
    let members = all
        .hears("the members", |topic, _| {
            topic.ends_with("membership/get/result")
        })
        .await;
    assert_eq!(members["devices"][0]["id"], "default/thermo");
    assert_eq!(members["devices"][0]["state"], "online");
    site.stop().await;
}

/// A change of what is wanted reaches the device, and so does one that it does not follow.
async fn is_told_what_is_wanted(site: Site) {
    let all = site.listener().await;
    let delta = |value: &'static str| {
        move |topic: &str, it: &Value| {
            topic == "$hw/events/device/default/thermo/twin/update/delta"
                && it["delta"]["target"] == value
        }
    };
    site.cloud.device("thermo", Some("21"), "");
    let told = all.hears("the delta", delta("21")).await;
    assert_eq!(told["twin"]["target"]["expected"]["value"], "21");
    assert!(told["twin"]["target"]["expected_version"]["cloud"].as_u64() > Some(0));
    let document = all
        .hears("the document", |topic, it| {
            topic.ends_with("update/document") && it["twin"]["target"].is_object()
        })
        .await;
    let current = &document["twin"]["target"]["current"];
    assert_eq!(current["expected"]["value"], "21");

    // It does something else: told again. It does as it should: there is no more to be told.
    let before = all.count(delta("21"));
    site.ask(&all, "twin/update", "other", actual("target", "20"))
        .await;
    all.hears("the reminder", |topic, it| {
        delta("21")(topic, it) && it["twin"]["target"]["actual"]["value"] == "20"
    })
    .await;
    let mut done = actual("target", "21");
    done["twin"]["target"]["expected"] = json!({ "value": "21" });
    site.ask(&all, "twin/update", "done", done).await;
    site.ask(&all, "twin/update", "echo", actual("target", "21"))
        .await;
    assert_eq!(all.count(delta("21")), before + 1);

    // Who comes later asks, or is told with the next change.
    site.cloud.device("other", None, "");
    let added = all
        .hears("the new device", |topic, it| {
            topic.ends_with("membership/updated") && it["added_devices"][0]["id"] == "default/other"
        })
        .await;
    assert_eq!(added["removed_devices"], json!([]));
    site.cloud.no_device("other");
    all.hears("the end of it", |topic, it| {
        topic.ends_with("membership/updated") && it["removed_devices"][0]["id"] == "default/other"
    })
    .await;
    site.stop().await;
}

/// Whatever is wrong is answered with a code and a reason, and counted; nothing of it is taken.
async fn refuses(site: Site) {
    let all = site.listener().await;
    let mistakes = [
        (404, actual("humidity", "1")),
        (400, actual("temp erature", "1")),
        (400, actual("temperature", "warm")),
        (400, actual("temperature", "126")),
        (400, actual("temperature", &"9".repeat(5000))),
        (400, json!({})),
        (400, json!({ "twin": { "temperature": {} } })),
        (
            400,
            json!({ "twin": { "temperature": { "actual": { "value": [] } } } }),
        ),
        (
            400,
            json!({ "timestamp": -1, "twin": { "temperature": { "actual": { "value": "1" } } } }),
        ),
    ];
    for (number, (code, body)) in mistakes.into_iter().enumerate() {
        let answer = site
            .ask(
                &all,
                "twin/update",
                &format!("mistake-{number}"),
                body.clone(),
            )
            .await;
        assert_eq!(answer["code"], code, "{body}: {answer}");
        assert!(answer["reason"].as_str().is_some_and(|it| !it.is_empty()));
        assert_eq!(answer.get("twin"), None);
    }
    // All or nothing.
    let mut half = actual("temperature", "20");
    half["twin"]["humidity"] = json!({ "actual": { "value": "1" } });
    let answer = site.ask(&all, "twin/update", "half", half).await;
    assert_eq!(answer["code"], 404);
    let twin = site.ask(&all, "twin/get", "untouched", json!({})).await;
    assert_eq!(twin["twin"]["temperature"].get("actual"), None);
    let dir = site.dir.path();
    for (outcome, least) in [("invalid", 8), ("unknown", 2)] {
        let name = format!("causeway_mqtt_received_total{{outcome=\"{outcome}\"}}");
        let count = metric(dir, &name).await;
        assert!(count >= least, "{outcome}: {count}");
    }
    site.stop().await;
}

/// What is no report at all does no harm either.
async fn survives(site: Site) {
    let all = site.listener().await;
    let on = |end: &'static str, reason: &'static str| {
        move |topic: &str, it: &Value| {
            topic.ends_with(end) && it["reason"].as_str().is_some_and(|it| it.contains(reason))
        }
    };
    for garbage in ["{", "", "null", "[1]", "\u{0}\u{1}"] {
        publish(site.port, &topic("thermo", "twin/update"), garbage).await;
    }
    all.hears("bad JSON", on("thermo/twin/update/result", "no JSON"))
        .await;
    publish(
        site.port,
        &topic("nobody", "twin/update"),
        &actual("a", "1").to_string(),
    )
    .await;
    let answer = all
        .hears("nobody", on("nobody/twin/update/result", "no device"))
        .await;
    assert_eq!(answer["code"], 404);
    let strange = site
        .ask(
            &all,
            "state/update",
            "strange",
            json!({ "state": "burning" }),
        )
        .await;
    assert_eq!(strange["code"], 400);

    // A megabyte; what comes after it is heard.
    let large = actual("label", &"x".repeat(1024 * 1024)).to_string();
    publish_with(
        site.port,
        &topic("thermo", "twin/update"),
        large.into(),
        &[],
    )
    .await;
    let answer = all
        .hears("too large", on("thermo/twin/update/result", "too large"))
        .await;
    assert_eq!(answer["code"], 400);
    let well = site
        .ask(&all, "twin/update", "well", actual("temperature", "20"))
        .await;
    assert_eq!(well["twin"]["temperature"]["actual"]["value"], "20");
    let dir = site.dir.path();
    for (outcome, least) in [
        ("invalid", 6),
        ("unknown", 1),
        ("too_large", 1),
        ("taken", 1),
    ] {
        let name = format!("causeway_mqtt_received_total{{outcome=\"{outcome}\"}}");
        let count = metric(dir, &name).await;
        assert!(count >= least, "{outcome}: {count}");
    }
    site.stop().await;
}

/// Versions order values, clocks do not.
async fn orders_by_version(site: Site) {
    let all = site.listener().await;
    let versioned = |value: &str, version: u64, time: u64| {
        let mut body = actual("temperature", value);
        body["twin"]["temperature"]["actual_version"] = json!({ "cloud": 0, "edge": version });
        body["timestamp"] = json!(time);
        body
    };
    // Two centuries ahead, then two years behind.
    site.ask(
        &all,
        "twin/update",
        "future",
        versioned("1", 5, 8_000_000_000_000),
    )
    .await;
    let behind = site
        .ask(
            &all,
            "twin/update",
            "behind",
            versioned("2", 6, 1_600_000_000_000),
        )
        .await;
    assert_eq!(behind["twin"]["temperature"]["actual"]["value"], "2");
    let stale = site
        .ask(
            &all,
            "twin/update",
            "stale",
            versioned("3", 5, 9_000_000_000_000),
        )
        .await;
    assert_eq!(stale["code"], 409);
    let twin = site.ask(&all, "twin/get", "after", json!({})).await;
    assert_eq!(twin["twin"]["temperature"]["actual"]["value"], "2");
    let gone = json!({ "twin": { "temperature": null } });
    let gone = site.ask(&all, "twin/update", "gone", gone).await;
    assert_eq!(gone["twin"]["temperature"].get("actual"), None);
    site.stop().await;
}

/// A device may ask for another desired value: a request that the cloud answers.
async fn wishes(site: Site) {
    let all = site.listener().await;
    let wish = json!({ "twin": { "target": { "expected": { "value": "25" } } } });
    let answer = site.ask(&all, "twin/update", "wish", wish).await;
    assert_eq!(answer.get("code"), None, "{answer}");
    let key = device_key("devices", "thermo");
    site.cloud
        .hears("the request", |records| {
            records.iter().any(|stored| {
                let header = &stored.record.header;
                header.op == Op::Apply && header.key == key
            })
        })
        .await;
    let wrong = json!({ "twin": { "target": { "expected": { "value": "31" } } } });
    let refused = site.ask(&all, "twin/update", "too warm", wrong).await;
    assert_eq!(refused["code"], 400, "{refused}");
    site.stop().await;
}

macro_rules! with_both {
    ($($name:ident: $body:ident;)*) => { $(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn on_mosquitto() {
                $body(Site::external("").await).await;
            }

            #[tokio::test]
            async fn on_the_embedded_broker() {
                $body(Site::embedded("").await).await;
            }
        }
    )* };
}

with_both! {
    a_device_speaks_and_is_answered: speaks;
    a_device_is_told_what_is_wanted_of_it: is_told_what_is_wanted;
    what_is_wrong_is_refused_with_a_reason: refuses;
    what_is_no_report_at_all_does_no_harm: survives;
    a_stale_value_loses_by_version_and_never_by_time: orders_by_version;
    a_device_may_ask_for_another_desired_value: wishes;
}

#[tokio::test]
async fn a_topic_that_is_too_loud_is_told_so_and_stalls_nobody() {
    let broker = super::Mosquitto::start("").await;
    let port = broker.port;
    let site = Site::start(Some(broker), port, "", |config| {
        (config.mqtt.rate, config.mqtt.burst) = (1, 10);
    })
    .await;
    let all = Listener::start(site.port, &[&topic("thermo", "twin/update/result")]).await;
    let lines: Vec<String> = (0..100)
        .map(|it| actual("temperature", &it.to_string()).to_string())
        .collect();
    super::publish_lines(site.port, &topic("thermo", "twin/update"), &lines).await;
    let told = all
        .hears("the limit", |_, it| {
            it["reason"].as_str().is_some_and(|it| it.contains("rate"))
        })
        .await;
    assert_eq!(told["code"], 500);
    let limited = "causeway_mqtt_received_total{outcome=\"limited\"}";
    super::until_metric(site.dir.path(), limited, |count| count >= 80).await;
    // Another topic is heard.
    let asked = topic("thermo", "state/update");
    let state = Listener::start(site.port, &[&format!("{asked}/result")]).await;
    publish(
        site.port,
        &asked,
        "{\"event_id\":\"quiet\",\"state\":\"ok\"}",
    )
    .await;
    state.answer("state/update/result", "quiet").await;
    site.stop().await;
}
