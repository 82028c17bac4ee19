//! Mappers that hang, sockets that go, files that cannot be read.

use std::time::Duration;

use causeway_dmi::ManagerClient;
use causeway_dmi::messages::ReportDeviceStatesRequest;

use super::site::{Mapper, Site, report};
use crate::within;

#[tokio::test]
async fn a_mapper_that_hangs_holds_up_no_other() {
    let site = Site::start().await;
    site.model();
    let mut stuck = Mapper::start(&site, "modbus", "stuck");
    let mut other = Mapper::start(&site, "opcua", "other");
    stuck.register(true).await.unwrap();
    other.register(true).await.unwrap();
    stuck.hang(true);
    site.device("hall", "modbus", "20");
    site.device("pump", "opcua", "7");
    other.hears("register pump 7").await;
    // It may still report, and does.
    let node = stuck.node();
    site.reported(&node, report("hall", &[("temperature", "19")]))
        .await;
    stuck.hang(false);
    stuck.hears("register hall 20").await;
    site.stop().await;
}

#[tokio::test]
async fn devices_of_a_mapper_that_died_are_unknown_until_it_is_back() {
    let site = Site::start_with(|config| config.dmi.unknown_after = Duration::from_millis(200));
    let mut site = site.await;
    site.model();
    site.device("hall", "modbus", "20");
    site.knows(&["hall"]).await;
    let mapper = Mapper::start(&site, "modbus", "rooms");
    mapper.register(true).await.unwrap();
    let online = ReportDeviceStatesRequest {
        device_name: "hall".to_owned(),
        device_namespace: "default".to_owned(),
        state: "ONLINE".to_owned(),
    };
    mapper.node().report_device_states(online).await.unwrap();
    site.cloud_hears_state("hall", "online").await;
    mapper.kill().await;
    // What cannot be told shows that nobody is there.
    site.device("hall", "modbus", "21");
    site.cloud_hears_state("hall", "unknown").await;
    site.stop_edge().await;
    site.start_edge().await;
    let mapper = Mapper::start(&site, "modbus", "rooms");
    mapper.register(true).await.unwrap();
    site.cloud_hears_state("hall", "online").await;
    site.stop().await;
}

#[tokio::test]
async fn the_socket_of_the_node_may_be_removed() {
    let site = Site::start().await;
    site.model();
    site.device("hall", "modbus", "20");
    site.knows(&["hall"]).await;
    std::fs::remove_file(site.socket()).unwrap();
    let back = async {
        let timeout = Duration::from_secs(60);
        let node = ManagerClient::new(&site.socket(), timeout).unwrap();
        while node
            .report_device_status(report("hall", &[("temperature", "19")]))
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    };
    within("the socket", back).await;
    site.stop().await;
}

#[tokio::test]
async fn a_file_that_nobody_can_read_costs_the_registrations_and_no_more() {
    let mut site = Site::start().await;
    site.model();
    site.device("hall", "modbus", "20");
    site.knows(&["hall"]).await;
    let mut mapper = Mapper::start(&site, "modbus", "rooms");
    mapper.register(true).await.unwrap();
    site.stop_edge().await;
    let file = site.dir.path().join("mappers.json");
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("default/hall")
    );
    std::fs::write(&file, "{ not json").unwrap();
    site.start_edge().await;
    let text = site.metrics().await;
    assert!(text.contains("causeway_dmi_mappers 0"), "{text}");
    mapper.register(false).await.unwrap();
    mapper.hears("register hall 20").await;
    site.stop().await;
}
