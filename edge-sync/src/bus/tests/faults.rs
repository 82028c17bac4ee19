//! A broker that misbehaves, and a store that does.

use causeway_log::Store as _;
use causeway_log::store::memory::Fault;
use serde_json::json;

use super::super::mqtt::{Incoming, Packet, Publish};
use super::rig::{Broker, Rig, body, is_on, within};

#[tokio::test]
async fn a_message_that_comes_again_is_taken_once() {
    let (rig, broker) = (Rig::new().await, Broker::start().await);
    let _client = rig.client(&broker);
    let mut peer = broker.accept(false).await;
    peer.subscribed().await;
    peer.report(1, false, "a").await;
    peer.report(2, false, "b").await;
    peer.acked(true, 2).await;
    assert_eq!(rig.changes(), 2);
    drop(peer);
    // The acknowledgements were lost on the way, so both come again, as do others of that name.
    let mut peer = broker.accept(true).await;
    peer.report(1, true, "a").await;
    peer.report(2, true, "b").await;
    peer.acked(true, 2).await;
    assert_eq!(rig.changes(), 2, "what came again was taken again");
    // Marked as a duplicate, but never seen here: the broker sent it and it did not arrive.
    peer.report(3, true, "c").await;
    peer.acked(true, 3).await;
    // The id of a message that is done names another one.
    peer.report(1, false, "d").await;
    peer.acked(true, 1).await;
    assert_eq!(rig.changes(), 4);
    assert_eq!(
        &*rig
            .device()
            .twin
            .reported
            .properties
            .value("label")
            .unwrap()
            .value,
        "d"
    );
}

#[tokio::test]
async fn a_broker_that_lost_the_session_is_subscribed_to_again_and_one_that_has_it_is_not() {
    let (rig, broker) = (Rig::new().await, Broker::start().await);
    let _client = rig.client(&broker);
    let is_delta = |packet: &Packet| is_on(packet, "thermo/twin/update/delta");
    let mut peer = broker.accept(false).await;
    peer.subscribed().await;
    let told = peer.until(true, is_delta).await;
    assert_eq!(body(&told)["delta"], json!({ "target": "21" }));
    drop(peer);
    // What the device still has to do is said on every connection.
    let mut peer = broker.accept(true).await;
    let first = peer
        .until(true, |it| {
            is_delta(it) || matches!(it, Packet::Subscribe { .. })
        })
        .await;
    assert!(is_delta(&first), "{first:?}");
    drop(peer);
    let mut peer = broker.accept(false).await;
    peer.subscribed().await;
    peer.until(true, is_delta).await;
}

#[tokio::test]
async fn what_the_broker_does_not_acknowledge_is_sent_again() {
    let (rig, broker) = (Rig::new().await, Broker::start().await);
    let _client = rig.client(&broker);
    let mut peer = broker.accept(false).await;
    peer.subscribed().await;
    peer.report(1, false, "a").await;
    let answer = peer.until(false, |it| is_on(it, "update/result")).await;
    drop(peer);
    let mut peer = broker.accept(true).await;
    let again = peer.until(false, |it| is_on(it, "update/result")).await;
    let (Packet::Publish(first), Packet::Publish(again)) = (answer, again) else {
        unreachable!();
    };
    assert!(again.dup && !first.dup);
    assert_eq!(
        Publish {
            dup: false,
            ..again
        },
        first
    );
}

#[tokio::test]
async fn a_report_that_cannot_be_durable_is_not_acknowledged_and_comes_again() {
    let (rig, broker) = (Rig::new().await, Broker::start().await);
    let _client = rig.client(&broker);
    let mut peer = broker.accept(false).await;
    peer.subscribed().await;
    rig.store.disk().set_fault(Fault::Full);
    peer.report(1, false, "a").await;
    // The connection ends without an acknowledgement.
    let ending = async {
        while let Ok(packet) = peer.wire.receive().await {
            assert_ne!(packet, Incoming::Packet(Packet::PubAck(1)));
        }
    };
    within("the end of the connection", ending).await;
    rig.store.disk().heal();
    rig.store.try_recover().unwrap();
    let mut peer = broker.accept(true).await;
    peer.report(1, true, "a").await;
    peer.acked(true, 1).await;
    assert_eq!(rig.changes(), 1);
}

#[tokio::test]
async fn a_message_too_large_is_acknowledged_and_stands_in_nobodys_way() {
    let (rig, broker) = (Rig::new().await, Broker::start().await);
    let _client = rig.client(&broker);
    let mut peer = broker.accept(false).await;
    peer.subscribed().await;
    let large = vec![b'x'; 3 * 1024 * 1024];
    peer.say(1, false, "twin/update", large.into()).await;
    peer.report(2, false, "a").await;
    let refused = peer.until(true, |it| is_on(it, "update/result")).await;
    assert_eq!(body(&refused)["code"], 400);
    peer.acked(true, 2).await;
    assert_eq!(rig.changes(), 1);
}

#[tokio::test]
async fn a_broker_that_speaks_nonsense_costs_the_connection() {
    let (rig, broker) = (Rig::new().await, Broker::start().await);
    let _client = rig.client(&broker);
    let mut peer = broker.accept(false).await;
    peer.send(&Packet::PubRec(9)).await;
    let mut peer = broker.accept(false).await;
    let subscribe = peer
        .until(true, |it| matches!(it, Packet::Subscribe { .. }))
        .await;
    let Packet::Subscribe { id, .. } = subscribe else {
        unreachable!();
    };
    // Not allowed to listen.
    let codes = vec![1, 0x80, 1, 1];
    peer.send(&Packet::SubAck { id, codes }).await;
    let mut peer = broker.accept(false).await;
    peer.subscribed().await;
    peer.report(1, false, "a").await;
    peer.acked(true, 1).await;
}

#[tokio::test]
async fn what_was_taken_before_a_crash_is_not_taken_again_by_the_next_process() {
    let (rig, broker) = (Rig::new().await, Broker::start().await);
    let client = rig.client(&broker);
    let mut peer = broker.accept(false).await;
    peer.subscribed().await;
    for (id, value) in [(1, "a"), (2, "b"), (3, "c")] {
        peer.report(id, false, value).await;
    }
    peer.acked(true, 3).await;
    drop(client);
    // Another process on the same store. The broker heard of no acknowledgement, and has one more.
    let _client = rig.client(&broker);
    let mut peer = broker.accept(true).await;
    for (id, value) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        peer.report(id, true, value).await;
    }
    peer.acked(true, 4).await;
    assert_eq!(rig.changes(), 4);
    let value = rig
        .device()
        .twin
        .reported
        .properties
        .value("label")
        .cloned();
    assert_eq!(&*value.unwrap().value, "d");
}
