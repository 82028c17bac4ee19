//! What a local write comes to.

use super::*;

#[test]
fn a_write_to_what_the_cloud_owns_is_served_as_pending() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    let written = bench.write(create(&key, config_map("1"))).unwrap();
    assert!(written.pending);
    assert_eq!(written.warnings.len(), 1);
    let object = written.object.unwrap();
    assert_eq!(
        object["metadata"]["annotations"]["causeway.dev/pending"],
        "true"
    );
    assert_eq!(
        object["metadata"]["resourceVersion"],
        written.revision.to_string()
    );
    let asked = bench.last_request();
    assert_eq!(
        (asked.verb, asked.base, asked.follows),
        (Verb::Create, None, None)
    );
    assert_eq!(asked.uid, key.uid);
    assert_eq!(*bench.up_head.borrow(), written.revision.as_own_offset());
}

#[test]
fn a_request_builds_on_the_one_before_until_the_cloud_answers() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    bench.write(create(&key, config_map("1"))).unwrap();
    let first = bench.up_records()[0].record.header.id;
    let update = bench.now(&key, Change::Put(config_map("2")));
    bench.write(update).unwrap();
    let asked = bench.last_request();
    // It may be all that the cloud ever hears of the object, so it creates it too.
    assert_eq!((asked.verb, asked.follows), (Verb::Create, Some(first)));
    assert_eq!(bench.served(&key).unwrap()["data"]["v"], "2");
    let second = bench.up_records()[1].record.header.id;
    bench.desire(&key, Op::Put, &config_map("2"), Some(second));
    bench.desire(&key, Op::Apply, &Value::Null, Some(second));
    let served = bench.served(&key).unwrap();
    assert!(served["metadata"].get("annotations").is_none(), "{served}");
    // An update of what the cloud has answered stands on the cloud's version.
    let update = bench.now(&key, Change::Put(config_map("3")));
    bench.write(update).unwrap();
    let asked = bench.last_request();
    assert_eq!(asked.base, Some(causeway_log::Version::new(77)));
    assert_eq!((asked.verb, asked.follows), (Verb::Update, None));
}

/// It named the newest version: a change in the cloud that the request before had covered up was undone.
#[test]
fn a_request_names_the_version_that_its_writer_saw() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    let put = |version: u64, value: &str, cause| Draft {
        version: Some(causeway_log::Version::new(version)),
        ..draft(&key, Op::Put, &config_map(value), cause)
    };
    let base_of_next = |bench: &mut Bench, value: &str| {
        let update = bench.now(&key, Change::Put(config_map(value)));
        bench.write(update).unwrap();
        let last = bench.up_records().last().unwrap().record.header.id;
        (bench.last_request().base.unwrap().get(), last)
    };
    bench.arrive(put(1, "cloud", None));
    let (base, first) = base_of_next(&mut bench, "first");
    assert_eq!(base, 1);
    // The cloud changed it before it heard of that.
    bench.arrive(put(2, "other", None));
    assert_eq!(bench.served(&key).unwrap()["data"]["v"], "first");
    assert_eq!(base_of_next(&mut bench, "second").0, 1);
    // What came of an own request is what the next ones were made on.
    bench.arrive(put(3, "first", Some(first)));
    bench.desire(&key, Op::Apply, &Value::Null, Some(first));
    let (base, third) = base_of_next(&mut bench, "third");
    assert_eq!(base, 3);
    bench.arrive(put(4, "third", Some(third)));
    assert_eq!(base_of_next(&mut bench, "fourth").0, 4);
    // Nothing waits: what the cloud says shows.
    let last = bench.up_records().last().unwrap().record.header.id;
    bench.desire(&key, Op::Reject, &json!({"message": "no"}), Some(last));
    bench.arrive(put(5, "cloud", None));
    assert_eq!(base_of_next(&mut bench, "fifth").0, 5);
}

#[test]
fn an_object_that_would_not_change_makes_no_record() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    bench.desire(&key, Op::Put, &config_map("1"), None);
    let served = bench.served(&key).unwrap();
    let same = bench.now(&key, Change::Put(served));
    let written = bench.write(same).unwrap();
    assert_eq!(written.revision, bench.modified(&key));
    assert!(!written.pending && written.warnings.is_empty());
    assert!(bench.up_records().is_empty());
}

#[test]
fn the_status_of_an_own_pod_is_the_edges_word() {
    let mut bench = Bench::new();
    let key = key("pods", "p");
    bench.desire(&key, Op::Put, &pod("edge-1"), None);
    let report = bench.now(&key, Change::Status(with_status(pod("edge-1"), "Running")));
    let written = bench.write(report).unwrap();
    assert!(!written.pending);
    assert_eq!(written.object.unwrap()["status"]["phase"], "Running");
    let record = &bench.up_records()[0].record;
    assert_eq!(record.header.op, Op::Status);
    assert_eq!(record.body.bytes(), "{\"phase\":\"Running\"}");
    // Saying it again says nothing.
    let again = bench.now(&key, Change::Status(with_status(pod("edge-1"), "Running")));
    assert_eq!(bench.write(again).unwrap().revision, written.revision);
    assert_eq!(bench.up_records().len(), 1);
}

#[test]
fn the_status_of_anything_else_is_a_request() {
    let mut bench = Bench::new();
    let key = key("pods", "p");
    bench.desire(&key, Op::Put, &pod("edge-2"), None);
    let report = bench.now(&key, Change::Status(with_status(pod("edge-2"), "Running")));
    let refused = bench.write(report).unwrap_err();
    assert!(matches!(refused, WriteError::Forbidden { .. }), "{refused}");
    let thing = Resource::new("example.com", "things");
    let key = Key::new(thing, "default", "t", Uid::None).unwrap();
    let thing = json!({ "kind": "Thing" });
    bench.desire(&key, Op::Put, &thing, None);
    let report = bench.now(&key, Change::Status(with_status(thing, "Done")));
    assert!(bench.write(report).unwrap().pending);
    assert_eq!(bench.last_request().verb, Verb::Status);
}

#[test]
fn what_the_cloud_never_takes_from_a_node_is_refused_at_once() {
    let mut bench = Bench::new();
    let core = |plural: &str| Resource::core(plural);
    let other_pod = || json!({ "kind": "Pod", "spec": { "nodeName": "edge-2" } });
    let thing = || json!({ "kind": "Thing" });
    for (resource, name, object) in [
        (core("namespaces"), "n", thing()),
        (core("serviceaccounts"), "s", thing()),
        (core("nodes"), "edge-2", thing()),
        (core("pods"), "p", other_pod()),
        (core("pods"), "p", json!({ "kind": "Pod", "spec": {} })),
        (Resource::new("apps", "deployments"), "d", thing()),
        (
            Resource::new("coordination.k8s.io", "leases"),
            "edge-1",
            thing(),
        ),
        (
            Resource::new("causeway.dev", "serviceaccounttokens"),
            "t",
            thing(),
        ),
        (
            Resource::new("storage.k8s.io", "csinodes"),
            "edge-2",
            thing(),
        ),
    ] {
        let key = Key::new(resource, "default", name, Uid::None).unwrap();
        let refused = bench.write(create(&key, object)).unwrap_err();
        let WriteError::Forbidden { reason } = refused else {
            panic!("{key}: {refused}");
        };
        assert!(reason.starts_with("an edge node may not"), "{reason}");
    }
    let key = key("nodes", "edge-1");
    bench.desire(&key, Op::Put, &json!({ "kind": "Node" }), None);
    let delete = Change::Delete {
        grace_period_seconds: None,
        confirm: false,
    };
    let refused = bench.write(bench.now(&key, delete)).unwrap_err();
    assert!(matches!(refused, WriteError::Forbidden { .. }), "{refused}");
    assert!(bench.up_records().is_empty());
}

#[test]
fn a_heartbeat_in_a_status_is_no_record() {
    let mut bench = Bench::new();
    let key = key("nodes", "edge-1");
    bench.desire(&key, Op::Put, &json!({ "kind": "Node" }), None);
    let node = |heartbeat: u32, ready: &str| {
        json!({ "kind": "Node", "status": { "conditions": [
            { "type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat },
        ] } })
    };
    let report = |bench: &mut Bench, heartbeat, ready: &str| {
        let write = bench.now(&key, Change::Status(node(heartbeat, ready)));
        bench.write(write).unwrap()
    };
    report(&mut bench, 1, "True");
    let again = report(&mut bench, 2, "True");
    assert_eq!((again.pending, again.object), (false, None));
    assert_eq!(bench.up_records().len(), 1);
    report(&mut bench, 3, "False");
    assert_eq!(bench.up_records().len(), 2);
}

#[test]
fn an_event_that_happens_again_is_told_when_its_count_has_doubled() {
    let mut bench = Bench::new();
    let key = key("events", "e");
    let event = |count: u64| json!({ "kind": "Event", "reason": "BackOff", "count": count });
    let first = Write {
        key: key.clone(),
        expected: Expected::Absent,
        change: Change::Fact(event(1)),
    };
    bench.write(first).unwrap();
    for count in 2..=1000 {
        let again = bench.now(&key, Change::Fact(event(count)));
        bench.write(again).unwrap();
    }
    // 1, 2, 4, … 512.
    assert_eq!(bench.up_records().len(), 10);
    let other = json!({ "kind": "Event", "reason": "Killing", "count": 1 });
    bench.write(bench.now(&key, Change::Fact(other))).unwrap();
    assert_eq!(bench.up_records().len(), 11);
}

#[test]
fn a_node_is_created_with_its_status_beside_it() {
    let mut bench = Bench::new();
    let key = key("nodes", "edge-1");
    let object = with_status(json!({ "kind": "Node", "spec": {} }), "Ready");
    let written = bench.write(create(&key, object)).unwrap();
    let ops: Vec<Op> = bench
        .up_records()
        .iter()
        .map(|it| it.record.header.op)
        .collect();
    assert_eq!(ops, [Op::Apply, Op::Status]);
    assert_eq!(written.object.unwrap()["status"]["phase"], "Ready");
}

#[test]
fn a_finished_pod_goes_at_once() {
    let mut bench = Bench::new();
    let key = key("pods", "p");
    bench.desire(&key, Op::Put, &ending(pod("edge-1")), None);
    let finish = Change::Delete {
        grace_period_seconds: Some(0),
        confirm: true,
    };
    let written = bench.write(bench.now(&key, finish)).unwrap();
    assert_eq!((written.pending, &written.object), (false, &None));
    assert_eq!(bench.served(&key), None);
    let record = &bench.up_records()[0].record;
    assert_eq!((record.header.op, record.body.len()), (Op::Delete, 0));
}

/// Nobody but the cloud ends a pod that is to run.
#[test]
fn the_end_of_a_pod_that_is_not_to_end_is_a_wish() {
    let mut bench = Bench::new();
    let key = key("pods", "p");
    bench.desire(&key, Op::Put, &pod("edge-1"), None);
    let finish = Change::Delete {
        grace_period_seconds: Some(0),
        confirm: true,
    };
    let written = bench.write(bench.now(&key, finish)).unwrap();
    assert!(written.pending);
    assert_eq!(bench.last_request().verb, Verb::Delete);
}

#[test]
fn deleting_what_the_cloud_owns_is_asked_once() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    bench.desire(&key, Op::Put, &config_map("1"), None);
    let change = || Change::Delete {
        grace_period_seconds: None,
        confirm: true,
    };
    let written = bench.write(bench.now(&key, change())).unwrap();
    assert!(written.pending);
    assert_eq!(bench.last_request().verb, Verb::Delete);
    bench.write(bench.now(&key, change())).unwrap();
    assert_eq!(bench.up_records().len(), 1);
}

#[test]
fn an_event_is_a_fact() {
    let mut bench = Bench::new();
    let key = key("events", "e");
    let change = Change::Fact(json!({ "kind": "Event", "reason": "Started" }));
    let write = Write {
        key: key.clone(),
        expected: Expected::Absent,
        change,
    };
    let written = bench.write(write).unwrap();
    assert!(!written.pending);
    assert_eq!(bench.up_records()[0].record.header.op, Op::Fact);
    assert_eq!(bench.served(&key).unwrap()["reason"], "Started");
}

#[test]
fn an_own_lease_is_never_in_the_log() {
    let mut bench = Bench::new();
    let lease = Resource::new("coordination.k8s.io", "leases");
    let key = Key::new(lease, "kube-node-lease", "edge-1", Uid::None).unwrap();
    bench
        .write(create(
            &key,
            json!({ "kind": "Lease", "spec": { "renewTime": 1 } }),
        ))
        .unwrap();
    let held = json!({ "kind": "Lease", "spec": { "renewTime": 1 } });
    bench.desire(&key, Op::Put, &held, None);
    let renew = Change::Put(json!({ "kind": "Lease", "spec": { "renewTime": 2 } }));
    bench.write(bench.now(&key, renew)).unwrap();
    assert_eq!(bench.up_records().len(), 0);
}

#[test]
fn stale_ground_is_a_conflict() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    bench.desire(&key, Op::Put, &config_map("1"), None);
    let modified = bench.modified(&key);
    let found = Some(modified);
    let exists = create(&key, config_map("2"));
    assert_eq!(bench.write(exists), Err(WriteError::Conflict { found }));
    let stale = Expected::At(Revision::new(99));
    let write = Write {
        key: key.clone(),
        expected: stale,
        change: Change::Put(config_map("2")),
    };
    assert_eq!(bench.write(write), Err(WriteError::Conflict { found }));
    let other_life = Key {
        uid: Uid::parse("other"),
        ..key
    };
    let write = Write {
        key: other_life,
        expected: Expected::At(modified),
        change: Change::Put(config_map("2")),
    };
    assert_eq!(bench.write(write), Err(WriteError::Conflict { found }));
}

#[test]
fn an_object_over_the_limit_is_refused() {
    let mut bench = Bench::new();
    let key = key("configmaps", "c");
    let large = create(&key, config_map(&"x".repeat(BODY_BYTES_MAX)));
    let refused = bench.write(large);
    assert!(
        matches!(refused, Err(WriteError::TooLarge { .. })),
        "{refused:?}"
    );
    assert!(bench.up_records().is_empty());
}
