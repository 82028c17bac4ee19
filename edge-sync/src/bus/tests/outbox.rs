//! What is told, and what is not.

use causeway_log::Op;
use causeway_log::WallTime;
use causeway_projections::twin::{Desired, TwinVersion, Value};
use serde_json::{Value as Json, json};

use super::super::answer::Stamp;
use super::super::outbox::{Message, Outbox};
use super::rig::Rig;
use causeway_log::NodeName;

fn stamp() -> Stamp {
    Stamp {
        event_id: "e".to_owned(),
        now: WallTime::from_unix_millis(9),
    }
}

fn outbox() -> Outbox {
    Outbox::new(NodeName::new("edge-1").unwrap())
}

fn look(outbox: &mut Outbox, rig: &Rig) {
    rig.twins.read(|twins| outbox.look(twins));
}

/// All that is to be told, by the end of its topic.
fn told(outbox: &mut Outbox) -> Vec<(String, Json)> {
    let next = || outbox.next(|_| true, stamp);
    let message = |Message { topic, payload }: Message| {
        let end = topic.rsplit('/').next().unwrap().to_owned();
        (end, serde_json::from_slice(&payload).unwrap())
    };
    std::iter::from_fn(next).map(message).collect()
}

fn ends(outbox: &mut Outbox) -> Vec<String> {
    told(outbox).into_iter().map(|(end, _)| end).collect()
}

async fn want(rig: &mut Rig, value: &str, version: u64) {
    let wishes = [("target".into(), Value::new(value))].into();
    let before = rig.device().twin.desired.clone();
    let now = WallTime::from_unix_millis(2);
    let desired: Desired = before
        .advance(&wishes, TwinVersion::new(version), now)
        .unwrap();
    rig.desire("thermo", Op::Twin, desired.encode()).await;
}

#[tokio::test]
async fn a_start_announces_what_is_there_and_nothing_is_told_twice() {
    let rig = Rig::new().await;
    let mut outbox = outbox();
    look(&mut outbox, &rig);
    let all = told(&mut outbox);
    let ends: Vec<&str> = all.iter().map(|(end, _)| end.as_str()).collect();
    assert_eq!(ends, ["updated", "delta"]);
    assert_eq!(all[0].1["added_devices"][0]["id"], "default/thermo");
    assert_eq!(all[1].1["delta"], json!({ "target": "21" }));
    look(&mut outbox, &rig);
    assert!(told(&mut outbox).is_empty());
    outbox.remind_all(|_| true);
    assert_eq!(self::ends(&mut outbox), ["delta"]);
}

#[tokio::test]
async fn changes_that_nobody_took_meanwhile_become_one() {
    let mut rig = Rig::new().await;
    let mut outbox = outbox();
    look(&mut outbox, &rig);
    told(&mut outbox);
    for number in 22..30_u32 {
        want(&mut rig, &number.to_string(), number.into()).await;
        look(&mut outbox, &rig);
    }
    let all = told(&mut outbox);
    let ends: Vec<&str> = all.iter().map(|(end, _)| end.as_str()).collect();
    assert_eq!(ends, ["delta", "document"]);
    assert_eq!(all[0].1["delta"], json!({ "target": "29" }));
    let pair = &all[1].1["twin"]["target"];
    assert_eq!(pair["last"]["expected"]["value"], "21");
    assert_eq!(pair["current"]["expected"]["value"], "29");
}

#[tokio::test]
async fn a_device_that_goes_is_told_and_takes_what_was_due_with_it() {
    let mut rig = Rig::new().await;
    let mut outbox = outbox();
    look(&mut outbox, &rig);
    told(&mut outbox);
    want(&mut rig, "30", 30).await;
    look(&mut outbox, &rig);
    rig.desire("thermo", Op::Delete, Vec::new()).await;
    look(&mut outbox, &rig);
    let all = told(&mut outbox);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].1["removed_devices"][0]["id"], "default/thermo");
}

#[tokio::test]
async fn what_nobody_listens_to_is_not_made() {
    let mut rig = Rig::new().await;
    let mut outbox = outbox();
    look(&mut outbox, &rig);
    want(&mut rig, "22", 22).await;
    look(&mut outbox, &rig);
    let message = outbox
        .next(|topic| topic.ends_with("/document"), stamp)
        .unwrap();
    assert!(message.topic.ends_with("thermo/twin/update/document"));
    assert_eq!(outbox.next(|_| true, stamp), None);
}

#[test]
fn answers_are_bounded_and_do_not_starve_the_rest() {
    let mut outbox = outbox();
    let answer = |number: usize| Message {
        topic: number.to_string().into(),
        payload: "".into(),
    };
    let kept = (0..10_000)
        .filter(|number| outbox.answer(answer(*number)))
        .count();
    assert_eq!(kept, 4096);
    let first = outbox.next(|_| true, stamp).unwrap();
    assert_eq!(&*first.topic, "0");
}
