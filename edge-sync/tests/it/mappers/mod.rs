//! Device mappers at the socket of a running edge.

mod faults;
mod reports;
pub(crate) mod site;

use causeway_dmi::Code;
use serde_json::json;

use site::{MODEL, Mapper, Site, device, report};

#[tokio::test]
async fn a_mapper_is_told_what_there_is_and_what_changes() {
    let site = Site::start().await;
    site.model();
    site.device("hall", "modbus", "20");
    let mut mapper = Mapper::start(&site, "modbus", "rooms");
    site.knows(&["hall"]).await;
    let answer = mapper.register(true).await.unwrap();
    assert_eq!(answer.device_list.len(), 1);
    assert_eq!(answer.model_list[0].name, MODEL);
    let spec = answer.device_list[0].spec.as_ref().unwrap();
    assert_eq!(spec.properties[0].desired.as_ref().unwrap().value, "20");

    site.device("hall", "modbus", "21");
    mapper.hears("update hall 21").await;
    site.device("attic", "modbus", "15");
    mapper.hears("register attic 15").await;
    site.device("pump", "opcua", "7");
    site.gone("hall");
    mapper.hears("remove hall").await;
    assert_eq!(mapper.calls(), Vec::<String>::new(), "no word of the pump");
    site.stop().await;
}

#[tokio::test]
async fn a_device_may_come_before_its_model_and_its_mapper() {
    let site = Site::start().await;
    site.device("hall", "modbus", "20");
    site.knows(&["hall"]).await;
    let mut mapper = Mapper::start(&site, "modbus", "rooms");
    let answer = mapper.register(true).await.unwrap();
    assert!(answer.device_list.is_empty());
    site.model();
    mapper.hears("model thermostat").await;
    mapper.hears("register hall 20").await;
    site.stop().await;
}

#[tokio::test]
async fn two_mappers_of_one_protocol_have_devices_of_their_own() {
    let site = Site::start().await;
    site.model();
    let mut one = Mapper::start(&site, "modbus", "one");
    let mut two = Mapper::start(&site, "modbus", "two");
    one.register(true).await.unwrap();
    two.register(true).await.unwrap();
    site.device("a", "modbus", "20");
    one.hears("register a 20").await;
    site.device("b", "modbus", "20");
    two.hears("register b 20").await;
    let mut named = device("a", "modbus", "22");
    named["metadata"]["annotations"] = json!({ "causeway.dev/mapper": "two" });
    site.put("devices", "a", &named);
    one.hears("remove a").await;
    two.hears("register a 22").await;
    site.stop().await;
}

#[tokio::test]
async fn mappers_are_remembered_when_the_edge_is_started_anew() {
    let mut site = Site::start().await;
    site.model();
    site.device("hall", "modbus", "20");
    site.device("attic", "modbus", "15");
    site.knows(&["attic", "hall"]).await;
    let mut mapper = Mapper::start(&site, "modbus", "rooms");
    mapper.register(true).await.unwrap();
    site.stop_edge().await;
    // Missed while it was down.
    site.device("hall", "modbus", "25");
    site.gone("attic");
    site.start_edge().await;
    mapper.hears("update hall 25").await;
    mapper.hears("remove attic").await;
    let node = mapper.node();
    site.reported(&node, report("hall", &[("temperature", "24")]))
        .await;
    site.stop().await;
}

#[tokio::test]
async fn a_mapper_that_was_killed_comes_back() {
    let site = Site::start().await;
    site.model();
    site.device("hall", "modbus", "20");
    site.knows(&["hall"]).await;
    let mapper = Mapper::start(&site, "modbus", "rooms");
    mapper.register(true).await.unwrap();
    mapper.kill().await;
    site.device("hall", "modbus", "21");
    site.device("attic", "modbus", "15");
    site.knows(&["attic", "hall"]).await;
    // The next process knows nothing, and is told all, in the answer.
    let mapper = Mapper::start(&site, "modbus", "rooms");
    let answer = mapper.register(true).await.unwrap();
    assert_eq!(answer.device_list.len(), 2);
    mapper.kill().await;
    // One that does not ask is told by calls, and in full.
    let mut mapper = Mapper::start(&site, "modbus", "rooms");
    assert!(mapper.register(false).await.unwrap().device_list.is_empty());
    mapper.hears("update attic 15").await;
    mapper.hears("update hall 21").await;
    let refused = mapper.register_as("", b"/x").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    site.stop().await;
}
