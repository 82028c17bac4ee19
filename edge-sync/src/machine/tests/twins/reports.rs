//! What a report does to a twin.

use super::*;

#[test]
fn a_report_is_durable_and_shown_before_it_is_told() {
    let mut bench = Bench::with_device("d");
    let told = bench.report(report_of("d", &[("temperature", says("19"))]));
    let told = told.unwrap();
    assert_eq!(told.properties[0].1, Ok(Took::Changed));
    assert_eq!(*told.before.twin.reported, Reported::default());
    let shown = bench.device("d").unwrap();
    assert_eq!(told.after, shown);
    let value = shown.twin.reported.properties.value("temperature").unwrap();
    assert_eq!(&*value.value, "19");
    let status = Key {
        resource: statuses(),
        ..device_key("d", 1)
    };
    let status = bench.served(&status).unwrap();
    assert_eq!(status["status"]["twins"][0]["reported"]["value"], "19");
    let records = bench.up_records();
    assert_eq!(bench.ops(), [Op::Twin, Op::Fact]);
    assert_eq!(records[0].record.header.key, device_key("d", 1));
    assert_eq!(
        records[0].record.body.bytes().as_ref(),
        shown.twin.reported.encode()
    );
    assert_eq!(*bench.up_head.borrow(), records[1].record.header.offset);
    let rebuilt = rebuild_twins(&*bench.store, &node()).unwrap();
    assert_eq!(rebuilt.get(&named("d")), Some(&shown));
    assert_eq!(bench.metric("twin_reports_changed"), 1);
}

#[test]
fn many_reports_of_a_round_are_one_document_and_one_chunk() {
    let mut bench = Bench::with_device("d");
    let (requests, told): (Vec<_>, Vec<_>) = (0..50)
        .map(|number| {
            let properties = [
                ("temperature", says(&number.to_string())),
                ("target", says("20")),
            ];
            reporting(report_of("d", &properties))
        })
        .unzip();
    assert!(bench.round(requests).is_none());
    for mut told in told {
        let told = told.try_recv().unwrap().unwrap();
        assert!(told.properties.iter().all(|(_, took)| took.is_ok()));
    }
    assert_eq!(bench.ops(), [Op::Twin, Op::Fact]);
    let (key, chunk) = bench.chunks().remove(0);
    assert_eq!((&*key.name, chunk.len()), ("d", 50));
    let device = bench.device("d").unwrap();
    let temperature = device.twin.reported.properties.get("temperature").unwrap();
    assert_eq!(temperature.version, TwinVersion::new(50));
    assert_eq!(bench.metric("twin_reports_changed"), 51);
    assert_eq!(bench.metric("twin_reports_echoed"), 49);
}

#[test]
fn an_echo_costs_no_record_unless_its_readings_are_kept() {
    let mut bench = Bench::with_device("d");
    assert_eq!(bench.say("d", "target", says("20")), Ok(Took::Changed));
    assert_eq!(bench.say("d", "target", says("20")), Ok(Took::Echo));
    assert_eq!(bench.ops(), [Op::Twin]);
    bench.say("d", "temperature", says("19")).unwrap();
    bench.say("d", "temperature", says("19")).unwrap();
    assert_eq!(bench.ops(), [Op::Twin, Op::Twin, Op::Fact, Op::Fact]);
}

#[test]
fn nothing_is_applied_of_a_round_that_failed() {
    let mut bench = Bench::with_device("d");
    let before = bench.device("d").unwrap();
    bench.store.disk().set_fault(Fault::Full);
    let refused = bench.report(report_of("d", &[("temperature", says("19"))]));
    assert!(
        matches!(refused, Err(ReportError::ReadOnly { .. })),
        "{refused:?}"
    );
    assert_eq!(refused.unwrap_err().code(), 500);
    assert_eq!(bench.device("d").unwrap(), before);
    assert!(bench.ops().is_empty());
    assert_eq!(bench.metric("twin_reports_failed"), 1);
    assert_eq!(bench.metric("twin_readings_kept"), 0);
    bench.store.disk().heal();
    bench.store.try_recover().unwrap();
    bench.say("d", "temperature", says("19")).unwrap();
    let chunks = bench.chunks();
    assert_eq!(
        (chunks.len(), chunks[0].1.len(), chunks[0].1.dropped()),
        (1, 1, 0)
    );
    let device = bench.device("d").unwrap();
    let temperature = device.twin.reported.properties.get("temperature").unwrap();
    assert_eq!(temperature.version, TwinVersion::new(1));
}

#[test]
fn what_a_device_may_not_say_is_refused_and_counted() {
    let mut bench = Bench::with_model("d");
    let mut refusals = 0;
    let mut refused = |bench: &mut Bench, name: &str, report: Report| {
        refusals += 1;
        let refused = bench.say("d", name, report).unwrap_err();
        assert_eq!(bench.metric("twin_reports_refused"), refusals);
        (refused.code(), refused)
    };
    let wrong = refused(&mut bench, "temperature", says("warm"));
    assert!(matches!(
        wrong,
        (400, Refused::Value(ValueError::WrongType { .. }))
    ));
    let cold = refused(&mut bench, "target", says("-300"));
    assert!(matches!(
        cold,
        (400, Refused::Value(ValueError::OutOfRange { .. }))
    ));
    let unknown = refused(&mut bench, "humidity", says("1"));
    assert_eq!(unknown, (404, Refused::Unknown));
    let long = refused(&mut bench, "temperature", says(&"1".repeat(1 << 20)));
    let bytes = 1 << 20;
    assert_eq!(long, (400, Refused::Value(ValueError::TooLong { bytes })));
    for name in ["", "a b", "ü", &"x".repeat(129), "a\0b"] {
        assert_eq!(refused(&mut bench, name, says("1")), (400, Refused::Name));
    }
    let version = |version, value: &str| Report {
        version: Some(TwinVersion::new(version)),
        ..says(value)
    };
    bench.say("d", "temperature", version(7, "19")).unwrap();
    let older = refused(&mut bench, "temperature", version(6, "18"));
    assert!(matches!(older, (409, Refused::Stale { .. })));
    let beyond = refused(&mut bench, "temperature", version(u64::MAX, "18"));
    assert!(matches!(beyond, (400, Refused::Version { .. })));
    // A clock years ahead decides nothing.
    let future = Report {
        time: WallTime::from_unix_millis(u64::MAX),
        ..says("21")
    };
    assert_eq!(bench.say("d", "temperature", future), Ok(Took::Changed));
    assert_eq!(bench.say("d", "temperature", says("20")), Ok(Took::Changed));
    let chunk = bench.chunks().remove(1).1;
    assert_eq!(chunk.len(), 1);
}

#[test]
fn a_report_as_a_whole_can_be_refused() {
    let mut bench = Bench::with_model("d");
    let whole = |properties: &[(&str, Report)]| DeviceReport {
        doubt: None,
        all_or_nothing: true,
        state: Some("online".into()),
        ..report_of("d", properties)
    };
    let parts = [("temperature", says("19")), ("target", says("400"))];
    let refused = bench.report(whole(&parts));
    let Err(error @ ReportError::Refused { .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.code(), 400);
    assert_eq!(error.to_string(), "property \"target\" is refused");
    assert!(
        bench.ops().is_empty(),
        "nothing of it was taken, no reading either"
    );
    let state = DeviceReport {
        state: Some("asleep".into()),
        ..whole(&parts[..1])
    };
    let refused = bench.report(state);
    assert!(
        matches!(refused, Err(ReportError::State(Refused::State))),
        "{refused:?}"
    );
    assert!(bench.ops().is_empty());
    let told = bench.report(whole(&parts[..1])).unwrap();
    assert_eq!(told.state, Some(Ok(Took::Changed)));
    let half = DeviceReport {
        doubt: None,
        all_or_nothing: false,
        ..whole(&parts)
    };
    let told = bench.report(half).unwrap();
    assert_eq!(told.properties[0].1, Ok(Took::Echo));
    assert!(told.properties[1].1.is_err());
    let many = vec![("x".into(), says("1")); 1025];
    let many = DeviceReport {
        properties: many,
        ..report_of("d", &[])
    };
    let refused = bench.report(many);
    assert!(
        matches!(refused, Err(ReportError::TooLarge { .. })),
        "{refused:?}"
    );
    let nobody = bench.report(report_of("nobody", &[]));
    assert_eq!(nobody.unwrap_err().code(), 404);
    assert_eq!(bench.metric("twin_reports_unknown"), 1);
}

#[test]
fn a_device_before_its_model_takes_any_text() {
    let mut bench = Bench::with_device("d");
    assert_eq!(
        bench.say("d", "temperature", says("warm")),
        Ok(Took::Changed)
    );
    let mut bench = Bench::with_model("d");
    assert!(bench.say("d", "temperature", says("warm")).is_err());
}

/// Reports are decided by the Device and the model that are durable.
#[test]
fn reports_and_changes_of_devices_do_not_meet_in_a_round() {
    let mut bench = Bench::with_device("d");
    let change = || {
        let draft = draft(&device_key("d", 1), Op::Put, &device("d"), None);
        incoming(epoch(2), vec![(Offset::new(1000), draft)])
    };
    let ((report, mut told), (change, mut done)) = (
        reporting(report_of("d", &[("target", says("1"))])),
        change(),
    );
    let later = bench.round([change, report]).unwrap();
    assert!(matches!(later, Request::Twin { .. }));
    done.try_recv().unwrap().unwrap();
    assert!(bench.round([later]).is_none());
    told.try_recv().unwrap().unwrap();

    let (report, _told) = reporting(report_of("d", &[("target", says("2"))]));
    let delete = draft(&device_key("d", 1), Op::Delete, &Value::Null, None);
    let (delete, mut done) = incoming(epoch(2), vec![(Offset::new(1010), delete)]);
    let later = bench.round([report, delete]).unwrap();
    assert!(matches!(later, Request::Session { .. }));
    assert!(bench.round([later]).is_none());
    done.try_recv().unwrap().unwrap();
    assert_eq!(bench.ops(), [Op::Twin, Op::Twin, Op::Delete]);
    // What has nothing to do with devices does.
    let mut bench = Bench::with_device("d");
    let (report, _told) = reporting(report_of("d", &[("target", says("2"))]));
    let other = draft(&key("configmaps", "c"), Op::Put, &config_map("1"), None);
    let (other, _done) = incoming(epoch(2), vec![(Offset::new(1020), other)]);
    assert!(bench.round([report, other]).is_none());
    // A new epoch of the own stream comes before all records of a batch.
    let (report, _told) = reporting(report_of("d", &[("target", says("3"))]));
    let (open, _done) = session(SessionWrite::OpenOwn { epoch: epoch(7) });
    assert!(bench.round([report, open]).is_some());
}

#[test]
fn another_device_of_the_name_begins_anew() {
    let mut bench = Bench::with_device("d");
    bench.say("d", "temperature", says("19")).unwrap();
    bench.desire(&device_key("d", 1), Op::Delete, &Value::Null, None);
    assert_eq!(bench.ops(), [Op::Twin, Op::Fact, Op::Delete]);
    assert_eq!(bench.device("d"), None);
    let gone = bench.report(report_of("d", &[("temperature", says("20"))]));
    assert!(matches!(gone, Err(ReportError::Unknown { .. })), "{gone:?}");
    bench.desire(&device_key("d", 2), Op::Put, &device("d"), None);
    assert_eq!(
        *bench.device("d").unwrap().twin.reported,
        Reported::default()
    );
    let told = bench.report(report_of("d", &[("temperature", says("20"))]));
    let after = told.unwrap().after;
    let temperature = after.twin.reported.properties.get("temperature").unwrap();
    assert_eq!(temperature.version, TwinVersion::new(1));
    // The same Device once more, as a cloud restored from a backup sends it.
    bench.desire(&device_key("d", 2), Op::Delete, &Value::Null, None);
    bench.desire(&device_key("d", 2), Op::Put, &device("d"), None);
    assert_eq!(
        *bench.device("d").unwrap().twin.reported,
        Reported::default()
    );
    let device = bench.device("d");
    bench.restart(AT_ONCE);
    assert_eq!(bench.device("d"), device);
}

#[test]
fn a_subscriber_is_woken_by_changes_of_devices_alone() {
    let mut bench = Bench::with_device("d");
    let mut woken = bench.twins.subscribe();
    woken.mark_unchanged();
    bench.desire(&key("configmaps", "c"), Op::Put, &config_map("1"), None);
    assert!(!woken.has_changed().unwrap());
    let before = bench.twins.read(|twins| twins.revision());
    bench.say("d", "target", says("20")).unwrap();
    assert!(woken.has_changed().unwrap());
    let changed = bench.twins.read(|twins| {
        twins
            .changed_after(before)
            .map(|it| it.name())
            .collect::<Vec<_>>()
    });
    assert_eq!(changed, [named("d")]);
}

#[test]
fn a_node_asks_for_desired_values_and_nothing_else() {
    let mut bench = Bench::with_device("d");
    let key = device_key("d", 1);
    let mut wanted = bench.served(&key).unwrap();
    wanted["spec"]["properties"][0]["desired"]["value"] = json!("23");
    let write = bench.now(&key, Change::Put(wanted.clone()));
    let written = bench.write(write).unwrap();
    assert!(written.pending);
    assert_eq!(bench.last_request().verb, Verb::Update);
    let served = bench.served(&key).unwrap();
    assert_eq!(served["spec"]["properties"][0]["desired"]["value"], "23");
    let device = bench.device("d").unwrap();
    assert_eq!(
        device.object["spec"]["properties"][0]["desired"]["value"],
        "20"
    );

    let forbidden = |bench: &mut Bench, key: &Key, change: Change| {
        let write = bench.now(key, change);
        let refused = bench.write(write);
        assert!(
            matches!(refused, Err(WriteError::Forbidden { .. })),
            "{refused:?}"
        );
    };
    wanted["spec"]["nodeName"] = json!("edge-2");
    forbidden(&mut bench, &key, Change::Put(wanted.clone()));
    forbidden(&mut bench, &key, Change::Status(wanted));
    let delete = || Change::Delete {
        grace_period_seconds: None,
        confirm: false,
    };
    forbidden(&mut bench, &key, delete());
    bench.say("d", "temperature", says("19")).unwrap();
    let status = Key {
        resource: statuses(),
        ..key
    };
    let mut shown = bench.served(&status).unwrap();
    forbidden(&mut bench, &status, delete());
    shown["status"]["state"] = json!("online");
    forbidden(&mut bench, &status, Change::Put(shown.clone()));
    forbidden(&mut bench, &status, Change::Status(shown));
}
