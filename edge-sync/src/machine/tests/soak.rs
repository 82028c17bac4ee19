//! A store stays as small as what is alive, however much has lived.

use causeway_log::store::TrimPolicy;

use super::*;

const LIVES: u64 = 5000;
const WINDOW: u64 = 100;
const TRIM_EVERY: u64 = 50;

/// A window of some revisions; the clocks of this test do not matter.
const POLICY: TrimPolicy = TrimPolicy {
    keep_revisions: WINDOW,
    keep_since: WallTime::from_unix_millis(u64::MAX),
    bytes_max: 0,
    facts_max: 100,
    facts_bytes_max: 0,
    records_per_call_max: 4096,
};

fn life(resource: &str, number: u64) -> Key {
    let uid = Uid::Uuid(Uuid::from_u64_pair(7, number));
    // Few names, so that many lives share one.
    let name = format!("n{}", number % 7);
    Key::new(Resource::core(resource), "default", &name, uid).unwrap()
}

fn named(key: &Key, mut object: Value) -> Value {
    object["metadata"]["name"] = json!(&*key.name);
    object["metadata"]["uid"] = json!(key.uid.to_string());
    object
}

/// A pod runs here until the cloud ends it, asking the node first or not.
fn pod_life(bench: &mut Bench, number: u64, is_forced: bool) {
    let key = life("pods", number);
    let spec = named(&key, pod("edge-1"));
    bench.desire(&key, Op::Put, &spec, None);
    for phase in ["Pending", "Running", "Succeeded"] {
        let status = Change::Status(with_status(spec.clone(), phase));
        bench.write(bench.now(&key, status)).unwrap();
    }
    if !is_forced {
        bench.desire(&key, Op::Put, &ending(spec), None);
        let finished = Change::Delete {
            grace_period_seconds: Some(0),
            confirm: true,
        };
        bench.write(bench.now(&key, finished)).unwrap();
    }
    bench.desire(&key, Op::Delete, &Value::Null, None);
}

/// An application asks for an object; the cloud makes it and deletes it, or refuses.
fn request_life(bench: &mut Bench, number: u64, is_accepted: bool) {
    let key = life("configmaps", number);
    let wanted = named(&key, config_map("1"));
    bench.write(create(&key, wanted.clone())).unwrap();
    let asked = bench.up_records().last().unwrap().record.header.id;
    if is_accepted {
        bench.desire(&key, Op::Put, &wanted, Some(asked));
        bench.desire(&key, Op::Apply, &Value::Null, Some(asked));
        bench.desire(&key, Op::Delete, &Value::Null, None);
    } else {
        bench.desire(&key, Op::Reject, &json!({"message": "no"}), Some(asked));
    }
}

/// The cloud has everything. The acknowledgement is written with the next batch.
fn acknowledge(bench: &mut Bench) {
    let upto = bench.info(&up()).durable;
    let (request, mut told) = session(SessionWrite::Acked { upto });
    bench.round([request]);
    told.try_recv().unwrap().unwrap();
}

fn trim(bench: &Bench) {
    while bench.store.trim(&POLICY).unwrap().more {}
}

#[test]
fn five_thousand_lives_leave_nothing_behind() {
    let mut bench = Bench::new();
    let (node, running) = (key("nodes", "edge-1"), key("pods", "alive"));
    bench.desire(&node, Op::Put, &json!({"kind": "Node"}), None);
    bench.desire(&running, Op::Put, &named(&running, pod("edge-1")), None);
    let status = Change::Status(with_status(pod("edge-1"), "Running"));
    bench.write(bench.now(&running, status)).unwrap();
    let mut largest = 0;
    for number in 0..LIVES {
        match number % 5 {
            0 => pod_life(&mut bench, number, true),
            1 => request_life(&mut bench, number, true),
            2 => request_life(&mut bench, number, false),
            _ => pod_life(&mut bench, number, false),
        }
        if number % TRIM_EVERY == 0 {
            acknowledge(&mut bench);
            trim(&bench);
            largest = largest.max(bench.store.disk().bytes());
        }
    }
    acknowledge(&mut bench);
    bench.desire(&node, Op::Put, &json!({"kind": "Node", "spec": {}}), None);
    trim(&bench);
    let report = bench.store.verify().unwrap();
    assert!(report.is_sound(), "{:?}", report.damage);
    assert!(report.records <= WINDOW + 20, "{} records", report.records);
    assert!(largest < 200_000, "{largest} bytes");
    // What is left says the same as the fold of everything.
    let rebuilt = rebuild(&*bench.store, &[down(), up()]).unwrap();
    let served = |objects: &causeway_projections::Objects| -> Vec<(Key, Value)> {
        let resources: Vec<_> = objects.resources().cloned().collect();
        let all = resources
            .iter()
            .flat_map(|resource| objects.list(resource, None, None));
        all.map(|entry| (entry.key().clone(), entry.object()))
            .collect()
    };
    let shown = bench.view.read(served);
    assert_eq!(served(&rebuilt), shown);
    let alive: Vec<_> = shown.into_iter().map(|(key, _)| key).collect();
    assert_eq!(alive, [node, running]);
}
