//! What is kept of readings, and its bytes.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::at;
use crate::twin::history::{
    CHUNK_BYTES_MAX, CHUNK_READINGS_MAX, Chunk, Policies, Policy, Reading, Sampler,
};

fn kept(policy: Policy, readings: &[(u64, &str)]) -> Vec<usize> {
    let mut sampler = Sampler::default();
    let mut keeps = |(seconds, value): &(u64, &str)| {
        sampler.keeps(policy, &(*value).into(), Duration::from_secs(*seconds))
    };
    (0..readings.len())
        .filter(|at| keeps(&readings[*at]))
        .collect()
}

#[test]
fn a_policy_says_which_readings_are_kept() {
    let readings = [
        (0, "20"),
        (4, "20"),
        (10, "20.4"),
        (12, "20.5"),
        (21, "20.5"),
        (22, "off"),
    ];
    assert_eq!(kept(Policy::Latest, &readings), [0_usize; 0]);
    assert_eq!(kept(Policy::All, &readings), [0, 1, 2, 3, 4, 5]);
    assert_eq!(
        kept(Policy::Every(Duration::from_secs(10)), &readings),
        [0, 2, 4]
    );
    assert_eq!(kept(Policy::Change(0.5), &readings), [0, 3, 5]);
    assert_eq!(kept(Policy::Change(0.0), &readings), [0, 2, 3, 5]);
}

#[test]
fn slow_drift_is_kept_by_its_distance_from_what_was_kept() {
    let readings: Vec<(u64, String)> = (0..10)
        .map(|n| (n, format!("{}", n as f64 / 10.0)))
        .collect();
    let readings: Vec<(u64, &str)> = readings.iter().map(|(at, it)| (*at, it.as_str())).collect();
    assert_eq!(kept(Policy::Change(0.5), &readings), [0, 5]);
}

#[test]
fn policies_are_read_from_an_annotation() {
    let policies =
        Policies::parse("temperature=all, humidity = every:10s,power=change:0.5,*=every:1h,");
    let policies = policies.unwrap();
    assert_eq!(policies.of("temperature"), Policy::All);
    assert_eq!(
        policies.of("humidity"),
        Policy::Every(Duration::from_secs(10))
    );
    assert_eq!(policies.of("power"), Policy::Change(0.5));
    assert_eq!(
        policies.of("other"),
        Policy::Every(Duration::from_secs(3600))
    );
    assert_eq!(Policies::parse("").unwrap().of("any"), Policy::Latest);
    for wrong in [
        "temperature",
        "temperature=some",
        "t=every:0s",
        "t=every:10",
        "t=every:99999999999999999999d",
        "t=every:400d",
        "t=change:-1",
        "t=change:NaN",
        "no space=all",
        "=all",
    ] {
        let told = Policies::parse(wrong).unwrap_err().to_string();
        assert!(told.contains("expected PROPERTY=all"), "{told}");
    }
}

fn reading(time: u64, value: &str) -> Reading {
    Reading {
        time: at(time),
        value: value.into(),
    }
}

#[test]
fn the_chunk_is_frozen() {
    let mut chunk = Chunk::after(3);
    for (name, time, value) in [
        ("t", 5000, "20"),
        ("t", 6000, "21"),
        ("h", 10, "1"),
        ("t", 5500, "22"),
    ] {
        assert!(chunk.push(&name.into(), reading(time, value)));
    }
    let golden = r#"{"dropped":3,"series":{"h":{"times":[10],"values":["1"]},"t":{"times":[5000,1000,-500],"values":["20","21","22"]}}}"#;
    assert_eq!(String::from_utf8(chunk.encode()).unwrap(), golden);
    assert_eq!(Chunk::decode(golden.as_bytes()).unwrap(), chunk);
}

#[test]
fn a_full_chunk_takes_no_more() {
    let mut chunk = Chunk::default();
    for _ in 0..CHUNK_READINGS_MAX {
        assert!(chunk.push(&"t".into(), reading(1, "1")));
    }
    assert!(!chunk.push(&"t".into(), reading(1, "1")));
    assert_eq!(chunk.len(), CHUNK_READINGS_MAX);

    let mut chunk = Chunk::default();
    assert!(chunk.push(&"t".into(), reading(1, &"x".repeat(CHUNK_BYTES_MAX))));
    assert!(!chunk.push(&"t".into(), reading(1, "")));
}

#[test]
fn what_is_no_chunk_is_refused() {
    let decode = |text: &str| Chunk::decode(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(decode("7"), "the chunk is malformed");
    let columns = "the chunk's columns do not fit";
    assert_eq!(
        decode(r#"{"series":{"t":{"times":[1],"values":[]}}}"#),
        columns
    );
    assert_eq!(
        decode(r#"{"series":{"t":{"times":[-1],"values":["1"]}}}"#),
        columns
    );
    let max = i64::MAX;
    let overflow = format!(r#"{{"series":{{"t":{{"times":[{max},1],"values":["1","2"]}}}}}}"#);
    assert_eq!(decode(&overflow), columns);
    let times = vec!["1"; CHUNK_READINGS_MAX + 1].join(",");
    let values = vec!["\"1\""; CHUNK_READINGS_MAX + 1].join(",");
    let many = format!(r#"{{"series":{{"t":{{"times":[{times}],"values":[{values}]}}}}}}"#);
    assert_eq!(decode(&many), columns);
}

proptest! {
    #[test]
    fn chunks_survive_their_encoding(
        readings in vec(("[a-c]", 0..u64::try_from(i64::MAX).unwrap(), ".{0,8}"), 0..50),
        dropped in any::<u64>(),
    ) {
        let mut chunk = Chunk::after(dropped);
        for (name, time, value) in &readings {
            prop_assert!(chunk.push(&name.as_str().into(), reading(*time, value)));
        }
        prop_assert_eq!(Chunk::decode(&chunk.encode()).unwrap(), chunk);
    }

    /// Of an interval, no window of it holds two kept readings, and time that goes back keeps none.
    #[test]
    fn an_interval_keeps_at_most_one_reading(steps in vec(0..20_u64, 1..60), every in 1..30_u64) {
        let mut sampler = Sampler::default();
        let (mut now, mut last) = (0, None::<u64>);
        for step in steps {
            now += step;
            let keeps = sampler.keeps(
                Policy::Every(Duration::from_secs(every)),
                &"1".into(),
                Duration::from_secs(now),
            );
            prop_assert_eq!(keeps, last.is_none_or(|last| now - last >= every));
            if keeps {
                last = Some(now);
            }
        }
    }
}
