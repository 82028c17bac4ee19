//! What mappers report: taken, refused in words, and what is durable of it.

use std::collections::BTreeMap;

use causeway_dmi::messages::{
    DeviceStatus, ReportDeviceStatesRequest, ReportDeviceStatusRequest, Twin, TwinProperty,
};
use causeway_dmi::{Code, MESSAGE_BYTES_MAX, ManagerClient};
use serde_json::Value;

use super::site::{Mapper, Site, report};

async fn site() -> (Site, ManagerClient) {
    let site = Site::start().await;
    site.model();
    site.device("hall", "modbus", "20");
    site.knows(&["hall"]).await;
    let node = Mapper::start(&site, "modbus", "rooms").node();
    (site, node)
}

/// What the node itself says of a property.
async fn shown(site: &Site, device: &str, property: &str) -> Value {
    let path = format!("/causeway/v1/nodes/edge-1/twins/default/{device}");
    let twin = site.edge().client.get_path(&path).await.unwrap();
    let mut all = twin["properties"].as_array().unwrap().iter();
    let found = all.find(|it| it["name"] == property);
    found.unwrap()["reported"].clone()
}

fn states(device: &str, state: &str) -> ReportDeviceStatesRequest {
    ReportDeviceStatesRequest {
        device_name: device.to_owned(),
        // Mappers of old name no namespace.
        device_namespace: String::new(),
        state: state.to_owned(),
    }
}

#[tokio::test]
async fn values_and_states_reach_the_cloud() {
    let (site, node) = site().await;
    site.reported(&node, report("hall", &[("temperature", "19.5")]))
        .await;
    node.report_device_states(states("hall", "ONLINE"))
        .await
        .unwrap();
    site.cloud
        .hears("the state", |records| {
            records.iter().any(|stored| {
                let text = String::from_utf8_lossy(stored.record.body.bytes()).into_owned();
                text.contains(r#""state":"online""#)
            })
        })
        .await;
    site.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_named_and_the_rest_is_kept() {
    let (site, node) = site().await;
    let values = [
        ("temperature", "19.5"),
        ("target", "warm"),
        ("humidity", "40"),
    ];
    let refused = node
        .report_device_status(report("hall", &values))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let what = refused.message();
    assert!(
        what.contains("\"target\": the value is not acceptable: the value is not of type FLOAT"),
        "{what}"
    );
    assert!(
        what.contains("\"humidity\": the device has no such property"),
        "{what}"
    );
    assert!(!what.contains("temperature"), "{what}");
    site.cloud_hears("hall", "temperature", "19.5").await;
    let out = report("hall", &[("temperature", "81")]);
    let refused = node.report_device_status(out).await.unwrap_err();
    assert!(refused.message().contains("out of range"), "{refused}");
    let text = site.metrics().await;
    assert!(text.contains("causeway_dmi_refused_total 3"), "{text}");
    site.stop().await;
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_with_them() {
    let (site, node) = site().await;
    let nobody = node.report_device_status(report("cellar", &[("temperature", "1")]));
    let refused = nobody.await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(refused.message(), "this node has no device default/cellar");
    let nobody = node.report_device_states(states("cellar", "online"));
    assert_eq!(nobody.await.unwrap_err().code(), Code::NotFound);

    let nameless = node.report_device_status(ReportDeviceStatusRequest::default());
    assert_eq!(nameless.await.unwrap_err().code(), Code::InvalidArgument);
    let empty = ReportDeviceStatusRequest {
        device_name: "hall".to_owned(),
        ..ReportDeviceStatusRequest::default()
    };
    let empty = node.report_device_status(empty).await.unwrap_err();
    assert_eq!(empty.code(), Code::InvalidArgument);
    let happy = node.report_device_states(states("hall", "happy"));
    assert_eq!(happy.await.unwrap_err().code(), Code::InvalidArgument);

    let many = vec![("temperature", "1"); 1025];
    let many = node.report_device_status(report("hall", &many)).await;
    assert_eq!(many.unwrap_err().code(), Code::InvalidArgument);
    let long = "x".repeat(MESSAGE_BYTES_MAX + 1);
    let long = node.report_device_status(report("hall", &[("temperature", &long)]));
    assert_eq!(long.await.unwrap_err().code(), Code::OutOfRange);
    let long = "1".repeat(5000);
    let long = node.report_device_status(report("hall", &[("temperature", &long)]));
    let refused = long.await.unwrap_err();
    assert!(refused.message().contains("5000 bytes"), "{refused}");
    // After all that it works.
    site.reported(&node, report("hall", &[("temperature", "1")]))
        .await;
    site.stop().await;
}

/// With the time of a clock that is wrong, in milliseconds.
fn timed(value: &str, time: &str) -> ReportDeviceStatusRequest {
    let mut report = report("hall", &[("temperature", value)]);
    let twins = &mut report.reported_device.as_mut().unwrap().twins;
    let metadata = BTreeMap::from([("timestamp".to_owned(), time.to_owned())]);
    twins[0].reported.as_mut().unwrap().metadata = metadata;
    report
}

#[tokio::test]
async fn a_clock_that_is_two_years_wrong_decides_nothing() {
    let (site, node) = site().await;
    let two_years = 2 * 366 * 24 * 3600 * 1000_u64;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = u64::try_from(now.unwrap().as_millis()).unwrap();
    let (late, early) = (now + two_years, now - two_years);
    for (value, time) in [("1", late), ("2", early), ("3", late), ("4", 0)] {
        let report = timed(value, &time.to_string());
        site.reported(&node, report).await;
    }
    // What is no time at all is shown as it is.
    site.reported(&node, timed("5", "yesterday")).await;
    let shown = shown(&site, "hall", "temperature").await;
    assert_eq!(shown["value"], "5", "{shown}");
    assert_eq!(shown["metadata"]["timestamp"], "yesterday", "{shown}");
    site.stop().await;
}

#[tokio::test]
async fn a_desired_value_that_was_seen_stands_beside_the_value() {
    let (site, node) = site().await;
    let seen = |value: &str| ReportDeviceStatusRequest {
        device_name: "hall".to_owned(),
        device_namespace: "default".to_owned(),
        reported_device: Some(DeviceStatus {
            twins: vec![Twin {
                property_name: "target".to_owned(),
                observed_desired: Some(TwinProperty {
                    value: value.to_owned(),
                    ..TwinProperty::default()
                }),
                reported: None,
            }],
            ..DeviceStatus::default()
        }),
    };
    // Nothing is known of the property yet: there is nothing to stand beside.
    node.report_device_status(seen("20")).await.unwrap();
    site.reported(&node, report("hall", &[("target", "18")]))
        .await;
    node.report_device_status(seen("20")).await.unwrap();
    let target = shown(&site, "hall", "target").await;
    assert_eq!(target["value"], "18", "{target}");
    assert_eq!(target["observed"], "20", "{target}");
    site.stop().await;
}
